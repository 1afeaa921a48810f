"""Renderers of problems: what they get, and what is added to what they make."""

import functools
import json
from typing import Any

import pytest
from quart import Response

from ligand_async import Problem, operation, requires, role
from ligand_async.errors import TooManyRequests
from tests.services import app_of, send


def render(problem: Problem) -> Response:
    body = {"code": problem.status, "title": problem.title, "id": problem.request_id, "text": problem.detail}
    return Response(json.dumps(body), problem.status, {"X-Shape": "own", "Retry-After": "1"}, "application/json")


def render_body(problem: Problem) -> Response:
    return Response(problem.get_body(), problem.status, content_type="application/json")


@operation(raises=[TooManyRequests])
async def wait() -> None:
    raise TooManyRequests("too fast", headers={"Retry-After": "7", "X-Quota": "0", "Content-Language": "en"})


@requires(role("admin"))
@operation
async def closed() -> None:
    raise NotImplementedError


@pytest.mark.ligand_conformance("off", reason="the renderer writes another form")
async def test_a_renderer_gets_title_and_request_id() -> None:
    """Of every problem: the class's title or the phrase of the status, and the id that the response has, too."""
    app = app_of(("GET", "/wait", wait), problem_renderer=render)
    for path, title, text in (("/wait", "Too Many Requests", "too fast"), ("/nowhere", "Not Found", None)):
        answer = await send(app, "GET", path)
        assert answer.json == {
            "code": answer.status,
            "title": title,
            "id": answer.headers["X-Request-ID"],
            "text": text,
        }


@pytest.mark.ligand_conformance("off", reason="the renderer writes another content type")
async def test_the_body_of_a_problem_has_the_request_id() -> None:
    """`get_body()` is the whole document, as it is sent without a renderer."""
    answer = await send(app_of(("GET", "/wait", wait), problem_renderer=render_body), "GET", "/wait")

    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    assert (answer.json["title"], answer.json["status"]) == ("Too Many Requests", 429)


@pytest.mark.ligand_conformance("off", reason="the renderer writes another form")
async def test_a_problem_keeps_its_headers() -> None:
    """Those of the protocol are added to what the renderer made; the renderer's own stay."""
    app = app_of(("GET", "/wait", wait), ("GET", "/closed", closed), problem_renderer=render)
    waited = (await send(app, "GET", "/wait")).headers
    refused = (await send(app, "GET", "/closed")).headers
    wrong = (await send(app, "PATCH", "/wait")).headers

    assert (waited["X-Quota"], waited.getlist("Retry-After"), waited["X-Shape"]) == ("0", ["1"], "own")
    assert refused.getlist("WWW-Authenticate")
    assert set(wrong["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


async def render_later(problem: Problem) -> Response:
    return render(problem)


class Later:
    async def __call__(self, problem: Problem) -> Response:
        return render(problem)


@pytest.mark.parametrize("renderer", [render_later, functools.partial(render_later), Later()])
def test_an_async_renderer_is_refused(renderer: Any) -> None:
    """When the app is made, and by its name."""
    with pytest.raises(TypeError, match=r"problem_renderer=.* is a coroutine function; it must be a plain one"):
        app_of(problem_renderer=renderer)


@pytest.mark.ligand_conformance("off", reason="the renderer fails")
@pytest.mark.parametrize("returned", ["text", None, ({}, 400)])
async def test_a_renderer_returns_a_response(returned: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Anything else is a plain 500, and the log says why."""
    app = app_of(("GET", "/wait", wait), problem_renderer=lambda _: returned)

    assert (await send(app, "GET", "/wait")).status == 500
    assert f"returned {type(returned).__name__}; it must return a Response" in caplog.text
