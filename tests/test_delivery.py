"""Receivers of signals: sync and async alike, and none of them in the way of another or of who sends."""

import asyncio
import functools
import gc
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import Context
from typing import Any

import pytest
from blinker import NamedSignal
from quart import Quart, current_app

from ligand_async import signals
from ligand_async.signals import announce, consult, deliver, failures_of
from tests.services import NEVER_OPENED, make_app

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
async def test_receivers_of_every_kind_are_told(app: Quart, send: Any) -> None:
    """A function, a coroutine function, a method, a partial and an object that can be called are told, on the loop."""
    heard = Heard()

    with connected(app, heard.plain, heard.coroutine, heard, functools.partial(heard.coroutine)):
        await send(SIGNAL, app, word="hello")

    assert sorted(heard) == ["coroutine hello True", "coroutine hello True", "object hello", "plain hello True"]


@pytest.mark.parametrize("bad", BAD, ids=lambda one: one.__name__)
async def test_bad_receiver_is_alone(app: Quart, bad: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What one receiver does neither keeps another from hearing nor reaches who sends; it is logged and counted."""
    heard = Heard()
    with connected(app, bad, heard):
        await deliver(SIGNAL, app, word="hello")

    assert heard == ["object hello"]
    assert failures_of(app) == {"test-sent": 1}
    assert f"receiver {bad.__name__} of signal test-sent" in caplog.text


async def test_all_receivers_have_the_time_of_one(app: Quart) -> None:
    """Receivers that hang do so together: who sends waits for the time of one, and a little."""
    began = time.monotonic()
    with connected(app, *(functools.partial(hang, number=number) for number in range(20))):
        await deliver(SIGNAL, app)

    assert time.monotonic() - began < 1
    assert failures_of(app)["test-sent"] == 20


async def test_receiver_that_refuses_to_end_is_left_behind(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    """One that catches its cancellation is waited for no longer, and is counted when it ends after all."""
    began = time.monotonic()
    with connected(app, refuse_to_end):
        await deliver(SIGNAL, app)
    waited = time.monotonic() - began
    await asyncio.gather(*app.background_tasks)

    assert waited < 1
    assert failures_of(app)["test-sent"] == 1


async def test_receiver_goes_on_when_nobody_waits(app: Quart) -> None:
    """If who sends is cancelled meanwhile, the receivers are still told to the end."""
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
    """What is announced is heard beside what goes on, and the app waits for it when it stops."""
    heard = Heard()
    with connected(app, heard, hang):
        announce(SIGNAL, app, word="hello")
        assert heard == []
        await asyncio.sleep(0.01)
        assert heard == ["object hello"]
        await asyncio.gather(*app.background_tasks)

    assert failures_of(app)["test-sent"] == 1


async def test_other_apps_hear_nothing(app: Quart) -> None:
    """A receiver that was connected via one app hears that one only; `connect` hears all."""
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
    """A function inside another is forgotten by `connect` when it ends, and kept by `connect_via`: blinker's words."""
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
    """A receiver has the app that sends as its current one, wherever it is sent from."""
    other = make_app(NEVER_OPENED, database=None)
    heard: list[bool] = []

    async def hear(sender: Quart, **_: Any) -> None:
        heard.append(current_app._get_current_object() is sender)  # type: ignore[attr-defined]  # a LocalProxy

    with SIGNAL.connected_to(hear):
        await deliver(SIGNAL, other)
        await asyncio.create_task(deliver(SIGNAL, app), context=Context())

    assert heard == [True, True]


async def test_muted_signal_is_silent(app: Quart) -> None:
    """What blinker mutes is not sent."""
    heard = Heard()
    with connected(app, heard), SIGNAL.muted():
        await deliver(SIGNAL, app, word="hello")

    assert heard == []


async def test_log_names_the_receiver_and_the_time(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    """A receiver that was too slow is told from one that raised."""
    with connected(app, hang, fail), caplog.at_level(logging.WARNING):
        await deliver(SIGNAL, app)

    assert "receiver hang of signal test-sent did not end within 0.1 s" in caplog.text
    assert "receiver fail of signal test-sent failed" in caplog.text
    assert "broken receiver" in caplog.text


def test_every_signal_says_who_receives_what() -> None:
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
async def test_start_and_stop_are_told_and_survive_their_receivers(bad: Any) -> None:
    """A service tells that it has started, after all that runs before serving, and that it stops, before all else."""
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
