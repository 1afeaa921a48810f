"""For tests of migrations: files to run, and what a database's schema is afterwards."""

import textwrap
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.dialects.postgresql.base import PGInspector
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import DeclarativeBase

from ligand_async import Database, Model, Settings

POSTGRESQL_SCHEMA = {
    "columns": """
        SELECT table_name, column_name, udt_name, character_maximum_length, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public'""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace""",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "relations": "SELECT relname, relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace",
    "types": """
        SELECT typname, string_agg(enumlabel, ',' ORDER BY enumsortorder)
        FROM pg_type JOIN pg_enum ON enumtypid = pg_type.oid GROUP BY typname""",
}
SQLITE_SCHEMA = {"objects": "SELECT type, name, tbl_name, sql FROM sqlite_master"}

Schema = dict[str, list[tuple[Any, ...]]]


def settings_for(url: str, **more: Any) -> Settings:
    """Return settings for a database whose migrations do not wait for long."""
    return Settings.load("testing", database_url=url, **({"database_lock_timeout": 0.3} | more))


def make_base() -> type[DeclarativeBase]:
    """Return a declarative base of its own, for models that differ between two steps of one test."""

    class Base(Model, DeclarativeBase):
        """The tables of one step."""

    return Base


EMPTY = Database(make_base())


def write_migration(
    directory: Path, name: str, *, up: str = "pass", down: str = "pass", after: str | None = None
) -> None:
    """Write a migration by hand; its name is its revision."""
    bodies = {
        verb: textwrap.indent(textwrap.dedent(body).strip(), "    ") for verb, body in {"up": up, "down": down}.items()
    }
    (directory / "versions" / f"{name}.py").write_text(
        f'"""Do {name}."""\n\n'
        "import sqlalchemy as sa\nfrom alembic import op\n\n"
        f"revision = {name!r}\ndown_revision = {after!r}\n\n\n"
        f"def upgrade():\n{bodies['up']}\n\n\ndef downgrade():\n{bodies['down']}\n"
    )


def create_table(name: str, *columns: str) -> str:
    """Return the code that creates a table with an integer `id` and some columns, for `write_migration`."""
    return f"op.create_table({name!r}, sa.Column('id', sa.Integer, primary_key=True), {', '.join(columns)})"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncConnection]:
    """Yield a connection of its own, as another program would have it."""
    engine = EMPTY.migration_engine(settings_for(url))
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def fetch(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Run one statement in a transaction of its own and return its rows, sorted."""
    async with connected(url) as connection, connection.begin():
        result = await connection.execute(text(sql))
        return sorted((tuple(row) for row in result), key=repr) if result.returns_rows else []


async def schema_of(url: str) -> Schema:
    """Return everything in a database that a migration may have left there, but for Alembic's own table."""
    queries = SQLITE_SCHEMA if url.startswith("sqlite") else POSTGRESQL_SCHEMA
    found = {kind: await fetch(url, sql) for kind, sql in queries.items()}
    return {kind: [row for row in rows if "alembic_version" not in repr(row)] for kind, rows in found.items()}


async def reflect(url: str) -> Schema:
    """Return the schema as SQLAlchemy sees it: SQLite's own text tells how a table came to be, not only what it is."""

    def look(connection: Connection) -> Schema:
        inspector = inspect(connection)
        found: Schema = {}
        for table in inspector.get_table_names():
            parts: dict[str, Sequence[Any]] = {
                "columns": [column | {"type": repr(column["type"])} for column in inspector.get_columns(table)],
                "key": [inspector.get_pk_constraint(table)],
                "foreign keys": inspector.get_foreign_keys(table),
                "unique": inspector.get_unique_constraints(table),
                "checks": inspector.get_check_constraints(table),
                "indexes": inspector.get_indexes(table),
            }
            found |= {f"{table} {kind}": sorted([(repr(item),) for item in items]) for kind, items in parts.items()}
        if isinstance(inspector, PGInspector):
            found["types"] = [(repr(enum),) for enum in inspector.get_enums()]
        return found

    async with connected(url) as connection:
        return await connection.run_sync(look)


async def tables_of(url: str) -> set[str]:
    """Return the names of a database's tables, but for Alembic's own."""
    sqlite = "SELECT name FROM sqlite_master WHERE type = 'table'"
    postgresql = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    rows = await fetch(url, sqlite if url.startswith("sqlite") else postgresql)
    return {row[0] for row in rows} - {"alembic_version"}
