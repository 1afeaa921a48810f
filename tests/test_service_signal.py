"""A service's own signals: told after the commit of what sent them, or at once, or never."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from quart import Quart
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import Conflict, on_commit, operation
from ligand_async.signals import Signal, changes_committed, failures_of
from ligand_async.web import LigandQuart
from tests.services import Item, count_items, db, make_app, routes, running

report_ready = Signal("report-ready")


@operation(status=201)
async def write_report(session: AsyncSession, title: str = "cup") -> None:
    """Store an item and tell that its report is ready."""
    await report_ready.send(title=title)
    session.add(Item(name=title))
    if title == "bad":
        raise Conflict


@operation(status=202)
async def print_report() -> None:
    """Tell, with nothing to wait for."""
    await report_ready.send(title="printed")


@operation
async def read_report(session: AsyncSession) -> None:
    """Tell from a session that reads."""
    await report_ready.send(title="read")


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started app with empty tables, in whose context the test runs."""
    views = routes(("POST", "/", write_report), ("POST", "/print", print_report), ("GET", "/", read_report))
    app = make_app(database_url, views, settings={"signal_timeout": 0.2})
    async with running(app):
        yield app


@pytest.fixture
def heard(app: Quart) -> list[Any]:
    """What was sent, with the number of items that are stored by then."""
    heard: list[Any] = []

    @report_ready.connect_via(app)
    async def hear(_app: Quart, *, title: str) -> None:
        heard.append((title, await count_items()))

    return heard


async def test_sent_in_a_unit_is_told_after_its_commit(app: Quart, heard: list[Any]) -> None:
    """A receiver sees what the handler stored after it sent the signal; the answer comes after it was told."""
    assert (await app.test_client().post("/")).status_code == 201

    assert heard == [("cup", 1)]


async def test_sent_in_a_unit_that_is_rolled_back_is_never_told(app: Quart, heard: list[Any]) -> None:
    """What did not happen is not told."""
    assert (await app.test_client().post("/?title=bad")).status_code == 409

    assert heard == []


async def test_sent_outside_a_unit_is_told_at_once(app: Quart, heard: list[Any]) -> None:
    """Without a unit of work there is nothing to wait for: in a handler, and outside a request."""
    assert (await app.test_client().post("/print")).status_code == 202
    await report_ready.send(title="by hand")

    assert heard == [("printed", 0), ("by hand", 0)]


async def test_sent_from_a_read_is_told_after_it(app: Quart, heard: list[Any]) -> None:
    """A session that reads is a unit of work, too."""
    assert (await app.test_client().get("/")).status_code == 204

    assert heard == [("read", 0)]


async def test_signals_follow_callbacks_and_changes_in_order(app: Quart, heard: list[Any]) -> None:
    """After the commit come callbacks, then the changes, then the service's own signals as they were sent."""

    def tell(_app: Quart, **_: Any) -> None:
        heard.append("changes")

    with changes_committed.connected_to(tell, sender=app):
        async with db.transaction() as session:
            session.add(Item(name="cup"))
            for title in ("one", "two"):
                await report_ready.send(title=title)
            on_commit(lambda: heard.append("callback"))

    assert heard == ["callback", "changes", ("one", 1), ("two", 1)]


async def test_sent_by_a_callback_or_receiver_is_told(app: Quart, heard: list[Any]) -> None:
    """A callback after the commit, and who hears of the changes, may send in turn."""

    async def tell(_app: Quart, **_: Any) -> None:
        await report_ready.send(title="receiver")

    with changes_committed.connected_to(tell, sender=app):
        async with db.transaction() as session:
            session.add(Item(name="cup"))
            on_commit(lambda: report_ready.send(title="callback"))

    assert sorted(heard) == [("callback", 1), ("receiver", 1)]


async def test_inner_transaction_tells_by_itself(postgres_url: str) -> None:
    """What is sent in a transaction inside another is told after its own commit."""
    app = make_app(postgres_url)
    heard: list[str] = []

    @report_ready.connect_via(app)
    def hear(_app: Quart, *, title: str) -> None:
        heard.append(title)

    async with running(app):
        with pytest.raises(ZeroDivisionError):
            async with db.transaction():
                await report_ready.send(title="outer")
                async with db.transaction():
                    await report_ready.send(title="inner")
                raise ZeroDivisionError

    assert heard == ["inner"]


async def test_failing_receiver_changes_nothing(app: Quart, heard: list[Any]) -> None:
    """One that raises and one that hangs are counted; the row stays, the answer is good, the others are told."""

    @report_ready.connect_via(app)
    def fail(_app: Quart, **_: Any) -> None:
        raise Conflict

    @report_ready.connect_via(app)
    async def hang(_app: Quart, **_: Any) -> None:
        await asyncio.sleep(60)

    assert (await app.test_client().post("/")).status_code == 201
    assert heard == [("cup", 1)]
    assert failures_of(app)["report-ready"] == 2


async def test_signal_of_an_app_is_its_own(app: Quart, sqlite_url: str) -> None:
    """`app.signal(name)` sends and hears for that app alone, without a context, and is the signal of that name."""
    heard: list[Any] = []
    other = cast(LigandQuart, make_app(sqlite_url))
    mine = cast(LigandQuart, app)

    def hear(sender: Quart, *, title: str) -> None:
        heard.append((sender is app, title))

    mine.signal("report-ready").connect(hear)
    await other.signal("report-ready").send(title="other")
    await mine.signal("report-ready").send(title="mine")
    await Signal("report-ready").send(title="by its name")
    mine.signal("report-ready").disconnect(hear)
    await mine.signal("report-ready").send(title="unheard")

    assert heard == [(True, "mine"), (True, "by its name")]


async def test_connect_is_weak_unless_told(app: Quart) -> None:
    """A receiver that nobody else refers to is forgotten, unless `weak=False` says otherwise."""
    heard: list[str] = []

    def register() -> None:
        report_ready.connect(lambda _app, **_: heard.append("weak"))
        report_ready.connect(keep, weak=False)

    def keep(_app: Quart, **_: Any) -> None:
        heard.append("kept")

    register()
    gc.collect()
    await report_ready.send(title="hello")
    report_ready.disconnect(keep)

    assert heard == ["kept"]


async def test_names_of_the_framework_are_its_own(app: Quart) -> None:
    """A service's signal that is called as one of ours is another: nobody takes it for ours."""
    heard: list[Any] = []

    def tell(_app: Quart, **values: Any) -> None:
        heard.append(values)

    with changes_committed.connected_to(tell):
        await Signal("changes-committed").send(changes=["forged"])

    assert heard == []


async def test_values_may_have_any_name(app: Quart) -> None:
    """No value is taken for an argument of what sends."""
    heard: list[dict[str, Any]] = []

    @report_ready.connect_via(app)
    def hear(_app: Quart, **values: Any) -> None:
        heard.append(values)

    await report_ready.send(signal=1, app=2, values=3, receiver=4)

    assert heard == [{"signal": 1, "app": 2, "values": 3, "receiver": 4}]


async def test_sending_needs_an_app() -> None:
    """Outside an app's context a signal that belongs to none cannot be sent."""
    with pytest.raises(RuntimeError, match="app context"):
        await Signal("report-ready").send()
