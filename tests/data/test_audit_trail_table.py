"""What the database itself refuses to be done to the trail, and what takes that down."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import indent

import pytest
from quart import Quart
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ligand_async import AuditTrail, Database, Model
from ligand_async.data.audit import trail
from ligand_async.data.migrations import autogenerate, check, create_directory, downgrade, upgrade, write_sql
from tests.data.bank import Seat, audit, db, events, make_bank, told
from tests.data.bank import running_bank as running
from tests.data.migration_files import fetch, schema_of, settings_for

ATTACKS = ["UPDATE audit_event SET subject = 'eve'", "DELETE FROM audit_event"]
ON_POSTGRESQL = ["TRUNCATE audit_event", "DELETE FROM ONLY audit_event"]
SOON = timedelta(minutes=5)
GUIDES = Path(__file__).parents[2] / "docs"
NO_ID = "0" * 32


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started service with three events, in whose context the test runs."""
    app = make_bank(database_url)
    async with running(app):
        async with db.transaction() as session:
            session.add_all([Seat(row="a", number=number) for number in range(3)])
        yield app


def attacks_on(url: str) -> list[str]:
    return ATTACKS if url.startswith("sqlite") else ATTACKS + ON_POSTGRESQL


async def test_events_are_not_changed_or_deleted(app: Quart, database_url: str) -> None:
    """Whoever reaches the database without the service is refused by the database."""
    for attack in attacks_on(database_url):
        with pytest.raises(DBAPIError, match="not changed or deleted"):
            await fetch(database_url, attack)

    assert len(await events()) == 3


async def test_old_events_can_be_pruned(app: Quart, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pruning deletes a bounded number, says how many, leaves an event, and the table as protected as before."""
    monkeypatch.setattr(trail, "PRUNED_AT_ONCE", 2)
    before = datetime.now(UTC) + SOON
    counts = []
    async with db.read() as session:
        counts.append(await audit.count_before(session, before))
    for _ in range(2):
        async with db.transaction() as session:
            counts.append(await audit.prune(session, before))

    assert counts == [3, 2, 2]  # the event of the first pruning was old enough for the second
    (left,) = await events()
    assert (left.action, left.entity, left.new) == ("prune", None, {"before": before.isoformat(), "count": 2})
    with pytest.raises(DBAPIError, match="not changed or deleted"):
        await fetch(database_url, "DELETE FROM audit_event")


async def test_pruning_spares_what_is_younger(app: Quart) -> None:
    """Events since the moment stay, and where none are older there is no event of pruning."""
    moment = min(event.at for event in await events())
    async with db.transaction() as session:
        assert await audit.prune(session, moment) == 0

    assert await told() == [("insert", "Seat")] * 3


async def test_pruning_that_is_rolled_back_prunes_nothing(app: Quart, database_url: str) -> None:
    """Neither events nor triggers are lost where the transaction fails."""
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as session:
            await audit.prune(session, datetime.now(UTC) + SOON)
            raise ZeroDivisionError

    assert len(await events()) == 3
    with pytest.raises(DBAPIError, match="not changed or deleted"):
        await fetch(database_url, "DELETE FROM audit_event")


@pytest.mark.ligand_database("postgresql")
async def test_permission_to_prune_ends_with_the_statement(app: Quart) -> None:
    """What comes after pruning in the same transaction is refused again."""
    with pytest.raises(DBAPIError, match="not changed or deleted"):
        async with db.transaction() as session:
            await audit.prune(session, datetime(2020, 1, 1, tzinfo=UTC))
            await session.execute(text("DELETE FROM audit_event"), execution_options={"ligand_audit": True})


async def test_generated_migrations_protect_the_table(database_url: str, tmp_path: Path) -> None:
    """`ligand db migrate` writes the triggers with the table, `check` is content, and down leaves nothing."""

    class Base(Model, DeclarativeBase):
        """The tables."""

    class Thing(Base):
        """A row."""

        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)

    database, settings = Database(Base, audit=AuditTrail()), settings_for(database_url)
    directory = create_directory(tmp_path / "migrations")
    empty = await everything_in(database_url)
    written = await autogenerate(database, settings, directory, "everything")
    await upgrade(database, settings, directory)

    assert written is not None
    assert written.read_text().count("protect_audit_table") == 2  # of which one is unprotect_audit_table
    findings = await check(database, settings, directory)
    assert (findings.pending, findings.drift) == ((), ())
    await fetch(database_url, "INSERT INTO audit_event (at, id, action) VALUES ('2026-01-01', '" + NO_ID + "', 'x')")
    for attack in attacks_on(database_url):
        with pytest.raises(DBAPIError, match="not changed or deleted"):
            await fetch(database_url, attack)

    await downgrade(database, settings, directory, "base")
    assert await everything_in(database_url) == empty


@pytest.mark.ligand_database("postgresql")
async def test_table_can_be_parted_by_time(database_url: str, tmp_path: Path) -> None:
    """With what the guide adds to a generated migration, events go where they belong, protected as before."""

    class Base(Model, DeclarativeBase):
        """The tables."""

    database, settings = Database(Base, audit=AuditTrail()), settings_for(database_url)
    directory = create_directory(tmp_path / "migrations")
    written = await autogenerate(database, settings, directory, "everything")
    assert written is not None
    (block,) = re.findall(r"```py\n(.*?)```", (GUIDES / "audit.md").read_text(), re.DOTALL)
    head, _, rest = block.partition("\n")
    partitions = indent(rest, "    ")
    option = head.partition("..., ")[2]
    source = written.read_text()
    source = source.replace("name=op.f('pk_audit_event'))", f"name=op.f('pk_audit_event')), {option[:-1]}", 1)
    written.write_text(source.replace("    op.protect_audit_table", f"{partitions}    op.protect_audit_table", 1))

    await upgrade(database, settings, directory)

    assert (await check(database, settings, directory)).drift == ()
    for year in ("2026", "2031"):
        await fetch(database_url, f"INSERT INTO audit_event (at, id, action) VALUES ('{year}-06-01', '{NO_ID}', 'x')")
    assert len(await fetch(database_url, "SELECT * FROM audit_event_2026")) == 1
    await fetch(
        database_url,
        "CREATE TABLE audit_event_2027 PARTITION OF audit_event FOR VALUES FROM ('2027-01-01') TO ('2028-01-01') "
        "PARTITION BY RANGE (at)",
    )
    await fetch(database_url, "CREATE TABLE audit_event_deep PARTITION OF audit_event_2027 DEFAULT")
    await fetch(database_url, "CREATE TABLE audit_event_old (LIKE audit_event INCLUDING ALL)")
    await fetch(
        database_url,
        "ALTER TABLE audit_event ATTACH PARTITION audit_event_old FOR VALUES FROM ('2001-01-01') TO ('2002-01-01')",
    )
    for attack in (
        *ATTACKS,
        *ON_POSTGRESQL[:1],
        "TRUNCATE audit_event_2026",
        "TRUNCATE audit_event_later",
        "TRUNCATE audit_event_2027",
        "TRUNCATE audit_event_deep",
        "TRUNCATE audit_event_old",
        "DELETE FROM audit_event_2026",
        "UPDATE audit_event_later SET key = 'k'",
    ):
        with pytest.raises(DBAPIError, match="not changed or deleted"):
            await fetch(database_url, attack)
    await fetch(database_url, "DROP TABLE audit_event_2026")
    assert len(await fetch(database_url, "SELECT * FROM audit_event")) == 1


async def test_turning_the_trail_off_drops_what_protects_it(database_url: str, tmp_path: Path) -> None:
    """A migration that is generated when the trail is gone drops the table with its triggers, and down makes them."""

    class Base(Model, DeclarativeBase):
        """The tables."""

    class Bare(Model, DeclarativeBase):
        """No tables."""

    database, settings = Database(Base, audit=AuditTrail()), settings_for(database_url)
    directory = create_directory(tmp_path / "migrations")
    empty = await everything_in(database_url)
    await autogenerate(database, settings, directory, "on")
    await upgrade(database, settings, directory)
    full = await everything_in(database_url)
    await autogenerate(Database(Bare), settings, directory, "off")

    await upgrade(Database(Bare), settings, directory)
    assert await everything_in(database_url) == empty
    await downgrade(database, settings, directory)
    assert set(await everything_in(database_url)) == set(full)


async def test_sql_for_postgresql_holds_the_triggers(sqlite_url: str, tmp_path: Path) -> None:
    """Whoever runs migrations as SQL gets them, too."""

    class Base(Model, DeclarativeBase):
        """The tables."""

    database, settings = Database(Base, audit=AuditTrail()), settings_for(sqlite_url)
    directory = create_directory(tmp_path / "migrations")
    await autogenerate(database, settings, directory, "everything")

    sql = await write_sql(database, settings_for("postgresql://127.0.0.1:1/none"), directory, "head")

    assert sql.count("\nCREATE TRIGGER") == 2
    assert "BEFORE TRUNCATE" in sql


async def everything_in(url: str) -> list[str]:
    """Return the names of all that a migration may have left, functions and triggers too."""
    found = [str(row[:2]) for rows in (await schema_of(url)).values() for row in rows]
    if not url.startswith("sqlite"):
        functions = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        triggers = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
        found += [str(row) for query in (functions, triggers) for row in await fetch(url, query)]
    return sorted(found)
