"""Engines: one that writes, one that reads, those of the replicas; database URLs; what read sessions refuse."""

import asyncio
import logging
import time
from pathlib import Path

import pytest
from quart import Quart
from sqlalchemy import NullPool, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import Settings
from ligand_async.data import WriteOnReadSession, parse_database_url
from ligand_async.settings import SettingsError
from ligand_async.testing import PostgresServer
from tests.database_proxies import proxied
from tests.services import Item, Shelf, db, make_app, running

DATABASE = text("SELECT current_database()")


async def show(session: AsyncSession, name: str) -> str:
    """Return a setting of a PostgreSQL session."""
    return str(await session.scalar(text(f"SELECT current_setting('{name}')")))


async def test_server_holds_read_connections_read_only(postgres_url: str) -> None:
    """On PostgreSQL the server itself refuses writes on connections that read, and bounds every statement."""
    app = make_app(postgres_url, settings={"database_statement_timeout": 7.5})
    async with running(app):
        async with db.read() as session:
            assert await show(session, "default_transaction_read_only") == "on"
            assert await show(session, "statement_timeout") == "7500ms"
            assert await show(session, "application_name") == "ligand_async"
            assert await show(session, "TimeZone") == "UTC"
        async with db.transaction() as session:
            assert await show(session, "default_transaction_read_only") == "off"
            assert await show(session, "statement_timeout") == "7500ms"


async def test_snapshot_is_one_moment_to_the_server(postgres_url: str) -> None:
    """A snapshot is REPEATABLE READ, READ ONLY, and the next read on its connection is not."""
    app = make_app(postgres_url, settings={"database_pool_size": 1})
    async with running(app):
        async with db.read(mode="snapshot") as session:
            assert await show(session, "transaction_isolation") == "repeatable read"
            assert await show(session, "transaction_read_only") == "on"
        async with db.read() as session:
            assert await show(session, "transaction_isolation") == "read committed"


async def test_hidden_change_of_the_session_is_found_out(postgres_url: str) -> None:
    """A function that turns a read session into a writer is refused, and its connection is used by nobody again."""
    app = make_app(postgres_url, settings={"database_pool_size": 1})
    async with running(app):
        async with db.transaction() as session:
            await session.execute(
                text(
                    "CREATE FUNCTION open_up() RETURNS text LANGUAGE plpgsql AS "
                    "$$ BEGIN RETURN set_config('default_transaction_read_only', 'off', false); END $$"
                )
            )
            session.add(Item(name="cup"))
        with pytest.raises(WriteOnReadSession, match="made a read session writable"):
            async with db.read() as session:
                await session.execute(text("SELECT open_up()"))
        with pytest.raises(WriteOnReadSession):
            async with db.read() as session:
                await session.execute(text("DELETE FROM item"))
        async with db.read() as session:
            assert await session.scalar(select(Item.name)) == "cup"


@pytest.mark.parametrize("mode", ["read", "snapshot", "replica"])
@pytest.mark.parametrize("statement", ["DELETE FROM item", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"])
async def test_pooler_mode_reads_in_read_only_transactions(postgres_url: str, mode: str, statement: str) -> None:
    """Where connections keep no state, each read is a READ ONLY transaction that the server refuses to write in."""
    app = make_app(postgres_url, settings={"database_pooler": "transaction"})
    async with running(app):
        async with db.read(mode=mode) as session:  # type: ignore[arg-type]  # a parameter of the test
            assert await show(session, "transaction_read_only") == "on"
            assert await show(session, "default_transaction_read_only") == "off"
            expected = "repeatable read" if mode == "snapshot" else "read committed"
            assert await show(session, "transaction_isolation") == expected
        with pytest.raises(WriteOnReadSession):
            async with db.read(mode=mode) as session:  # type: ignore[arg-type]  # a parameter of the test
                await session.execute(text(statement))


async def test_pooler_mode_writes(postgres_url: str) -> None:
    """In pooler mode, too, a transaction commits and a read sees it."""
    app = make_app(postgres_url, settings={"database_pooler": "transaction"})
    async with running(app):
        async with db.transaction() as session:
            session.add(Item(name="cup"))
        async with db.read() as session:
            assert await session.scalar(select(Item.name)) == "cup"


async def test_replicas_take_turns(postgres_server: PostgresServer, postgres_url: str) -> None:
    """Reads that ask for a replica go round the replicas; plain reads and writes stay on the primary."""
    urls = [postgres_server.create_database() for _ in range(2)]
    app = make_app(postgres_url, settings={"database_replica_urls": tuple(urls)})
    try:
        async with app.test_app(), app.app_context():
            met = []
            for _ in range(4):
                async with db.read(mode="replica") as session:
                    met.append(await session.scalar(DATABASE))
            async with db.read() as session, db.transaction() as writer:
                primary = {await session.scalar(DATABASE), await writer.scalar(DATABASE)}
    finally:
        for url in urls:
            postgres_server.drop_database(url)

    assert [url.rpartition("/")[2].partition("?")[0] for url in urls] * 2 == met
    assert primary == {postgres_url.rpartition("/")[2].partition("?")[0]}


async def test_without_replicas_the_primary_serves(database_url: str) -> None:
    """An operation may ask for a replica before there is one."""
    app = make_app(database_url)
    async with running(app):
        async with db.transaction() as session:
            session.add(Item(name="cup"))
        async with db.read(mode="replica") as session:
            assert await session.scalar(select(Item.name)) == "cup"


async def test_migrations_go_past_the_pooler(postgres_server: PostgresServer, postgres_url: str) -> None:
    """With a direct URL, migrations use it: unpooled, writing, with prepared statements as usual."""
    direct = postgres_server.create_database()
    settings = Settings.load(
        "testing", database_url=postgres_url, database_direct_url=direct, database_pooler="transaction"
    )
    engine = db.migration_engine(settings)
    try:
        assert isinstance(engine.pool, NullPool)
        async with engine.begin() as connection:
            name = await connection.scalar(DATABASE)
            assert await connection.scalar(text("SHOW default_transaction_read_only")) == "off"
            assert await connection.scalar(text("SHOW statement_timeout")) == "15s"
    finally:
        await engine.dispose()
        postgres_server.drop_database(direct)

    assert direct.rpartition("/")[2].startswith(str(name))


async def test_migrations_use_the_main_url_otherwise(database_url: str) -> None:
    """Without a direct URL there is only one."""
    engine = db.migration_engine(Settings.load("testing", database_url=database_url))
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE made (id INTEGER)"))
    await engine.dispose()

    assert isinstance(engine.pool, NullPool)


async def test_pragmas_of_sqlite(sqlite_url: str) -> None:
    """SQLite keeps foreign keys, lets readers read beside the writer, waits for locks; its readers cannot write."""
    app = make_app(sqlite_url, settings={"database_connect_timeout": 3.0})
    names = ("journal_mode", "foreign_keys", "busy_timeout", "query_only")
    async with running(app):
        async with db.transaction() as session:
            writer = [await session.scalar(text(f"SELECT * FROM pragma_{name}")) for name in names]
        async with db.read() as session:
            reader = [await session.scalar(text(f"SELECT * FROM pragma_{name}")) for name in names]

    assert writer == ["wal", 1, 3000, 0]
    assert reader == ["wal", 1, 3000, 1]


@pytest.mark.ligand_database("sqlite")
async def test_reader_does_not_wait_for_the_writer(database_url: str) -> None:
    """A read beside an open SQLite transaction sees what was committed before, at once."""
    async with running(make_app(database_url)), db.transaction() as session:
        session.add(Item(name="cup"))
        await session.flush()
        async with asyncio.timeout(1), db.read() as reader:
            assert await reader.scalar(select(Item.name)) is None


async def test_schema_can_be_inspected_on_a_read_session(database_url: str) -> None:
    """Reflection reads: it is not mistaken for a change of the session."""
    async with running(make_app(database_url)), db.read() as session:
        connection = await session.connection()
        columns = await connection.run_sync(lambda sync: inspect(sync).get_columns("shelf"))

    assert [column["name"] for column in columns] == ["id", "label"]


async def test_engines_live_from_start_to_stop(database_url: str) -> None:
    """Before the start and after the stop there is no engine, and the error says which app and what to do."""
    app = make_app(database_url)
    closed = r"the database of app 'tests\.services' is not open.*app\.test_app\(\).*app\.running\(\)"
    async with app.app_context():
        with pytest.raises(RuntimeError, match=closed):
            db.engines()
        await app.startup()
        async with db.read() as session:
            assert await session.scalar(text("SELECT 1")) == 1
        await app.shutdown()
        with pytest.raises(RuntimeError, match=closed):
            async with db.read():
                pass


async def test_app_must_know_the_database() -> None:
    """Starting a database for an app that was not given it says what was forgotten."""
    with pytest.raises(
        RuntimeError, match=r"app 'stranger' does not use this database; pass it to create_app\(database=…\)"
    ):
        await db.start(Quart("stranger"))


async def test_two_apps_in_one_process_share_nothing(sqlite_url: str, tmp_path: Path) -> None:
    """One `Database` in two apps is two sets of engines: each app sees its own rows, and one may stop alone."""
    first, second = make_app(sqlite_url), make_app(f"sqlite:///{tmp_path / 'second.db'}")
    async with second.test_app():
        async with running(first):
            async with db.transaction() as session:
                session.add(Item(name="cup"))
            engines = db.engines()
        async with second.app_context():
            await db.create_tables()
            assert db.engines() is not engines
            async with db.read() as session:
                assert (await session.scalars(select(Item))).all() == []


async def test_stop_is_bounded(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that swallows every byte cannot keep an app from stopping: all engines are given up together."""
    monkeypatch.setattr("ligand_async.data.engines.DISPOSE_TIMEOUT", 0.5)
    async with proxied(postgres_url) as proxy:
        app = make_app(proxy.url)
        await app.startup()
        async with app.app_context(), db.read() as one, db.read() as two, db.transaction() as three:
            for session in (one, two, three):
                await session.execute(text("SELECT 1"))
        proxy.silent = True
        began = time.monotonic()
        await app.shutdown()

    assert time.monotonic() - began < 0.9


async def test_stop_closes_connections(postgres_url: str) -> None:
    """Nothing stays connected after the stop."""
    app = make_app(postgres_url)
    async with running(app), db.read() as session, db.transaction() as writer:
        await writer.execute(text("SELECT 1"))
        await session.execute(text("SELECT 1"))
    watcher = make_app(postgres_url)
    async with running(watcher, tables=False), db.read() as session:
        others = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        )
        for _ in range(50):
            if await session.scalar(others) == 0:
                break
            await asyncio.sleep(0.02)
        assert await session.scalar(others) == 0


async def test_tables_are_made_once(database_url: str) -> None:
    """`create_tables` makes what is missing and leaves the rest."""
    async with running(make_app(database_url)):
        async with db.transaction() as session:
            session.add(Shelf(label="top"))
        await db.create_tables()
        async with db.read() as session:
            assert await session.scalar(select(Shelf.label)) == "top"


@pytest.mark.parametrize(
    ("written", "driver"),
    [
        ("postgres://user@host/pets", "postgresql+asyncpg"),
        ("postgresql://user@host/pets", "postgresql+asyncpg"),
        ("postgresql+asyncpg://user@host/pets", "postgresql+asyncpg"),
        ("sqlite:///pets.db", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:////var/lib/pets.db", "sqlite+aiosqlite"),
    ],
)
def test_driver_is_filled_in(written: str, driver: str) -> None:
    """Whatever form a hosting platform hands out, the driver is the asyncio one."""
    assert parse_database_url(written).drivername == driver


def test_the_rest_of_the_url_stays() -> None:
    """User, password, host, port, name and options are left as they are."""
    url = parse_database_url("postgres://us%40er:p%2Fw@host:6432/pets?ssl=require")

    assert url.render_as_string(hide_password=False) == (
        "postgresql+asyncpg://us%40er:p%2Fw@host:6432/pets?ssl=require"
    )


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite+aiosqlite://",
        "sqlite:///file::memory:?cache=shared&uri=true",
        "sqlite:///file:pets?mode=memory&uri=true",
    ],
)
def test_in_memory_databases_are_refused(url: str) -> None:
    """A database per connection would lose what was written: the error says to name a file."""
    with pytest.raises(SettingsError, match="in-memory SQLite is a database per connection; name a file"):
        parse_database_url(url)


def test_create_app_refuses_an_in_memory_database() -> None:
    """The mistake shows when the app is made, not at the first request."""
    with pytest.raises(SettingsError, match="memory"):
        make_app("sqlite+aiosqlite:///:memory:")


@pytest.mark.parametrize("url", ["mysql://secret@host/pets", "postgresql+psycopg2://secret@host/pets"])
def test_other_drivers_are_refused_by_name(url: str) -> None:
    """The error names the driver and those that would do, and none of the rest."""
    with pytest.raises(SettingsError, match=r"(mysql|psycopg2).*runs on postgresql\+asyncpg") as caught:
        parse_database_url(url)
    assert "secret" not in str(caught.value)


def test_what_is_no_url_is_not_repeated() -> None:
    """The text of a URL that cannot be read may be a password: it is in no error, nor in what that was raised from."""
    with pytest.raises(SettingsError, match="cannot be read") as caught:
        parse_database_url("secret")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
async def test_plain_urls_work_end_to_end(postgres_url: str, scheme: str) -> None:
    """A service runs on a URL without a driver, as platforms hand them out."""
    app = make_app(postgres_url.replace("postgresql+asyncpg", scheme))
    async with running(app, tables=False), db.read() as session:
        assert await session.scalar(text("SELECT 1")) == 1


async def test_a_stop_says_nothing_of_pools(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """SQLAlchemy's lines about its pools are not among ours at INFO."""
    caplog.set_level(logging.INFO, "ligand_async")
    async with running(make_app(postgres_url)), db.read() as session:
        await session.execute(text("SELECT 1"))

    assert [record for record in caplog.records if "ool" in record.name] == []
