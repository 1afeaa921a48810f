"""Variables: who a session works for, and that policies hold."""

import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, make_url, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from ligand_async import Database, Forbidden, Principal
from ligand_async.data import SessionMisused
from ligand_async.settings import SettingsError
from tests.data.statements import captured
from tests.database_proxies import proxied
from tests.servers import free_port
from tests.services import db as shop
from tests.services import make_app, running
from tests.tenants import ROLE, Base, Note, db, make_tenants, prepare, variables_of

COUNT = select(func.count()).select_from(Note)
ADA, BOB = {"app.tenant": "ada"}, {"app.tenant": "bob"}


async def test_explicit_variables_take_the_place_of_the_callers(postgres_url: str) -> None:
    """`variables=` of `read()` and `transaction()` says for whom; without a caller and without them it is nobody."""
    app = make_tenants(await prepare(postgres_url), database_pool_size=1)
    async with app.test_app(), app.app_context():
        for mode in ("read", "snapshot", "replica"):
            for values, count in ((ADA, 3), (None, 0), (BOB, 2), ({}, 0), (ADA, 3), ({"app.tenant": ""}, 0)):
                async with db.read(mode=mode, variables=values) as session:
                    assert await session.scalar(COUNT) == count
                async with db.transaction(variables=values) as session:
                    assert await session.scalar(COUNT) == count


async def test_reads_stay_reads(postgres_url: str) -> None:
    """A read with variables is in no transaction, and sets them only where its connection has others."""
    app = make_tenants(await prepare(postgres_url), database_pool_size=1)
    async with app.test_app(), app.app_context():
        sent: list[list[str]] = []
        for values in (ADA, ADA, BOB, {}, {}, ADA):
            async with db.read(variables=values) as session:
                with captured(session) as statements:
                    await session.scalar(COUNT)
                    await session.scalar(COUNT)
                sent.append([statement.partition("(")[0] for statement in statements])
                driver: Any = (await (await session.connection()).get_raw_connection()).dbapi_connection
                assert not driver.driver_connection.is_in_transaction()

    setting, counting = "SELECT set_config", "SELECT count"
    changed, kept = [setting, counting, counting], [counting, counting]
    assert sent == [changed, kept, changed, changed, kept, changed]


async def test_a_stream_has_the_variables_of_its_session(postgres_url: str) -> None:
    """The transaction that a stream begins on a session that reads is for the same tenant."""
    app = make_tenants(await prepare(postgres_url), database_pool_size=1)
    async with app.test_app(), app.app_context():
        async with db.read(variables=BOB) as session:
            assert await session.scalar(COUNT) == 2
            assert len(await (await session.stream(select(Note))).all()) == 2
            assert await session.scalar(COUNT) == 2
        async with db.read() as session:
            assert await session.scalar(COUNT) == 0


async def test_a_connection_without_a_session_has_them_too(postgres_url: str) -> None:
    """A connection taken from the engine itself works for the caller: outside a request for nobody."""
    app = make_tenants(await prepare(postgres_url), database_pool_size=1)
    async with app.test_app(), app.app_context():
        async with db.read(variables=ADA) as session:
            assert await session.scalar(COUNT) == 3
        async with db.engines().read.connect() as connection:
            assert await connection.scalar(COUNT) == 0


async def test_names_that_the_next_one_does_not_set_are_emptied(postgres_url: str) -> None:
    """A variable is not left on a connection for one who has no such variable."""
    app = make_tenants(await prepare(postgres_url), database_pool_size=1)
    show = text("SELECT current_setting('app.tenant', true), current_setting('app.region', true)")
    async with app.test_app(), app.app_context():
        for mode in ("read", "snapshot"):
            async with db.read(variables=ADA | {"app.region": "eu"}) as session:
                assert (await session.execute(select(text("current_setting('app.region')")))).scalar() == "eu"
            async with db.read(mode=mode, variables=BOB) as session:
                tenant, region = (await session.execute(show)).one()
                assert (tenant, region or "") == ("bob", "")


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"role": "postgres"}, ValueError, "'role' cannot be a variable"),
        ({"app.Tenant": "ada"}, ValueError, "names are in lower case and have a dot"),
        ({"app.tenant', 'x": "ada"}, ValueError, "cannot be a variable"),
        ({"app.": "ada"}, ValueError, "cannot be a variable"),
        ({1: "ada"}, ValueError, "1 cannot be a variable"),
        ({"app.tenant": 7}, TypeError, "app.tenant is text, not int"),
        ({"app.tenant": None}, TypeError, "app.tenant is text, not NoneType"),
        ({"app.tenant": "a\0b"}, ValueError, "app.tenant has a NUL"),
        (None, TypeError, "a mapping of names to text, not NoneType"),
        ("app.tenant", TypeError, "a mapping of names to text, not str"),
    ],
)
async def test_values_are_checked(postgres_url: str, values: Any, error: type[Exception], words: str) -> None:
    """What cannot be a variable is refused by name before anything is sent; its value is in no error."""
    database = Database(Base, variables=lambda _: values)
    app = make_tenants(await prepare(postgres_url), database=database)
    async with app.test_app(), app.app_context():
        with pytest.raises(error, match=words) as caught:
            async with database.read() as session:
                await session.scalar(COUNT)
        assert "ada" not in str(caught.value).replace("app.tenant', 'x", "")
        if values is not None:
            with pytest.raises(error, match=words):
                async with database.transaction(variables=values):
                    pass


@pytest.mark.parametrize("value", ["one' OR ''='", "$1", "ünï", "x" * 10_000, "a\nb", "\\'"])
async def test_values_are_sent_as_they_are(postgres_url: str, value: str) -> None:
    """A value is a parameter and not SQL."""
    app = make_tenants(await prepare(postgres_url))
    async with app.test_app(), app.app_context():
        for values in ({"app.tenant": value}, {"app.tenant": value, "app.region": "eu"}):
            async with db.read(variables=values) as session:
                assert await session.scalar(text("SELECT current_setting('app.tenant')")) == value
            async with db.transaction(variables=values) as session:
                assert await session.scalar(text("SELECT current_setting('app.tenant')")) == value


async def test_the_health_check_works_for_nobody(postgres_url: str) -> None:
    """Readiness does not depend on a caller, so the function is not asked."""

    def refuse(_principal: Principal | None) -> Mapping[str, str]:
        raise Forbidden

    database = Database(Base, variables=refuse)
    app = make_tenants(await prepare(postgres_url), database=database)
    async with app.test_app(), app.app_context():
        assert (await app.test_client().get("/readyz")).status_code == 200


def test_the_function_is_a_plain_one() -> None:
    """A coroutine function is refused when the database is made: a unit could not wait for it."""

    async def variables(principal: Principal | None) -> Mapping[str, str]:
        return {}

    for wrong in (variables, {"app.tenant": "ada"}):
        with pytest.raises(TypeError, match="variables= takes a function"):
            Database(Base, variables=wrong)  # type: ignore[arg-type]  # the mistake


async def test_variables_of_a_session_need_those_of_the_database(database_url: str) -> None:
    """Without `Database(variables=…)` nobody has checked that policies hold, so single ones are refused."""
    async with running(make_app(database_url)):
        with pytest.raises(RuntimeError, match=r"variables= needs Database\(Base, variables=…\)"):
            async with shop.read(variables=ADA):
                pass
        with pytest.raises(RuntimeError, match=r"variables= needs Database\(Base, variables=…\)"):
            async with shop.transaction(variables=ADA):
                pass


# -- who is refused


async def start(url: str, **settings: Any) -> None:
    """Start and stop the service."""
    app = make_tenants(url, **settings)
    await app.startup()
    await app.shutdown()


async def execute(url: str, *statements: str) -> None:
    """Execute statements as the superuser."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)
    await engine.dispose()


async def test_a_superuser_is_refused(postgres_url: str) -> None:
    """No policy holds for a superuser, so the app does not start as one, and the error has the remedy."""
    await prepare(postgres_url)
    with pytest.raises(SettingsError, match=r"postgres is a superuser. Remedy: .*NOSUPERUSER NOBYPASSRLS"):
        await start(postgres_url)


async def test_a_role_that_bypasses_is_refused(postgres_url: str) -> None:
    """Neither does one hold for a role with BYPASSRLS."""
    url = make_url(await prepare(postgres_url))
    await execute(postgres_url, "CREATE ROLE ligand_bypassing LOGIN BYPASSRLS PASSWORD 'tenant'")
    try:
        with pytest.raises(SettingsError, match="ligand_bypassing is BYPASSRLS"):
            await start(url.set(username="ligand_bypassing").render_as_string(hide_password=False))
    finally:
        await execute(postgres_url, "DROP ROLE ligand_bypassing")


async def test_an_owner_is_refused_without_force(postgres_url: str) -> None:
    """The owner of a table passes its policies, and so does a member of the owner, unless FORCE is set."""
    url = await prepare(postgres_url)
    await execute(postgres_url, f"ALTER TABLE note OWNER TO {ROLE}")
    with pytest.raises(SettingsError, match=rf"{ROLE} owns note. Remedy: ALTER TABLE note FORCE ROW LEVEL SECURITY"):
        await start(url)
    await execute(
        postgres_url, "CREATE ROLE ligand_owners", "ALTER TABLE note OWNER TO ligand_owners",
        f"GRANT ligand_owners TO {ROLE}",
    )  # fmt: skip
    try:
        with pytest.raises(SettingsError, match="owns note"):
            await start(url)
        await execute(postgres_url, "ALTER TABLE note FORCE ROW LEVEL SECURITY")
        await start(url)
    finally:
        await execute(postgres_url, "DROP OWNED BY ligand_owners", "DROP ROLE ligand_owners")


async def test_a_replica_is_looked_at_too(postgres_url: str) -> None:
    """The role of every database is looked at."""
    url = await prepare(postgres_url)
    with pytest.raises(SettingsError, match="postgres is a superuser"):
        await start(url, database_replica_urls=(postgres_url,))


@pytest.mark.extended
async def test_who_cannot_be_looked_at_is_looked_at_later(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A service starts while its database is away; each connection is looked at before anything runs on it."""
    await prepare(postgres_url)
    nowhere = f"postgresql://{ROLE}@127.0.0.1:{free_port()}/nothing"
    with caplog.at_level(logging.WARNING):
        await start(nowhere)
    assert "could not be reached at the start: DatabaseUnreachable" in caplog.text

    async with proxied(postgres_url) as proxy:
        app = make_tenants(proxy.url, database_connect_timeout=1.5)
        proxy.silent = True
        async with app.test_app(), app.app_context():
            proxy.silent = False
            with pytest.raises(SettingsError, match="postgres is a superuser"):
                async with db.read() as session:
                    await session.scalar(COUNT)


@pytest.mark.ligand_database("sqlite")
async def test_sqlite_is_refused_unless_said(sqlite_url: str) -> None:
    """SQLite has no policies: the app refuses to start there, unless the database says that it does without."""
    with pytest.raises(SettingsError, match=r"SQLite has no policies.*ignore_variables_on_sqlite=True"):
        await start(sqlite_url)

    called: list[Principal | None] = []

    def note(principal: Principal | None) -> Mapping[str, str]:
        called.append(principal)
        return variables_of(principal)

    database = Database(Base, variables=note, ignore_variables_on_sqlite=True)
    app = make_tenants(sqlite_url, database=database)
    async with app.test_app(), app.app_context():
        await database.create_tables()
        async with database.transaction() as session:
            session.add(Note(id=UUID(int=1), tenant="ada", words="hello"))
        async with database.read(variables=BOB) as session:
            assert await session.scalar(COUNT) == 1
        assert called
        with pytest.raises(SessionMisused, match="SQLite has one writer"):
            async with database.transaction() as outer:
                await outer.scalar(COUNT)
                async with database.transaction(variables=BOB) as inner:
                    await inner.scalar(COUNT)
