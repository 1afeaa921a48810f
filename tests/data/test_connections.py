"""Pooled connections: what one user leaves on them, the next one does not find."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import (
    Executable,
    Integer,
    String,
    cast,
    column,
    exists,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
    values,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import aliased, selectinload
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement, GenericFunction

from ligand_async.data import WriteOnReadSession, utc_now
from tests.services import Item, Shelf, count_checked_out, db, make_app, running

STATE = """
    SELECT concat_ws('|', current_user, current_setting('statement_timeout'), current_setting('search_path'),
        nullif(current_setting('app.tenant', true), ''), to_regclass('pg_temp.mine'),
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), (SELECT count(*) FROM pg_cursors),
        (SELECT count(*) FROM pg_listening_channels()), current_setting('default_transaction_read_only'))
"""


class smuggled(FunctionElement[str]):  # noqa: N801  (an SQL function)
    """A function that a service compiles itself."""

    name = "smuggled"
    inherit_cache = True
    type = String()


@compiles(smuggled)
def _compile_smuggled(*_anything: Any, **_more: Any) -> str:
    return "set_config('app.tenant', 'ada', false)"


class set_config(GenericFunction[str]):  # noqa: N801  (an SQL function)
    """A function that a service registers, as SQLAlchemy lets it."""

    name = "set_config"
    inherit_cache = True
    type = String()


class smuggling(ColumnElement[str]):  # noqa: N801  (an SQL expression)
    """An expression that a service compiles itself."""

    inherit_cache = True
    type = String()


@compiles(smuggling)
def _compile_smuggling(*_anything: Any, **_more: Any) -> str:
    return "set_config('app.tenant', 'ada', false)"


SET = func.set_config("app.tenant", "ada", False)
CHANGES: dict[str, Executable] = {
    "set": text("SET search_path TO pg_catalog"),
    "set role": text("SET ROLE pg_monitor"),
    "set session authorization": text("SET SESSION AUTHORIZATION pg_monitor"),
    "role by function": select(func.set_config("role", "pg_monitor", False)),
    "timeout": text("SET statement_timeout = 0"),
    "temporary table": text("CREATE TEMP TABLE mine (x int)"),
    "advisory lock": select(func.pg_advisory_lock(7)),
    "cursor": text("DECLARE mine CURSOR WITH HOLD FOR SELECT 1"),
    "listen": text("LISTEN mine"),
    "function": select(SET),
    "function of a schema": select(func.pg_catalog.set_config("app.tenant", "ada", False)),
    "registered function": select(set_config("app.tenant", "ada", False)),
    "compiled function": select(smuggled()),
    "compiled expression": select(smuggling()),
    "literal column": select(literal_column("set_config('app.tenant', 'ada', false)")),
    "prefix": select(Item.id).prefix_with("set_config('app.tenant', 'ada', false),"),
    "suffix": select(func.count())
    .select_from(Item)
    .suffix_with("WHERE set_config('app.tenant', 'ada', false) = 'ada'"),
    "text in where": select(Shelf.id).where(text("set_config('app.tenant', 'ada', false) = 'ada'")),
    "text in order": select(Shelf.id).order_by(text("set_config('app.tenant', 'ada', false)")),
    "subquery": select(select(SET).scalar_subquery()),
    "common table": select(select(SET.label("x")).cte().c.x),
    "in an update": update(Shelf).values(label=SET),
    "in an insert": insert(Shelf).values(id="00000000-0000-0000-0000-00000000000a", label=SET),
    "in rows of an insert": insert(Shelf).values([{"id": "00000000-0000-0000-0000-00000000000b", "label": SET}]),
    "from a select": insert(Shelf).from_select(["id", "label"], select(func.gen_random_uuid(), SET)),
    "in a conflict": postgresql.insert(Shelf)
    .values(id="00000000-0000-0000-0000-000000000001", label="x")
    .on_conflict_do_update(index_elements=["id"], set_={"label": SET}),
    "in values": select(values(column("x", String), name="v").data([(SET,)])),
    "operator": select(column("label").op("= set_config('app.tenant', 'ada', false) OR ''=")("")).select_from(Shelf),
    "cast": select(cast(SET, String)),
    "window": select(func.row_number().over(order_by=SET)),
    "function as a table": select(func.set_config("app.tenant", "ada", False).column_valued()),
}


@pytest.fixture
async def app(postgres_url: str) -> AsyncIterator[Quart]:
    """Yield a running service with one connection for writing and one for reading."""
    app = make_app(postgres_url, settings={"database_pool_size": 1})
    async with running(app):
        async with db.transaction() as session:
            session.add(Shelf(id="00000000-0000-0000-0000-000000000001", label="top"))
        yield app


@asynccontextmanager
async def connected(*, reads: bool = False) -> AsyncIterator[AsyncConnection]:
    """Yield a connection of the pool."""
    engines = db.engines()
    async with (engines.read if reads else engines.write).connect() as connection:
        yield connection


async def look(*, reads: bool = False) -> tuple[int, str]:
    """Return the process that serves the only connection, and the state of the session, leaving no trace."""
    async with connected(reads=reads) as connection:
        driver: Any = (await connection.get_raw_connection()).dbapi_connection
        found = await driver.driver_connection.fetchrow(f"SELECT pg_backend_pid(), ({STATE})")
        return found[0], found[1]


@pytest.mark.parametrize("name", CHANGES)
async def test_changes_of_the_session_end_with_its_user(app: Quart, name: str) -> None:
    """Whatever a statement left on a connection that writes is gone before anybody else gets that connection."""
    clean = await look()
    async with db.transaction() as session:
        await session.execute(CHANGES[name])

    assert await look() == clean


@pytest.mark.parametrize("name", ["role by function", "advisory lock", "function", "prefix", "common table"])
async def test_changes_of_a_read_session_end_with_it(app: Quart, name: str) -> None:
    """The same is so on connections that read."""
    clean = await look(reads=True)
    async with db.read() as session:
        await session.execute(CHANGES[name])

    assert await look(reads=True) == clean


async def test_changes_end_after_failures(app: Quart) -> None:
    """The connection is reset as well after a rollback, an aborted transaction, and with SQL that is not compiled."""
    clean = await look()
    for last in ("SELECT 1/0", "SELECT 1", "SELECT * FROM nowhere"):
        with pytest.raises((DBAPIError, ZeroDivisionError)):
            async with db.transaction() as session:
                connection = await session.connection()
                await connection.exec_driver_sql("SELECT pg_advisory_lock(7)")
                await connection.exec_driver_sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
                await session.execute(text(last))
                raise ZeroDivisionError
    assert await look() == clean


async def test_the_driver_itself_is_given_back_to_nobody(app: Quart) -> None:
    """A connection whose driver was used directly is closed: nobody knows its codecs and listeners."""
    before, _ = await look()
    async with db.transaction() as session:
        driver: Any = (await (await session.connection()).get_raw_connection()).driver_connection
        await driver.execute("SET app.tenant = 'ada'")

    after, state = await look()
    assert after != before
    assert "ada" not in state


async def test_a_connection_that_cannot_be_reset_is_closed(app: Quart, postgres_url: str) -> None:
    """If the reset fails, the connection is not handed on."""
    before, _ = await look(reads=True)
    other = create_async_engine(postgres_url)
    async with db.read() as session:
        await session.execute(text("SELECT 1"))
        async with other.connect() as connection:
            await connection.execute(select(func.pg_terminate_backend(before)))
    await other.dispose()

    assert (await look(reads=True))[0] != before
    assert count_checked_out() == 0


async def test_prepared_statements_survive(app: Quart) -> None:
    """A reset keeps what the server has prepared: after it, the same statements run on the same connection."""
    before, _ = await look()
    for _ in range(3):
        async with db.transaction() as session:
            assert (await session.scalars(select(Shelf.label))).all() == ["top"]
            await session.execute(text("SELECT 1"))
    assert (await look())[0] == before


HARMLESS: list[Executable] = [
    select(Shelf),
    select(Shelf).options(selectinload(Shelf.items)).where(Shelf.id.in_(["00000000-0000-0000-0000-000000000001"])),
    select(func.count()).select_from(Item),
    select(func.lower(Shelf.label), func.coalesce(Shelf.label, "x"), func.now(), utc_now()),
    select(aliased(Shelf)).where(exists().where(Item.shelf_id == Shelf.id)),
    select(func.pg_advisory_xact_lock(7)),
    select(Shelf.label.op("||")("x"), Shelf.label.icontains("x"), cast(Shelf.label, String)),
    select(func.row_number().over(order_by=Shelf.label)).limit(2).offset(1),
    select(values(column("x", Integer), name="v").data([(1,), (2,)])),
    insert(Shelf).values([{"id": "00000000-0000-0000-0000-00000000000c", "label": "c"}]),
    update(Shelf).values(label=func.upper(Shelf.label)).returning(Shelf.id),
]


@pytest.mark.parametrize("number", range(len(HARMLESS)))
async def test_ordinary_statements_cost_no_reset(app: Quart, number: int) -> None:
    """Statements of which every part is known leave the connection as it is, so it is not reset."""
    async with connected() as connection:
        await connection.exec_driver_sql("SELECT set_config('app.tenant', 'witness', false)")
        await connection.commit()
        connection.sync_connection.info.clear()  # type: ignore[union-attr]  # it is connected
    async with db.transaction() as session:
        await session.execute(HARMLESS[number])

    assert "witness" in (await look())[1]


NOT_READ = [
    "SET app.tenant = 'ada'",
    "DO $$ BEGIN COMMIT; SET TRANSACTION READ WRITE; DELETE FROM shelf; COMMIT; END $$",
    "BEGIN READ WRITE",
    "/* SELECT */ -- SELECT\n START TRANSACTION READ WRITE",
    "PREPARE mine AS SELECT 1",
    "LISTEN mine",
    "CALL nothing()",
    "LOCK TABLE shelf",
    "DISCARD PLANS",
]


@pytest.mark.parametrize("mode", ["read", "snapshot", "replica"])
async def test_text_that_is_not_a_read_is_refused(app: Quart, mode: str) -> None:
    """On a session that reads the server is asked what a text is, before it runs: what returns no rows is refused."""
    async with db.transaction() as session:
        await session.execute(text("CREATE PROCEDURE nothing() LANGUAGE sql AS 'DELETE FROM shelf'"))
    for statement in NOT_READ:
        for _ in range(2):  # the second time from memory
            with pytest.raises(WriteOnReadSession, match=r"return rows.*db\.transaction"):
                async with db.read(mode=mode) as session:  # type: ignore[arg-type]  # a parameter of the test
                    await session.execute(text(statement))
    async with db.read(mode=mode) as session:  # type: ignore[arg-type]  # a parameter of the test
        for statement in (
            "SHOW search_path",
            "EXPLAIN SELECT 1",
            "VALUES (1)",
            "TABLE shelf",
            "WITH x AS (SELECT 1) TABLE x",
        ):
            assert (await session.execute(text(statement))).all()
        assert (await session.execute(text("SELECT label FROM shelf WHERE label = :label"), {"label": "top"})).all()
        with pytest.raises(DBAPIError):
            await session.execute(text("no SQL at all"))
