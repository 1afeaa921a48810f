"""The guard as an ASGI layer: its stages, an answer whatever happens inside, and the id of every request."""

import asyncio
import json
from collections.abc import Mapping, MutableMapping
from typing import Any
from uuid import UUID

import pytest
from quart import Response

from ligand_async import NotFound, operation, public
from ligand_async.context import current_request_id
from ligand_async.errors import Conflict, problem_for
from ligand_async.web import Guard, Reply
from tests.services import app_of, ask, running

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

    def after(self, scope: Mapping[str, Any], status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.seen.append(f"{self.name} after {scope['path']} {status}")
        headers.append((b"x-stage", self.name.encode()))


class Failing(Recorder):
    """A stage that fails after the answer."""

    def after(self, scope: Mapping[str, Any], status: int, headers: list[tuple[bytes, bytes]]) -> None:
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


@pytest.mark.parametrize("value", [object(), float("nan")])
async def test_a_problem_that_cannot_be_written_is_a_500(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal whose members JSON cannot hold is answered with a 500, and logged."""
    head, body = await serve(fine, Recorder("a", [], Conflict("taken", left=value)))
    assert (head["status"], json.loads(body["body"])["title"]) == (500, "Internal Server Error")
    assert "Conflict" in caplog.text


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


@operation
async def name_request(wait: float = 0) -> str | None:
    await asyncio.sleep(wait)
    return current_request_id()


@pytest.mark.parametrize(
    "identity", ["abc", "a" * 128, "0b5e.a~b_c:d/e+f=g@h-i", "01890a5d-ac96-774b-bcce-b302099a8057"]
)
async def test_a_sane_id_of_the_caller_is_kept(identity: str) -> None:
    """In the handler and in the answer."""
    answer = await ask(name_request, headers={"X-Request-ID": identity})

    assert (answer.json, answer.headers["X-Request-ID"]) == (identity, identity)


@pytest.mark.parametrize("identity", ["", "a" * 129, "a b", "a\tb", 'a"b', "<script>", "a;b", "é", "a,b", "${jndi}"])
async def test_another_is_replaced(identity: str) -> None:
    """What is long or could be more than a name is not repeated: the request gets a UUIDv7."""
    answer = await ask(name_request, headers={"X-Request-ID": identity})

    assert UUID(answer.json).version == 7
    assert answer.headers["X-Request-ID"] == answer.json


async def test_errors_have_it_in_the_document_and_in_the_header() -> None:
    """Routing errors, problems and bugs."""

    @operation
    async def fail(kind: str) -> None:
        raise NotFound if kind == "problem" else ZeroDivisionError

    async with running(app_of(("GET", "/<kind>", fail)), tables=False) as client:
        for path in ("/problem", "/bug", "/no/such/thing"):
            response = await client.get(path)
            assert (await response.get_json())["request_id"] == response.headers["X-Request-ID"]


async def test_requests_at_once_do_not_mix() -> None:
    """Each task has its own, and none is left behind."""
    async with running(app_of(("GET", "/", name_request)), tables=False) as client:

        async def ask_as(identity: str) -> Any:
            return await (await client.get("/?wait=0.01", headers={"X-Request-ID": identity})).get_json()

        wanted = [f"request-{number}" for number in range(50)]
        assert await asyncio.gather(*map(ask_as, wanted)) == wanted
    assert current_request_id() is None


async def test_the_answer_has_one_id() -> None:
    """A header that a handler sets itself is replaced by the request's."""

    @operation
    async def handler() -> Response:
        return Response("x", headers={"X-Request-ID": "mine"})

    answer = await ask(handler, headers={"X-Request-ID": "yours"})

    assert answer.headers.getlist("X-Request-ID") == ["yours"]


async def test_websockets_have_one_too() -> None:
    """From the handshake on."""
    app = app_of()

    @app.websocket("/ws")
    @public
    async def socket() -> None:
        from quart import websocket

        await websocket.accept()
        await websocket.send(current_request_id() or "")

    async with app.test_app(), app.test_client().websocket("/ws", headers={"X-Request-ID": "abc"}) as connection:
        assert await connection.receive() == "abc"
