"""An app that runs without a server, and functions that are called with its services."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from quart import Blueprint, Quart, Response, current_app, websocket
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import Principal, Settings, on_commit, operation, public
from ligand_async import signals as sent
from ligand_async.web import Depends, LigandQuart, ServiceError, app_scope, services_of
from tests.services import Item, app_of, db, make_app, routes, running

events: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    events.clear()


class Mailer:
    """Lives as long as the app."""


class Stock:
    """A repository."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session


class Trail(list[str]):
    """Something with a clean-up."""


async def open_mailer() -> AsyncIterator[Mailer]:
    events.append("open")
    yield Mailer()
    events.append("close")


def make_shop(database_url: str, *blueprints: Blueprint) -> LigandQuart:
    return make_app(
        database_url, *blueprints, provide={Mailer: app_scope(open_mailer), Stock: Stock, Trail: lambda: Trail()}
    )


async def count_items() -> int:
    async with db.read() as session:
        return await session.scalar(select(func.count()).select_from(Item)) or 0


# -- running


async def test_an_app_runs_in_a_script(database_url: str) -> None:
    """Database, services and settings are ready in the block, and closed after it; it can run again."""
    app = make_shop(database_url)
    for number in range(2):
        async with app.running() as running_app:
            assert (running_app, current_app.name) == (app, app.name)
            await db.create_tables()
            async with db.transaction() as session:
                session.add(Item(name=f"item {number}"))
            assert isinstance(services_of(app).get(Mailer), Mailer)
            assert await count_items() == number + 1
        with pytest.raises(RuntimeError, match="is not open"):
            async with app.app_context():
                db.engines()
    assert events == ["open", "close"] * 2


async def test_functions_and_signals_of_start_and_stop_are_for_scripts_too() -> None:
    """In the order of the server."""
    app = app_of()
    app.before_serving(lambda: events.append("before"))
    app.after_serving(lambda: events.append("after"))

    def on_start(sender: Quart) -> None:
        events.append("started")

    def on_stop(sender: Quart) -> None:
        events.append("draining")

    with (
        sent.service_started.connected_to(on_start, sender=app),
        sent.service_draining.connected_to(on_stop, sender=app),
    ):
        async with app.running():
            events.append("block")

    assert events == ["before", "started", "block", "draining", "after"]


async def test_a_function_while_serving_lives_in_each_run() -> None:
    """From start to stop, every time."""
    app = app_of()

    @app.while_serving
    async def live() -> AsyncGenerator[None]:
        events.append("open")
        yield
        events.append("close")

    for _ in range(2):
        async with app.running():
            events.append("block")
    assert events == ["open", "block", "close"] * 2


async def test_a_background_task_is_awaited() -> None:
    """As the server does when it stops."""

    async def work() -> None:
        await asyncio.sleep(0.05)
        events.append("worked")

    app = app_of()
    async with app.running():
        app.add_background_task(work)
    assert events == ["worked"]


async def test_the_exception_of_the_block_passes(caplog: pytest.LogCaptureFixture) -> None:
    """The app is stopped first; a failure while it stops is logged, and raised if there is no other."""
    app = app_of(provide={Mailer: app_scope(open_mailer)})
    with pytest.raises(ZeroDivisionError):
        async with app.running():
            raise ZeroDivisionError
    assert events == ["open", "close"]

    @app.after_serving
    async def fail() -> None:
        raise LookupError("the stop fails")

    with pytest.raises(ZeroDivisionError):
        async with app.running():
            raise ZeroDivisionError
    assert "the app did not stop properly" in caplog.text
    with pytest.raises(LookupError, match="the stop fails"):
        async with app.running():
            pass


async def test_a_cancelled_block_stops_the_app() -> None:
    """The cancellation passes, too."""
    app = app_of(provide={Mailer: app_scope(open_mailer)})
    entered = asyncio.Event()

    async def script() -> None:
        async with app.running():
            entered.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(script())
    await asyncio.wait_for(entered.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["open", "close"]


async def test_an_app_runs_once_at_a_time() -> None:
    """An app that runs, by whatever means, is not started a second time."""
    app = app_of(provide={Mailer: app_scope(open_mailer)})
    async with app.running():
        with pytest.raises(RuntimeError, match=r"runs already; its context is `async with app\.app_context\(\)`"):
            async with app.running():
                pass
    async with app.test_app():
        with pytest.raises(RuntimeError, match="runs already"):
            async with app.running():
                pass
    assert events == ["open", "close"] * 2


async def test_a_stop_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function after serving that hangs is an error by name."""
    monkeypatch.setattr("ligand_async.web.quart._STOP_SECONDS", 0.05)
    app = app_of(config={"BACKGROUND_TASK_SHUTDOWN_TIMEOUT": 0})

    @app.after_serving
    async def hang() -> None:
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError, match=r"did not stop within 0\.05 s: a function after serving hangs"):
        async with app.running():
            pass


async def test_a_start_that_fails_leaves_the_app_stopped(sqlite_url: str) -> None:
    """What was made before is closed, and it can be tried again."""
    app = make_shop(sqlite_url)
    tries = iter([True, False])

    @app.before_serving
    async def fail() -> None:
        if next(tries):
            raise RuntimeError("not yet")

    with pytest.raises(RuntimeError, match="not yet"):
        async with app.running():
            pass
    async with app.app_context():
        with pytest.raises(RuntimeError, match="is not open"):
            db.engines()
    async with app.running():
        events.append("block")
    assert events == ["open", "close", "open", "block", "close"]


# -- calls


async def test_a_call_is_a_unit_of_work(database_url: str) -> None:
    """What the function and its services do in the session is committed together, and rolled back together."""

    async def add(name: str, stock: Stock, session: AsyncSession, fails: bool = False) -> str:
        assert stock.session is session
        session.add(Item(name=name))
        on_commit(lambda: events.append(f"committed {name}"))
        if fails:
            raise LookupError
        return name

    app = make_shop(database_url)
    async with app.running():
        await db.create_tables()
        assert await services_of(app).call(add, {"name": "one"}) == "one"
        with pytest.raises(LookupError):
            await services_of(app).call(add, {"name": "two", "fails": True})
        assert await count_items() == 1
    assert events == ["open", "committed one", "close"]


async def test_a_failed_flush_of_a_call_reaches_its_services(database_url: str) -> None:
    """As in an operation: the code after a `yield` sees it."""

    def note(session: AsyncSession) -> Iterator[Trail]:
        try:
            yield Trail()
        except Exception as error:
            events.append(type(error).__name__)
            raise

    async def add(session: AsyncSession, trail: Annotated[Trail, Depends(note)]) -> None:
        session.add_all([Item(name="twice"), Item(name="twice")])

    app = make_shop(database_url)
    async with app.running():
        await db.create_tables()
        with pytest.raises(IntegrityError):
            await services_of(app).call(add)
    assert events == ["open", "IntegrityError", "close"]


async def test_a_call_without_a_session_needs_no_database() -> None:
    """And a function need not be a coroutine function; what has a default and is not a service keeps it."""

    def describe(settings: Settings, mailer: Mailer, word: str = "word", other: Mailer | None = None) -> list[Any]:
        return [settings.environment, mailer is other, word]

    app = app_of(provide={Mailer: Mailer()})
    async with app.running():
        assert await services_of(app).call(describe) == ["testing", True, "word"]


async def test_a_call_may_have_a_caller() -> None:
    """`principal=` is for services that take one; without it they say so."""

    def name_of(principal: Principal) -> Trail:
        return Trail([principal.subject])

    async def read(trail: Trail, principal: Principal | None) -> list[str]:
        assert principal is None or principal.subject in trail
        return list(trail)

    app = app_of(provide={Trail: name_of})
    async with app.running():
        ada = Principal("ada", issuer="https://issuer.example")
        assert await services_of(app).call(read, principal=ada) == ["ada"]
        with pytest.raises(ServiceError, match="read: a service takes a Principal, and nobody calls here"):
            await services_of(app).call(read)


async def test_a_call_that_cannot_work_has_a_name() -> None:
    """A missing provider, a missing database, an app that does not run."""

    async def wants(stock: Stock) -> None: ...

    async def wants_session(session: AsyncSession) -> None: ...

    app = app_of()
    with pytest.raises(RuntimeError, match=r"use `async with app\.running\(\)`"):
        await services_of(app).call(wants)
    async with app.running():
        with pytest.raises(ServiceError, match=r"parameter 'stock' .* create_app\(provide=…\)"):
            await services_of(app).call(wants)
        with pytest.raises(RuntimeError, match="wants_session takes a session, and the app has no database"):
            await services_of(app).call(wants_session)


async def test_a_streamed_body_calls_with_services(database_url: str) -> None:
    """It is sent when the services of its request are closed, and each call makes new ones."""

    async def add(name: str, stock: Stock) -> str:
        stock.session.add(Item(name=name))
        return name

    @operation
    async def stream() -> Response:
        services = services_of(current_app)

        async def body() -> AsyncIterator[str]:
            for number in range(2):
                yield await services.call(add, {"name": f"item {number}"})

        return Response(body(), content_type="text/plain")

    app = make_shop(database_url, routes(("GET", "/", stream)))
    async with running(app) as client:
        assert await (await client.get("/")).get_data(as_text=True) == "item 0item 1"
        assert await count_items() == 2


async def test_websockets_and_background_tasks_call_with_services(database_url: str) -> None:
    """Each message is a unit of work of its own."""

    async def add(name: str, session: AsyncSession, mailer: Mailer) -> int:
        session.add(Item(name=name))
        await session.flush()
        return await session.scalar(select(func.count()).select_from(Item)) or 0

    app = make_shop(database_url)

    @public
    async def add_items() -> None:
        while True:
            name = await websocket.receive()
            await websocket.send(str(await services_of(current_app).call(add, {"name": name})))

    app.add_websocket("/items", view_func=add_items)

    async with running(app) as client:
        async with client.websocket("/items") as socket:
            for number in range(2):
                await socket.send(f"item {number}")
                assert await socket.receive() == str(number + 1)
        app.add_background_task(services_of(app).call, add, {"name": "later"})
        await asyncio.gather(*app.background_tasks)
        assert await count_items() == 3
