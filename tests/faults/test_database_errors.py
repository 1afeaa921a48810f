"""FAULTS 93, 94, 96, 97: what a database refuses, and a database that cannot be reached."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import Settings, operation
from tests.servers import free_port
from tests.services import Item, backend, count_checked_out, count_items, db, make_service, post, running

VIOLATIONS = {
    "unique": ({"name": "cup"}, 409, "/name"),
    "foreign key": ({"name": "x", "shelf_id": "00000000-0000-0000-0000-00000000dead"}, 409, "/shelf_id"),
    "check": ({"name": "x", "price": -1}, 422, "/price"),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
async def test_violation_is_409_or_422(database_url: str, violation: str) -> None:
    """Row 93: a broken constraint is a 409 or 422 that names the field and holds no SQL; the row is absent."""
    body, status, pointer = VIOLATIONS[violation]
    async with running(make_service(database_url)) as client:
        assert (await post(client, "/items", name="cup"))[0] == 201
        response = await client.post("/items", json=body)
        problem = json.loads(await response.get_data())

        assert (response.status_code, response.content_type) == (status, "application/problem+json")
        assert [part["pointer"] for part in problem["errors"]] == [pointer]
        assert "INSERT" not in str(problem)
        assert await count_items() == 1
        assert count_checked_out() == 0


async def test_deferred_violation_is_409_at_the_commit(database_url: str) -> None:
    """Row 93: what breaks at the commit is a 409, too, although the answer was ready; the row is absent."""
    is_sqlite = backend(database_url) == "sqlite"

    @operation(status=201)
    async def create(session: AsyncSession) -> None:
        """Break a deferred reference."""
        session.add(Item(name="cup"))
        await session.flush()
        if is_sqlite:
            await session.execute(text("PRAGMA defer_foreign_keys = ON"))
        else:
            await session.execute(text("SET CONSTRAINTS ALL DEFERRED"))
        await session.execute(text("UPDATE item SET shelf_id = '00000000-0000-0000-0000-00000000dead'"))

    app = make_service(database_url, ("POST", "/broken", create))
    async with running(app) as client:
        if not is_sqlite:
            async with db.transaction() as session:
                await session.execute(text("ALTER TABLE item ALTER CONSTRAINT fk_item_shelf_id_shelf DEFERRABLE"))
        assert (await post(client, "/broken"))[0] == 409
        assert await count_items() == 0
        assert count_checked_out() == 0


VALUES: dict[str, dict[str, Any]] = {
    "too long": {"name": "x" * 51},
    "integer too large": {"name": "x", "price": 2**70},
}


@pytest.mark.parametrize("value", VALUES)
async def test_value_that_does_not_fit_is_422(database_url: str, value: str) -> None:
    """Row 94: what reaches the database and fits no column is a 422. SQLite itself takes long text."""
    async with running(make_service(database_url)) as client:
        status, problem = await post(client, "/items", **VALUES[value])

        if backend(database_url) == "sqlite" and value != "integer too large":
            assert status == 201
        else:
            assert (status, problem["detail"]) == (422, "a value does not fit its column")
            assert await count_items() == 0


async def test_a_nul_of_the_service_is_422(database_url: str) -> None:
    """Row 94: U+0000 that no body brought is a 422 by PostgreSQL's word; SQLite takes it."""

    @operation(status=201)
    async def create(session: AsyncSession) -> None:
        """Store an item whose name holds it."""
        session.add(Item(name="a\x00b"))

    async with running(make_service(database_url, ("POST", "/odd", create))) as client:
        status, problem = await post(client, "/odd")

    if backend(database_url) == "sqlite":
        assert status == 201
    else:
        assert (status, problem["detail"]) == (422, "a value does not fit its column")


async def test_negative_offset_is_422(postgres_url: str) -> None:
    """Row 94: a negative OFFSET that a service lets through is a 422."""

    @operation
    async def skip(session: AsyncSession, offset: int = 0) -> int:
        """Skip items."""
        return len((await session.scalars(select(Item).offset(offset))).all())

    async with running(make_service(postgres_url, ("GET", "/skip", skip))) as client:
        assert (await client.get("/skip?offset=-1")).status_code == 422


async def test_exhausted_pool_is_503(database_url: str) -> None:
    """Row 96: without a free connection a request is a 503 with `Retry-After` after the timeout, 2 s by default."""
    assert Settings.load("testing", database_url=database_url).database_pool_timeout == 2.0
    held, release = asyncio.Event(), asyncio.Event()

    @operation
    async def hold(session: AsyncSession) -> None:
        """Keep a connection."""
        await session.execute(text("SELECT 1"))
        held.set()
        await release.wait()

    app = make_service(
        database_url,
        ("POST", "/hold", hold),
        database_pool_size=1,
        database_pool_timeout=0.2,
    )
    async with running(app) as client:
        holder = asyncio.create_task(client.post("/hold"))
        await held.wait()
        began = time.monotonic()
        response = await client.post("/items", json={"name": "cup"})
        waited = time.monotonic() - began
        release.set()

        assert (response.status_code, response.content_type) == (503, "application/problem+json")
        assert response.headers["Retry-After"] == "1"
        assert 0.15 < waited < 1
        assert (await holder).status_code == 204
        assert (await post(client, "/items", name="cup"))[0] == 201


def refused() -> str:
    """Return the URL of a port where nobody listens."""
    return f"postgresql://user@127.0.0.1:{free_port()}/pets"


UNREACHABLE: dict[str, Callable[[], str]] = {
    "refused": refused,
    "no such host": lambda: "postgresql://user@no-such-host.invalid/pets",
    "no such socket": lambda: "postgresql://user@/pets?host=/nowhere",
}


@pytest.mark.parametrize("kind", UNREACHABLE)
async def test_unreachable_database_is_503(kind: str) -> None:
    """Row 97: a refused connection or an unknown host is a 503 with `Retry-After`, and names neither host nor user."""
    app = make_service(UNREACHABLE[kind]())
    async with running(app, tables=False) as client:
        for response in (await client.get("/items"), await client.post("/items", json={"name": "cup"})):
            body = await response.get_data(as_text=True)
            assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
            assert response.content_type == "application/problem+json"
            for inside in ("127.0.0.1", "no-such-host", "nowhere", "user", "Errno"):
                assert inside not in body


async def test_unopenable_sqlite_file_is_503() -> None:
    """Row 97: a SQLite file that cannot be opened is a 503."""
    async with running(make_service("sqlite:////nowhere/pets.db"), tables=False) as client:
        assert (await client.get("/items")).status_code == 503
        await asyncio.sleep(0.1)  # aiosqlite 0.22 ends the thread of a failed connection in its own time
