"""Liveness and readiness."""

import asyncio
import contextlib
import logging
import platform
import secrets
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pytest
from quart import Quart

from ligand_async import Principal, Settings, create_app, operation
from ligand_async.auth import BearerAuthenticator
from ligand_async.ops import add_health_check, init_health
from ligand_async.protocols import CheckFailed
from tests.services import NEVER_OPENED, app_of, make_app, routes, running, send


class Hanging:
    name = "hanging"

    async def check(self) -> None:
        await asyncio.sleep(60)


class Nobody:
    async def verify(self, token: str) -> Principal:
        return Principal(token, "")


class Failing:
    name = "failing"

    async def check(self) -> None:
        raise RuntimeError("s3cret")


class Well:
    name = "well"

    async def check(self) -> None:
        return


@pytest.fixture
def closed_port() -> int:
    """A port without a listener."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port on which somebody listens who never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


async def test_a_service_with_its_database_is_ready(database_url: str) -> None:
    """A service is alive and ready, and the answer is not cached."""
    async with running(make_app(database_url)) as client:
        alive, ready = await client.get("/livez"), await client.get("/readyz")
        assert (alive.status_code, await alive.get_json()) == (200, {"status": "ok"})
        checks = {"database": "ok", "migrations": "ok", "token_keys": "ok"}
        assert (ready.status_code, await ready.get_json()) == (200, {"status": "ok", "checks": checks})
        assert alive.headers["Cache-Control"] == ready.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("port", ["closed_port", "silent_port"])
async def test_a_service_without_its_database_lives_and_is_not_ready(
    port: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused or never answered: it starts, it lives, it says which check failed within a second or so, and not why."""
    url = f"postgresql://user:s3cret@127.0.0.1:{request.getfixturevalue(port)}/db"
    async with running(make_app(url), tables=False) as client:
        begun = time.monotonic()
        ready = await client.get("/readyz")
        took = time.monotonic() - begun
        document = await ready.get_json()

        assert (await client.get("/livez")).status_code == 200
    assert (ready.status_code, ready.content_type) == (503, "application/problem+json")
    assert document["checks"] == {"database": "failed", "migrations": "failed", "token_keys": "ok"}
    assert ready.headers["Retry-After"] == "1"
    assert ready.headers["Cache-Control"] == "no-store"
    assert took < 2
    assert "s3cret" not in caplog.text + str(document)


async def test_checks_run_at_once_and_are_bounded() -> None:
    """Two that hang take no longer than one, also at the first look, and the results of the others are right."""
    app = Quart(__name__)
    hanging, second = Hanging(), Hanging()
    second.name = "second"
    init_health(app, [Well()])
    add_health_check(app, hanging, timeout=0.2)
    add_health_check(app, Failing())
    add_health_check(app, second, timeout=0.2)

    begun = time.monotonic()
    response = await app.test_client().get("/readyz")
    took = time.monotonic() - begun

    assert response.status_code == 503
    body = await response.get_data(as_text=True)
    assert '"checks":{"well":"ok","hanging":"failed","failing":"failed","second":"failed"}' in body
    assert "s3cret" not in body
    assert took < 0.35


async def test_checks_are_shared_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 140: 300 who ask at once, and those who come right after, cost one check; later ones get a new one."""
    count = 0

    class Counting:
        name = "counting"

        async def check(self) -> None:
            nonlocal count
            count += 1
            await asyncio.sleep(0.05)

    app = Quart(__name__)
    init_health(app, [Counting()])
    client = app.test_client()
    answers = await asyncio.gather(*(client.get("/readyz") for _ in range(300)))
    answers.append(await client.get("/readyz"))

    assert ({answer.status_code for answer in answers}, count) == ({200}, 1)
    monkeypatch.setattr("ligand_async.ops.health.FRESH_SECONDS", 0.0)
    await client.get("/readyz")
    assert count == 2


async def test_a_service_without_checks_is_ready() -> None:
    """Nothing to ask, nothing that fails."""
    app = app_of(authenticators=[BearerAuthenticator(Nobody())])
    answer = await send(app, "GET", "/readyz")

    assert (answer.status, answer.json) == (200, {"status": "ok", "checks": {}})


async def test_they_are_not_documented(sqlite_url: str) -> None:
    """Probes are for the platform, not for clients."""

    @operation
    async def handler() -> None: ...

    paths = (await send(make_app(sqlite_url, routes(("GET", "/", handler))), "GET", "/openapi.json")).json["paths"]

    assert list(paths) == ["/"]


async def test_result_that_changes_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says once why a check fails, and once that it passes again; only a `CheckFailed` chooses its words."""
    monkeypatch.setattr("ligand_async.ops.health.FRESH_SECONDS", 0.0)
    caplog.set_level(logging.INFO, "ligand_async")
    faults: list[Exception | None] = [
        CheckFailed("no paper"),
        CheckFailed("no paper"),
        RuntimeError("s3cret"),
        None,
        None,
    ]

    class Printer:
        name = "printer"

        async def check(self) -> None:
            if (fault := faults.pop(0)) is not None:
                raise fault

    app = Quart(__name__)
    init_health(app, [Printer()])
    statuses = [(await app.test_client().get("/readyz")).status_code for _ in range(5)]

    assert statuses == [503, 503, 503, 200, 200]
    assert [record.getMessage() for record in caplog.records if "printer" in record.getMessage()] == [
        "health check printer failed: no paper",
        "health check printer failed: RuntimeError",
        "health check printer passes again",
    ]


async def test_check_that_swallows_its_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that does not end is not ready within its time, and is not run a second time meanwhile."""
    monkeypatch.setattr("ligand_async.ops.health.FRESH_SECONDS", 0.0)
    runs = 0
    released = asyncio.Event()

    class Stubborn:
        name = "stubborn"

        async def check(self) -> None:
            nonlocal runs
            runs += 1
            while not released.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await released.wait()

    app = Quart(__name__)
    init_health(app, [])
    add_health_check(app, Stubborn(), timeout=0.1)
    client = app.test_client()
    statuses = [(await client.get("/readyz")).status_code for _ in range(3)]
    assert (statuses, runs) == ([503] * 3, 1)
    released.set()
    await asyncio.sleep(0.01)
    assert ((await client.get("/readyz")).status_code, runs) == (200, 2)


async def test_check_that_exits_is_not_ready() -> None:
    """A check that raises SystemExit fails, and does not end the server."""

    class Exiting:
        name = "exiting"

        async def check(self) -> None:
            raise SystemExit

    app = Quart(__name__)
    init_health(app, [Exiting()])

    assert (await app.test_client().get("/readyz")).status_code == 503


def test_checks_have_names_of_their_own_and_a_timeout() -> None:
    """Two checks of one name would hide each other, and a timeout of nothing would always fail."""
    app = Quart(__name__)
    init_health(app, [Well()])
    with pytest.raises(ValueError, match="'well' already"):
        add_health_check(app, Well())
    with pytest.raises(ValueError, match="timeout is 0"):
        add_health_check(app, Failing(), timeout=0)


PROD = {
    "environment": "prod",
    "database_url": NEVER_OPENED,
    "secret_key": secrets.token_urlsafe(32),
    "service_public_url": "https://shop.example",
    "service_private_url": "https://shop.internal",
    "commit": "4f2a9c1",
}


class Operator:
    """Knows one token, that of somebody in operations."""

    async def verify(self, token: str) -> Principal:
        return Principal(token, "https://issuer.example", roles=frozenset({"operations"} if token == "ops" else ()))


def make_strict(**settings: Any) -> Quart:
    """Make a service as it runs in production, with a check that fails."""
    loaded = Settings(**{**PROD, **settings})
    app = create_app(
        __name__,
        title="Shop",
        version="2.1.0",
        settings=loaded,
        authenticators=[BearerAuthenticator(Operator())],
    )
    add_health_check(app, Failing())
    return app


@pytest.mark.parametrize(
    ("token", "role", "sees"),
    [("", "operations", 0), ("ada", "operations", 0), ("ops", None, 0), ("ops", "operations", 1)],
)
async def test_strangers_see_no_details(token: str, role: str | None, sees: bool) -> None:
    """In production only callers with the role see which checks fail, and which release is running."""
    app = make_strict(operations_role=role)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    ready = await send(app, "GET", "/readyz", headers=headers)
    info = await send(app, "GET", "/info", headers=headers)

    assert (ready.status, ready.json.get("checks")) == (503, {"failing": "failed"} if sees else None)
    assert (info.status, info.headers["Cache-Control"]) == (200 if sees else 404, "no-store")


async def test_info_says_what_is_running(sqlite_url: str) -> None:
    """`/info` has the release, its commit, when it started, and on what it runs; and no setting besides."""
    before = datetime.now(UTC).replace(microsecond=0)
    answer = await send(make_app(sqlite_url, settings={"commit": "4f2a9c1"}), "GET", "/info")
    document = answer.json

    assert before <= datetime.fromisoformat(document.pop("started_at")) <= datetime.now(UTC)
    assert document == {
        "title": "Shop",
        "version": "1.0.0",
        "commit": "4f2a9c1",
        "environment": "testing",
        "python": platform.python_version(),
        "ligand_async": version("ligand-async"),
    }
