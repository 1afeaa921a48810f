"""Liveness and readiness."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest
from quart import Quart

from ligand_async import Principal, operation
from ligand_async.auth import BearerAuthenticator
from ligand_async.ops import init_health
from tests.services import app_of, make_app, routes, running, send


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
    async with running(make_app(database_url), tables=False) as client:
        alive, ready = await client.get("/livez"), await client.get("/readyz")
        assert (alive.status_code, await alive.get_json()) == (200, {"status": "ok"})
        checks = {"database": "ok", "token_keys": "ok"}
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
    assert (document["checks"], ready.headers["Retry-After"]) == ({"database": "failed", "token_keys": "ok"}, "1")
    assert ready.headers["Cache-Control"] == "no-store"
    assert took < 2
    assert "s3cret" not in caplog.text + str(document)


async def test_checks_run_at_once_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that hang take no longer than one, and the results of the others are right."""
    monkeypatch.setattr("ligand_async.ops.health.CHECK_TIMEOUT", 0.2)
    app = Quart(__name__)
    hanging, second = Hanging(), Hanging()
    second.name = "second"
    init_health(app, [Well(), hanging, Failing(), second])

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
