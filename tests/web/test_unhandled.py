"""What nothing handled: who hears of it, and a test client that raises it."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest
from quart import Quart, Response, got_request_exception
from quart.typing import TestClientProtocol as Client

from ligand_async import NotFound
from tests.serving import ROOT
from tests.web.serving import app_of
from tests.web.tracked import SECRET


async def fail() -> str:
    raise KeyError("unhandled")


async def refuse() -> str:
    raise NotFound("no such thing")


def make_app() -> Quart:
    return app_of(("GET", "/failing", fail), ("GET", "/refusing", refuse))


def raising_client(app: Quart) -> Client:
    return app.test_client(raise_unhandled=True)


async def test_a_client_raises_on_demand() -> None:
    """`raise_unhandled=True` gives a test the exception itself, where it was raised."""
    app = make_app()
    async with app.test_app():
        with pytest.raises(KeyError, match="unhandled") as raised:
            await raising_client(app).get("/failing")

    assert [entry.name for entry in raised.traceback][-1] == "fail"


async def test_a_client_raises_nothing_that_was_meant() -> None:
    """A problem is an answer."""
    app = make_app()
    async with app.test_app():
        assert (await raising_client(app).get("/refusing")).status_code == 404


async def test_a_client_answers_by_default() -> None:
    """The switch is one client's: another of the same app gets the problem."""
    app = make_app()
    async with app.test_app():
        with pytest.raises(KeyError):
            await raising_client(app).get("/failing")
        assert (await app.test_client().get("/failing")).status_code == 500


async def test_clients_raise_what_is_their_own() -> None:
    """Requests that run together do not raise each other's exceptions."""
    app = make_app()
    async with app.test_app():
        client = raising_client(app)
        found = await asyncio.gather(
            *(client.get(path) for path in ("/failing", "/refusing", "/failing", "/refusing")), return_exceptions=True
        )

    kinds = [type(one) for one in found]
    assert kinds == [KeyError, Response, KeyError, Response]


async def test_the_client_is_still_quart_schema_s() -> None:
    """It writes models as it did, and keeps its other options."""
    app = make_app()
    async with app.test_app():
        client = app.test_client(use_cookies=False, raise_unhandled=True)

        assert client.cookie_jar is None
        assert hasattr(client, "_make_request")


async def test_the_signal_is_sent_once() -> None:
    """`got_request_exception` carries the exception, and a problem sends none."""
    app, seen = make_app(), list[BaseException]()

    async def receive(_: Quart, exception: BaseException) -> None:
        seen.append(exception)

    with got_request_exception.connected_to(receive, app):
        async with app.test_app():
            for path in ("/failing", "/refusing"):
                await app.test_client().get(path)

    assert [type(error) for error in seen] == [KeyError]


def track(path: str) -> Any:
    """Send a request to the service that Sentry watches."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.web.tracked", path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(run.stdout)


def test_sentry_hears_of_an_exception_once() -> None:
    """A real sentry-sdk is sent one event, with the exception and the request's id."""
    seen = track("/failing")

    assert (seen["status"], len(seen["events"])) == (500, 1)
    event = seen["events"][0]
    assert event["exception"]["values"][-1]["type"] == "KeyError"
    assert event["tags"]["request_id"] == "abc-1"


def test_sentry_does_not_hear_of_problems() -> None:
    """What was meant is no incident."""
    assert track("/refusing") == {"status": 404, "events": []}


def test_sentry_is_told_no_value() -> None:
    """pydantic writes values into its errors; a tracker is outside too."""
    seen = track("/misreading")

    assert len(seen["events"]) == 1
    assert SECRET not in json.dumps(seen)
