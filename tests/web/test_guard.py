"""The guard as an ASGI layer: its stages, and an answer whatever happens inside."""

import json
from collections.abc import Mapping, MutableMapping
from typing import Any

import pytest

from ligand_async.errors import Conflict, problem_for
from ligand_async.web import Guard
from ligand_async.web.stages import Headers, Reply

Messages = list[dict[str, Any]]


class Recorder:
    """A stage that tells what it saw, and may have a reply or a problem."""

    def __init__(self, name: str, seen: list[str], outcome: Reply | Exception | None = None) -> None:
        self.name, self.seen, self.outcome = name, seen, outcome

    def before(self, scope: MutableMapping[str, Any]) -> Reply | None:
        self.seen.append(f"{self.name} before {scope['path']}")
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def after(self, scope: Mapping[str, Any], status: int, headers: Headers) -> None:
        self.seen.append(f"{self.name} after {scope['path']} {status}")
        headers.append((b"x-stage", self.name.encode()))


class Failing(Recorder):
    """A stage that fails after the answer."""

    def after(self, scope: Mapping[str, Any], status: int, headers: Headers) -> None:
        raise ZeroDivisionError(scope["path"], status, headers)


async def fine(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"fine"})


async def serve(app: Any, *stages: Any, kind: str = "http", extensions: Any = None, **scope: Any) -> Messages:
    """Serve one request, and return what the server got."""
    sent: Messages = []

    async def receive() -> dict[str, Any]:
        return {"type": f"{kind}.disconnect"}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    guard = Guard(stages, request_timeout=None, max_body_bytes=10)
    whole = {"type": kind, "path": "/", "headers": [], "http_version": "1.1", "extensions": extensions, **scope}
    if kind == "http":
        whole["method"] = "GET"
    await guard.serve(app, whole, receive, send)
    return sent


async def test_stages_are_asked_in_order() -> None:
    """Before the app and after it; what each adds to an answer is sent."""
    seen: list[str] = []
    start, body = await serve(fine, Recorder("a", seen), Recorder("b", seen))

    assert seen == ["a before /", "b before /", "a after / 200", "b after / 200"]
    assert [value for name, value in start["headers"] if name == b"x-stage"] == [b"a", b"b"]
    assert body["body"] == b"fine"


@pytest.mark.parametrize(
    ("outcome", "status"), [(Reply(204), 204), (Conflict("no"), 409), (ZeroDivisionError(), 500)], ids=str
)
async def test_a_stage_that_answers_is_the_last(outcome: Any, status: int) -> None:
    """Neither the stages behind it nor the app hear of the request; all stages see the answer."""
    seen: list[str] = []
    start, body = await serve(None, Recorder("a", seen, outcome), Recorder("b", seen))

    assert start["status"] == status
    assert seen == ["a before /", f"a after / {status}", f"b after / {status}"]
    assert body["body"] == b"" or json.loads(body["body"])["status"] == status


async def test_a_stage_that_fails_after_the_answer_changes_nothing() -> None:
    """The answer goes out, with what the others add."""
    seen: list[str] = []
    start, _ = await serve(fine, Failing("a", seen), Recorder("b", seen))

    assert start["status"] == 200
    assert (b"x-stage", b"b") in start["headers"]


async def test_headers_of_a_refusal_are_sent() -> None:
    """Those of the problem; a connection is closed by HTTP/1 only."""
    refusal = problem_for(400, headers={"Connection": "close", "Retry-After": "7"})
    for version, closes in (("1.1", True), ("2", False)):
        start, _ = await serve(fine, Recorder("a", [], refusal), http_version=version)
        assert (b"retry-after", b"7") in start["headers"]
        assert ((b"connection", b"close") in start["headers"]) is closes


async def test_a_websocket_is_refused_as_its_server_can() -> None:
    """With a problem where the server has the extension for it, else by closing."""
    refusal = Recorder("a", [], Conflict("no"))

    start, body = await serve(fine, refusal, kind="websocket", extensions={"websocket.http.response": {}})
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 409)
    assert json.loads(body["body"])["detail"] == "no"

    assert await serve(fine, refusal, kind="websocket") == [{"type": "websocket.close", "code": 1008}]


async def test_an_error_after_a_websocket_was_accepted_closes_it() -> None:
    """With the code of an internal error."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        raise ZeroDivisionError

    assert (await serve(app, kind="websocket"))[-1] == {"type": "websocket.close", "code": 1011}


async def test_nobody_is_answered_who_has_left() -> None:
    """A client that goes away is no error, and gets no answer."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise ZeroDivisionError

    assert await serve(app) == []
    assert await serve(failing) == []


@pytest.mark.parametrize(
    ("content_type", "kept"),
    [
        ("application/problem+json", True),
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/vnd.api+json", True),
        ("application/jsonp", False),
        ("text/json", False),
        ("application/x-ndjson", False),
        ("", False),
    ],
)
async def test_an_error_that_is_json_is_left_alone(content_type: str, kept: bool) -> None:
    """Every other is replaced, in as many messages as it came in."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"Content-Type", content_type.encode()), (b"content-encoding", b"br"), (b"x-kept", b"1")]
        await send({"type": "http.response.start", "status": 418, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        await send({"type": "http.response.body", "body": b"}"})

    start, *bodies = await serve(app)
    assert (start["status"], (b"x-kept", b"1") in start["headers"]) == (418, True)
    assert ((b"content-encoding", b"br") in start["headers"]) is kept
    document = json.loads(b"".join(body["body"] for body in bodies))
    assert document == {} if kept else document["status"] == 418
