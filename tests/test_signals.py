"""Signals: how receivers run, and when a service's own signals are sent."""

import asyncio
import functools
import gc
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import Context
from typing import Any, cast

import pytest
from blinker import NamedSignal
from quart import Quart, current_app
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import Conflict, on_commit, operation, signals
from ligand_async.signals import Signal, announce, changes_committed, consult, deliver, failures_of
from ligand_async.web import LigandQuart
from tests.services import NEVER_OPENED, Item, count_items, db, make_app, routes, running

SIGNAL = NamedSignal("test-sent")


@pytest.fixture
async def app() -> AsyncIterator[Quart]:
    """A started app, in whose context the test runs, and which waits for no receiver long."""
    app = make_app(NEVER_OPENED, database=None, settings={"signal_timeout": 0.1})
    async with app.test_app(), app.app_context():
        yield app


@contextmanager
def connected(app: Quart, *receivers: Any) -> Iterator[None]:
    """Let receivers hear an app's signal."""
    with ExitStack() as stack:
        for receiver in receivers:
            stack.enter_context(SIGNAL.connected_to(receiver, sender=app))
        yield


class Heard(list[str]):
    """What was heard, by receivers of every kind."""

    def plain(self, _app: Quart, *, word: str) -> None:
        self.append(f"plain {word} {threading.current_thread() is threading.main_thread()}")

    async def coroutine(self, sender: Quart, *, word: str) -> None:
        await asyncio.sleep(0)
        self.append(f"coroutine {word} {current_app.name == sender.name}")

    async def __call__(self, _app: Quart, *, word: str) -> None:
        self.append(f"object {word}")


def fail(_app: Quart, **_: Any) -> None:
    raise RuntimeError("broken receiver")


async def hang(_app: Quart, **_: Any) -> None:
    await asyncio.sleep(60)


async def refuse_to_end(_app: Quart, **_: Any) -> None:
    for _number in range(60):
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            continue


def leave(_app: Quart, **_: Any) -> None:
    raise SystemExit(3)


def stray(_app: Quart, **_: Any) -> None:
    raise asyncio.CancelledError


async def cancel_itself(_app: Quart, **_: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(60)


BAD = [fail, hang, leave, stray, cancel_itself]


@pytest.mark.parametrize("send", [consult, deliver])
async def test_receivers_of_every_kind_run(app: Quart, send: Any) -> None:
    """A function, a coroutine function, a method, a partial and a callable object receive the signal, on the loop."""
    heard = Heard()

    with connected(app, heard.plain, heard.coroutine, heard, functools.partial(heard.coroutine)):
        await send(SIGNAL, app, word="hello")

    assert sorted(heard) == ["coroutine hello True", "coroutine hello True", "object hello", "plain hello True"]


@pytest.mark.parametrize("bad", BAD, ids=lambda one: one.__name__)
async def test_bad_receiver_is_alone(app: Quart, bad: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A receiver that fails affects neither the others nor the sender; it is logged and counted."""
    heard = Heard()
    with connected(app, bad, heard):
        await deliver(SIGNAL, app, word="hello")

    assert heard == ["object hello"]
    assert failures_of(app) == {"test-sent": 1}
    assert f"receiver {bad.__name__} of signal test-sent" in caplog.text


async def test_all_receivers_have_the_time_of_one(app: Quart) -> None:
    """Receivers that hang do so at the same time: the sender waits no longer than for one of them."""
    began = time.monotonic()
    with connected(app, *(functools.partial(hang, number=number) for number in range(20))):
        await deliver(SIGNAL, app)

    assert time.monotonic() - began < 1
    assert failures_of(app)["test-sent"] == 20


async def test_receiver_that_refuses_to_end_is_left_behind(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    """The sender does not wait for a receiver that catches its cancellation; it is counted when it ends."""
    began = time.monotonic()
    with connected(app, refuse_to_end):
        await deliver(SIGNAL, app)
    waited = time.monotonic() - began
    await asyncio.gather(*app.background_tasks)

    assert waited < 1
    assert failures_of(app)["test-sent"] == 1


async def test_receiver_goes_on_when_nobody_waits(app: Quart) -> None:
    """If the sender is cancelled, the receivers still run to their end."""
    heard = Heard()

    async def slow(sender: Quart, *, word: str) -> None:
        await asyncio.sleep(0.05)
        heard.append(word)

    with connected(app, slow):
        task = asyncio.create_task(deliver(SIGNAL, app, word="hello"))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(*app.background_tasks)

    assert heard == ["hello"]


async def test_announcing_does_not_wait(app: Quart) -> None:
    """Receivers of an announced signal run in the background, and the app waits for them when it stops."""
    heard = Heard()
    with connected(app, heard, hang):
        announce(SIGNAL, app, word="hello")
        assert heard == []
        await asyncio.sleep(0.01)
        assert heard == ["object hello"]
        await asyncio.gather(*app.background_tasks)

    assert failures_of(app)["test-sent"] == 1


async def test_other_apps_hear_nothing(app: Quart) -> None:
    """A receiver connected via one app gets the signals of that app only; `connect` gets those of all."""
    other = make_app(NEVER_OPENED, database=None)
    heard: list[str] = []

    @SIGNAL.connect_via(other)
    def hear_other(_app: Quart, **_: Any) -> None:
        heard.append("other")

    @SIGNAL.connect
    def hear_all(_app: Quart, **_: Any) -> None:
        heard.append("all")

    await deliver(SIGNAL, app)
    SIGNAL.disconnect(hear_other)
    SIGNAL.disconnect(hear_all)

    assert heard == ["all"]


async def test_connect_is_weak_and_connect_via_is_not(app: Quart) -> None:
    """`connect` holds a function inside another weakly, and `connect_via` keeps it, as blinker does."""
    heard: list[str] = []

    def register() -> None:
        @SIGNAL.connect
        def weak(_app: Quart, **_: Any) -> None:
            heard.append("weak")

        @SIGNAL.connect_via(app)
        def strong(_app: Quart, **_: Any) -> None:
            heard.append("strong")

    register()
    gc.collect()
    await deliver(SIGNAL, app)

    assert heard == ["strong"]


async def test_receivers_are_in_the_context_of_the_app(app: Quart) -> None:
    """The sending app is the current app of a receiver, wherever the signal is sent from."""
    other = make_app(NEVER_OPENED, database=None)
    heard: list[bool] = []

    async def hear(sender: Quart, **_: Any) -> None:
        heard.append(current_app._get_current_object() is sender)  # type: ignore[attr-defined]  # a LocalProxy

    with SIGNAL.connected_to(hear):
        await deliver(SIGNAL, other)
        await asyncio.create_task(deliver(SIGNAL, app), context=Context())

    assert heard == [True, True]


async def test_muted_signal_is_silent(app: Quart) -> None:
    """A signal that blinker mutes is not sent."""
    heard = Heard()
    with connected(app, heard), SIGNAL.muted():
        await deliver(SIGNAL, app, word="hello")

    assert heard == []


async def test_log_names_the_receiver_and_the_time(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    """The log distinguishes a receiver that was too slow from one that raised."""
    with connected(app, hang, fail), caplog.at_level(logging.WARNING):
        await deliver(SIGNAL, app)

    assert "receiver hang of signal test-sent did not end within 0.1 s" in caplog.text
    assert "receiver fail of signal test-sent failed" in caplog.text
    assert "broken receiver" in caplog.text


def test_every_signal_documents_its_receiver() -> None:
    """Each signal of the framework has its receiver's signature in its documentation, the app first."""
    found = {name: one for name, one in vars(signals).items() if isinstance(one, NamedSignal)}

    assert {name.replace("_", "-") for name in found} == {one.name for one in found.values()}
    assert set(found) == {
        "access_denied",
        "authentication_failed",
        "changes_committed",
        "changes_flushing",
        "changes_rolled_back",
        "operation_completed",
        "principal_authenticated",
        "service_draining",
        "service_started",
        "token_keys_rotated",
    }
    assert [name for name, one in found.items() if "Receiver: `(app" not in (one.__doc__ or "")] == []


@pytest.mark.parametrize("bad", BAD, ids=lambda one: one.__name__)
async def test_start_and_stop_are_signalled_and_survive_their_receivers(bad: Any) -> None:
    """`service_started` is sent after all functions before serving, `service_draining` before everything else."""
    app = make_app(NEVER_OPENED, database=None, settings={"signal_timeout": 0.1})
    order: list[str] = []
    app.before_serving(lambda: order.append("before serving"))
    app.after_serving(lambda: order.append("after serving"))

    async def drain(_app: Quart) -> None:
        order.append(f"draining {current_app.name == app.name}")

    def start(_app: Quart) -> None:
        order.append("started")

    with (
        signals.service_started.connected_to(start, sender=app),
        signals.service_started.connected_to(bad, sender=app),
        signals.service_draining.connected_to(drain, sender=app),
        signals.service_draining.connected_to(bad, sender=app),
    ):
        async with app.test_app():
            order.append("serving")

    assert order == ["before serving", "started", "serving", "draining True", "after serving"]


report_ready = Signal("report-ready")


@operation(status=201)
async def write_report(session: AsyncSession, title: str = "cup") -> None:
    """Store an item and send the signal that its report is ready."""
    await report_ready.send(title=title)
    session.add(Item(name=title))
    if title == "bad":
        raise Conflict


@operation(status=202)
async def print_report() -> None:
    """Send the signal without a unit of work."""
    await report_ready.send(title="printed")


@operation
async def read_report(session: AsyncSession) -> None:
    """Send the signal from a session that reads."""
    await report_ready.send(title="read")


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Quart]:
    """A started app with empty tables, in whose context the test runs."""
    views = routes(("POST", "/", write_report), ("POST", "/print", print_report), ("GET", "/", read_report))
    app = make_app(database_url, views, settings={"signal_timeout": 1.0})
    async with running(app):
        yield app


@pytest.fixture
def heard(service: Quart) -> list[Any]:
    """What was sent, with the number of items that are stored by then."""
    heard: list[Any] = []

    @report_ready.connect_via(service)
    async def hear(_app: Quart, *, title: str) -> None:
        heard.append((title, await count_items()))

    return heard


async def test_signal_of_a_unit_is_sent_after_its_commit(service: Quart, heard: list[Any]) -> None:
    """A receiver sees the row that the handler stored after sending; the response comes after the receiver."""
    assert (await service.test_client().post("/")).status_code == 201

    assert heard == [("cup", 1)]


async def test_signal_of_a_unit_that_is_rolled_back_is_not_sent(service: Quart, heard: list[Any]) -> None:
    """A rollback drops the signals of its unit."""
    assert (await service.test_client().post("/?title=bad")).status_code == 409

    assert heard == []


async def test_signal_outside_a_unit_is_sent_at_once(service: Quart, heard: list[Any]) -> None:
    """Without a unit of work there is nothing to wait for: in a handler, and outside a request."""
    assert (await service.test_client().post("/print")).status_code == 202
    await report_ready.send(title="by hand")

    assert heard == [("printed", 0), ("by hand", 0)]


async def test_signal_of_a_read_is_sent_after_it(service: Quart, heard: list[Any]) -> None:
    """A session that reads is a unit of work, too."""
    assert (await service.test_client().get("/")).status_code == 204

    assert heard == [("read", 0)]


async def test_signals_follow_callbacks_and_changes_in_order(service: Quart, heard: list[Any]) -> None:
    """After the commit come callbacks, then the changes, then the service's own signals as they were sent."""

    def tell(_app: Quart, **_: Any) -> None:
        heard.append("changes")

    with changes_committed.connected_to(tell, sender=service):
        async with db.transaction() as session:
            session.add(Item(name="cup"))
            for title in ("one", "two"):
                await report_ready.send(title=title)
            on_commit(lambda: heard.append("callback"))

    assert heard == ["callback", "changes", ("one", 1), ("two", 1)]


async def test_callbacks_and_receivers_may_send(service: Quart, heard: list[Any]) -> None:
    """A callback after the commit, and a receiver of the changes, may send signals themselves."""

    async def tell(_app: Quart, **_: Any) -> None:
        await report_ready.send(title="receiver")

    with changes_committed.connected_to(tell, sender=service):
        async with db.transaction() as session:
            session.add(Item(name="cup"))
            on_commit(lambda: report_ready.send(title="callback"))

    assert sorted(heard) == [("callback", 1), ("receiver", 1)]


async def test_inner_transaction_sends_by_itself(postgres_url: str) -> None:
    """A signal in an inner transaction is sent after that transaction's own commit."""
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


async def test_failing_receiver_changes_nothing(service: Quart, heard: list[Any]) -> None:
    """Receivers that raise or hang are counted; the row stays, the response is a success, other receivers run."""

    @report_ready.connect_via(service)
    def fail(_app: Quart, **_: Any) -> None:
        raise Conflict

    @report_ready.connect_via(service)
    async def hang(_app: Quart, **_: Any) -> None:
        await asyncio.sleep(60)

    assert (await service.test_client().post("/")).status_code == 201
    assert heard == [("cup", 1)]
    assert failures_of(service)["report-ready"] == 2


async def test_signal_of_an_app_is_its_own(service: Quart, sqlite_url: str) -> None:
    """`app.signal(name)` is the signal of that name, sent and received for one app, without a context."""
    heard: list[Any] = []
    other = make_app(sqlite_url)
    mine = cast(LigandQuart, service)

    def hear(sender: Quart, *, title: str) -> None:
        heard.append((sender is service, title))

    mine.signal("report-ready").connect(hear)
    await other.signal("report-ready").send(title="other")
    await mine.signal("report-ready").send(title="mine")
    await Signal("report-ready").send(title="by its name")
    mine.signal("report-ready").disconnect(hear)
    await mine.signal("report-ready").send(title="unheard")

    assert heard == [(True, "mine"), (True, "by its name")]


async def test_connect_is_weak_by_default(service: Quart) -> None:
    """A receiver that nothing else refers to is forgotten, unless it is connected with `weak=False`."""
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


async def test_names_of_the_framework_are_its_own(service: Quart) -> None:
    """A service's signal with the name of one of ours is another signal."""
    heard: list[Any] = []

    def tell(_app: Quart, **values: Any) -> None:
        heard.append(values)

    with changes_committed.connected_to(tell):
        await Signal("changes-committed").send(changes=["forged"])

    assert heard == []


async def test_values_may_have_any_name(service: Quart) -> None:
    """A value may have the name of any argument of the sending function."""
    heard: list[dict[str, Any]] = []

    @report_ready.connect_via(service)
    def hear(_app: Quart, **values: Any) -> None:
        heard.append(values)

    await report_ready.send(signal=1, app=2, values=3, receiver=4)

    assert heard == [{"signal": 1, "app": 2, "values": 3, "receiver": 4}]


async def test_sending_needs_an_app() -> None:
    """Without an app's context, a signal that is not of one app cannot be sent."""
    with pytest.raises(RuntimeError, match="app context"):
        await Signal("report-ready").send()
