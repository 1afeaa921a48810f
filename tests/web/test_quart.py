"""The app class: the signal `operation_completed`, unhandled exceptions, and a test client that raises them."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from quart import Blueprint, Quart, Response, got_request_exception, websocket
from quart.typing import TestClientProtocol as Client
from quart.views import MethodView
from quart_schema import hide, operation_id
from sqlalchemy.ext.asyncio import AsyncSession
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BuildError

from ligand_async import Conflict, NotFound, Principal, operation, public
from ligand_async.context import current_operation_id, request_state
from ligand_async.signals import operation_completed
from tests.servers import ROOT
from tests.services import app_of, db, make_app, routes, running
from tests.web.sentry_service import SECRET

ADA = Principal("ada", "https://issuer.example")


@operation
async def read_item(session: AsyncSession, kind: str = "good") -> str | None:
    """End in a way of one's choice."""
    match kind:
        case "problem":
            raise Conflict
        case "fault":
            raise ZeroDivisionError
        case "slow":
            await asyncio.sleep(60)
    return current_operation_id()


@operation
async def refuse() -> Response:
    """Return an error."""
    return Response("no", 404)


@operation_id("named_by_hand")
@operation
async def named() -> None:
    """Have a name of its own."""


@hide
@operation
async def hidden() -> None:
    """Stay out of the document."""


async def plain() -> str:
    """Be no operation."""
    return "plain"


class Shelf(MethodView):
    """A class with one operation."""

    @operation
    async def get(self) -> None:
        """Be one."""

    async def put(self) -> str:
        """Be none."""
        return "put"


Heard = list[tuple[Any, ...]]


def make_service(url: str, **settings: Any) -> Quart:
    """Make a service with operations of each kind."""
    blueprint = routes(
        ("GET", "/items", read_item),
        ("GET", "/refused", refuse),
        ("GET", "/named", named),
        ("GET", "/hidden", hidden),
        ("GET", "/plain", plain),
    )
    blueprint.add_url_rule("/shelf", view_func=Shelf.as_view("shelf"))
    app = make_app(url, blueprint, settings=settings)

    @app.before_request
    async def authenticate() -> None:
        request_state().principal = ADA

    return app


@pytest.fixture
def app(sqlite_url: str) -> Quart:
    return make_service(sqlite_url)


@pytest.fixture
async def client(app: Quart) -> AsyncIterator[Client]:
    async with running(app) as client:
        yield client


@pytest.fixture
def heard(app: Quart) -> Iterator[Heard]:
    """The operations that were completed: (operationId, subject, status)."""
    heard: Heard = []

    def hear(sender: Quart, *, operation_id: str, principal: Principal | None, status: int, duration: float) -> None:
        assert 0 < duration < 5
        assert sender is app
        heard.append((operation_id, principal and principal.subject, status))

    with operation_completed.connected_to(hear, sender=app):
        yield heard


@pytest.mark.parametrize(("kind", "status"), [("good", 200), ("problem", 409), ("fault", 500), ("unknown&more=1", 422)])
async def test_operation_tells_how_it_was_answered(client: Client, heard: Heard, kind: str, status: int) -> None:
    """Whatever the answer is, it is told once, with who asked, and under the operation's name in the document."""
    response = await client.get(f"/items?kind={kind}")
    await asyncio.sleep(0)

    assert response.status_code == status
    assert heard == [("read_shop_item_get", "ada", status)]


async def test_late_operation_tells_that_it_was_stopped(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """An operation that the deadline stops is told as the 504 that it is answered with."""
    app = make_service(sqlite_url, request_timeout=0.1)
    heard: list[int] = []
    async with running(app, tables=False) as client:
        with operation_completed.connected_to(lambda _app, status, **_: heard.append(status), sender=app):
            assert (await client.get("/items?kind=slow")).status_code == 504
            await asyncio.sleep(0)

    assert heard == [504]


async def test_names_are_those_of_the_document(client: Client, heard: Heard) -> None:
    """Each documented operation is told by its operationId, a hidden one by its endpoint, others not at all."""
    for path in ("/named", "/hidden", "/plain", "/refused", "/shelf", "/nowhere"):
        await client.get(path)
    await client.put("/shelf")
    await client.head("/named")
    await client.options("/named")
    await client.delete("/named")
    await asyncio.sleep(0)
    document = json.loads(await (await client.get("/openapi.json")).get_data())

    assert [(name, status) for name, _, status in heard] == [
        ("named_by_hand", 204),
        ("shop.hidden_get", 204),
        ("refuse_shop_get", 404),
        ("get_shop_shelf", 204),
        ("named_by_hand", 204),
    ]
    ids = {one["operationId"] for path in document["paths"].values() for one in path.values()}
    assert {name for name, _, _ in heard} - ids == {"shop.hidden_get"}


async def test_receiver_does_not_hold_the_answer(app: Quart, client: Client) -> None:
    """A receiver that hangs or fails is told beside the answer."""
    told = asyncio.Event()

    async def hang(_app: Quart, **_: Any) -> None:
        told.set()
        await asyncio.sleep(60)

    with operation_completed.connected_to(hang, sender=app):
        async with asyncio.timeout(1):
            assert (await client.get("/named")).status_code == 204
            await told.wait()
    for task in app.background_tasks:
        task.cancel()


async def test_receiver_can_use_the_database(app: Quart, client: Client) -> None:
    """A receiver is in the app's context: it may open a transaction of its own."""
    done = asyncio.Event()

    async def write(_app: Quart, **_: Any) -> None:
        async with db.transaction():
            done.set()

    with operation_completed.connected_to(write, sender=app):
        await client.get("/named")
        async with asyncio.timeout(1):
            await done.wait()
        await asyncio.gather(*app.background_tasks)


async def test_nothing_is_kept_when_nobody_listens(app: Quart, client: Client) -> None:
    """Without a receiver of this app no clock is read and no task is begun."""
    before = set(app.background_tasks)
    with operation_completed.connected_to(lambda _app, **_: None, sender=object()):
        await client.get("/named")

    assert set(app.background_tasks) == before


async def test_id_is_known_while_an_operation_runs(client: Client) -> None:
    """`current_operation_id()` is the name of the operation being served, and None outside a request."""
    response = await client.get("/items")

    assert json.loads(await response.get_data()) == "read_shop_item_get"
    assert current_operation_id() is None


@pytest.mark.ligand_conformance("off", reason="there is no document")
async def test_two_operations_of_one_name_are_told_by_their_endpoints(sqlite_url: str) -> None:
    """Where the document cannot be made, and nobody asked for it at start, operations still are served and told."""
    blueprint = Blueprint("twins", __name__)
    for number in (1, 2):

        @operation_id("same")
        @operation
        async def twin() -> None:
            """Be called like another."""

        blueprint.add_url_rule(f"/{number}", f"twin{number}", twin)
    app = make_app(sqlite_url, blueprint)
    heard: list[str] = []
    client = app.test_client()
    with operation_completed.connected_to(lambda _app, operation_id, **_: heard.append(operation_id), sender=app):
        await client.get("/1")
        await client.get("/2")
        await asyncio.sleep(0)

    assert heard == ["twins.twin1", "twins.twin2"]


@pytest.mark.ligand_conformance("off", reason="answers with a status that was not declared")
async def test_status_is_that_which_is_sent(sqlite_url: str) -> None:
    """An error handler, or a function after the view, of the service's own has the last word."""
    app = make_service(sqlite_url)
    heard: list[int] = []

    @app.errorhandler(Conflict)
    async def soften(_error: HTTPException) -> tuple[str, int]:
        return "{}", 418

    @app.after_request
    async def adjust(response: Response) -> Response:
        if response.status_code == 204:
            response.status_code = 203
        return response

    async with running(app, tables=False) as client:
        with operation_completed.connected_to(lambda _app, status, **_: heard.append(status), sender=app):
            sent = [(await client.get(path)).status_code for path in ("/items?kind=problem", "/named")]
            await asyncio.sleep(0)

    assert heard == sent == [418, 203]


async def fail() -> str:
    raise KeyError("unhandled")


async def refuse_plainly() -> str:
    raise NotFound("no such thing")


def make_failing_app() -> Quart:
    return app_of(("GET", "/failing", fail), ("GET", "/refusing", refuse_plainly))


def raising_client(app: Quart) -> Client:
    return app.test_client(raise_unhandled=True)


async def test_a_client_raises_on_demand() -> None:
    """`raise_unhandled=True` gives a test the exception itself, where it was raised."""
    app = make_failing_app()
    async with app.test_app():
        with pytest.raises(KeyError, match="unhandled") as raised:
            await raising_client(app).get("/failing")

    assert [entry.name for entry in raised.traceback][-1] == "fail"


async def test_a_client_raises_nothing_that_was_meant() -> None:
    """A problem is an answer."""
    app = make_failing_app()
    async with app.test_app():
        assert (await raising_client(app).get("/refusing")).status_code == 404


async def test_a_client_answers_by_default() -> None:
    """The switch is one client's: another of the same app gets the problem."""
    app = make_failing_app()
    async with app.test_app():
        with pytest.raises(KeyError):
            await raising_client(app).get("/failing")
        assert (await app.test_client().get("/failing")).status_code == 500


async def test_clients_raise_what_is_their_own() -> None:
    """Requests that run together do not raise each other's exceptions."""
    app = make_failing_app()
    async with app.test_app():
        client = raising_client(app)
        found = await asyncio.gather(
            *(client.get(path) for path in ("/failing", "/refusing", "/failing", "/refusing")), return_exceptions=True
        )

    kinds = [type(one) for one in found]
    assert kinds == [KeyError, app.response_class, KeyError, app.response_class]


async def test_the_client_is_still_quart_schema_s() -> None:
    """It writes models as it did, and keeps its other options."""
    app = make_failing_app()
    async with app.test_app():
        client = app.test_client(use_cookies=False, raise_unhandled=True)

        assert client.cookie_jar is None
        assert hasattr(client, "_make_request")


async def test_the_signal_is_sent_once() -> None:
    """`got_request_exception` carries the exception, and a problem sends none."""
    app, seen = make_failing_app(), list[BaseException]()

    async def receive(_: Quart, exception: BaseException) -> None:
        seen.append(exception)

    with got_request_exception.connected_to(receive, app):
        async with app.test_app():
            for path in ("/failing", "/refusing"):
                await app.test_client().get(path)

    assert [type(error) for error in seen] == [KeyError]


@pytest.fixture(scope="module")
def tracked() -> dict[str, Any]:
    """Status and events by path, of a service that a real sentry-sdk watches in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.web.sentry_service", "/failing", "/refusing", "/misreading"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    seen: dict[str, Any] = json.loads(run.stdout)
    return seen


def test_sentry_gets_an_exception_once(tracked: dict[str, Any]) -> None:
    """A real sentry-sdk is sent one event, with the exception and the request's id."""
    seen = tracked["/failing"]

    assert (seen["status"], len(seen["events"])) == (500, 1)
    event = seen["events"][0]
    assert event["exception"]["values"][-1]["type"] == "KeyError"
    assert event["tags"]["request_id"] == "abc-1"


def test_sentry_gets_no_problems(tracked: dict[str, Any]) -> None:
    """A problem that a view raises is not an incident."""
    assert tracked["/refusing"] == {"status": 404, "events": []}


def test_sentry_gets_no_values(tracked: dict[str, Any]) -> None:
    """The values that pydantic writes into its errors are not sent to an error tracker."""
    seen = tracked["/misreading"]

    assert len(seen["events"]) == 1
    assert SECRET not in json.dumps(seen)


async def flood(app: Quart, message: dict[str, Any]) -> tuple[list[Any], int]:
    """Send a message to the websocket at `/` over and over; return the app's messages, and how many it took."""
    sent: list[Any] = []
    taken = 0

    async def receive() -> Any:
        nonlocal taken
        taken += 1
        return {"type": "websocket.connect"} if taken == 1 else message

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": "websocket", "scheme": "ws", "http_version": "1.1", "asgi": {}, "path": "/"}
    scope |= {"query_string": b"", "headers": [(b"host", b"127.0.0.1")], "raw_path": b"/"}
    async with asyncio.timeout(5):
        await app(scope, receive, send)
    return sent, taken


@pytest.mark.parametrize("text", ["x" * 10_000, "x"], ids=["large", "small"])
async def test_websocket_that_does_not_receive(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 125: what waits for a handler is limited; a handler that never receives costs its client the websocket."""
    monkeypatch.setattr("ligand_async.web.connection._UNREAD_SECONDS", 0.2)
    app = app_of(settings={"max_body_bytes": 100_000})

    @app.websocket("/")
    @public
    async def tick() -> None:
        while True:
            await websocket.send("tick")
            await asyncio.sleep(0.01)

    sent, taken = await flood(app, {"type": "websocket.receive", "bytes": None, "text": text})

    assert sent[-1] == {"type": "websocket.close", "code": 1008}
    assert taken < 1010


async def test_websocket_that_receives_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that receives at its own pace gets every message, in order; its client waits meanwhile."""
    monkeypatch.setattr("ligand_async.web.connection._UNREAD_SECONDS", 0.2)
    app = app_of(settings={"max_body_bytes": 1000})
    received: list[str | bytes] = []

    @app.websocket("/")
    @public
    async def read() -> None:
        for _ in range(20):
            received.append(await websocket.receive())
            await asyncio.sleep(0.02)

    _, taken = await flood(app, {"type": "websocket.receive", "bytes": None, "text": "x" * 400})

    assert (len(received), set(received)) == (20, {"x" * 400})
    assert taken < 26


async def test_urls_are_those_of_quart() -> None:
    """Converters, defaults, arguments that a rule does not have, and one that is missing; again and again."""
    ours, stock = app_of(("GET", "/", plain)), Quart(__name__, static_folder=None)
    for app in (ours, stock):
        app.add_url_rule("/<int:number>/<path:rest>", "one", plain)
        app.add_url_rule("/pages/", "pages", plain, defaults={"page": 1})
        app.add_url_rule("/pages/<int:page>", "pages", plain)
        app.add_url_rule("/ä b/<name>", "text", plain)
    built = []
    for app in (ours, stock):
        async with app.test_request_context("/"):
            urls = [
                app.url_for(*arguments, **values)
                for _ in range(2)
                for arguments, values in (
                    (("one",), {"number": 7, "rest": "a/b c"}),
                    (("one",), {"number": 7, "rest": "x", "more": ["1", "ü"], "_anchor": "top"}),
                    (("pages",), {"page": 1}),
                    (("pages",), {"page": 2, "size": 5}),
                    (("text",), {"name": "ö/?"}),
                )
            ]
            with pytest.raises(BuildError):
                app.url_for("one", number=7)
        built.append(urls)

    assert built[0] == built[1]
