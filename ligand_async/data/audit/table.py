"""The table `audit_event`: one row for each changed entity and each refused attempt, kept by triggers."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Connection, Index, MetaData, PrimaryKeyConstraint, String, Table, Text, Uuid, event
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from uuid_utils.compat import uuid7

from ligand_async.data.models import UTCDateTime, utc_now

NAME = "audit_event"


class _event_time(FunctionElement[datetime]):  # noqa: N801  (an SQL function, written as one)
    """The database's moment of the statement.

    Not that of its transaction: of two that change one entity, the one that began first may change it last.
    """

    type = UTCDateTime()
    inherit_cache = True
    name = "event_time"


@compiles(_event_time, "postgresql")
def _time_on_postgresql(_element: _event_time, _compiler: Any, **_options: Any) -> str:
    return "clock_timestamp()"


@compiles(_event_time, "sqlite")
def _time_on_sqlite(_element: _event_time, compiler: Any, **options: Any) -> str:
    return str(compiler.process(utc_now(), **options))


def make_audit_table(metadata: MetaData) -> Table:
    """Return the table of events; a service that has it in its metadata has it in its migrations.

    The indexes are for the three questions: what happened since (the primary key), what happened to one entity, and
    what somebody did. PostgreSQL can only partition by columns of the primary key, so `at` is one.
    """
    if NAME in metadata.tables:
        return metadata.tables[NAME]
    table = Table(
        NAME,
        metadata,
        Column("at", UTCDateTime, default=_event_time(), nullable=False),
        Column("id", Uuid, default=uuid7, nullable=False),
        Column("subject", Text),
        Column("issuer", Text),
        Column("client_id", Text),
        Column("action", String(32), nullable=False),
        Column("entity", Text),
        Column("key", Text),
        Column("old", JSON(none_as_null=True)),
        Column("new", JSON(none_as_null=True)),
        Column("request_id", Text),
        Column("operation_id", Text),
        Column("client_address", Text),
        PrimaryKeyConstraint("at", "id"),
        Index(f"ix_{NAME}_entity", "entity", "key", "at"),
        Index(f"ix_{NAME}_subject", "subject", "at"),
    )
    event.listen(table, "after_create", _protect)
    event.listen(table, "after_drop", _drop_remains)
    return table


def _protect(table: Table, connection: Connection, **_options: Any) -> None:
    """Add the triggers to a table that was made without a migration."""
    for statement in write_protection(connection.dialect.name, table.name, table.schema):
        connection.exec_driver_sql(statement)


def _drop_remains(table: Table, connection: Connection, **_options: Any) -> None:
    """Drop what the triggers of a dropped table leave."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(write_end_of_protection("postgresql", table.name, table.schema)[-1])


PRUNES = "ligand.audit_prune"
"""The parameter of PostgreSQL that lets a transaction delete, if it is `on`: a hurdle, not a wall."""

_REFUSAL = "rows of audit_event are not changed or deleted"

_FUNCTION = f"""\
CREATE OR REPLACE FUNCTION {{function}}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND current_setting('{PRUNES}', true) = 'on' THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = '{_REFUSAL}';
END
$$"""


def write_protection(dialect: str, table: str, schema: str | None = None) -> list[str]:
    """Return the statements that make the triggers of a table.

    On PostgreSQL those for rows are inherited by partitions, the one for TRUNCATE is not.

    Args:
        dialect: `postgresql` or `sqlite`.
        table: Its name.
        schema: Where it is, if not in the default schema.
    """
    names = _quote(table, schema)
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {_quote(f'{table}_no_{verb}', schema)} BEFORE {verb.upper()} ON {_quote(table)} "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
            for verb in ("update", "delete")
        ]
    function = _quote(f"{table}_refuse", schema)
    rows = f"BEFORE UPDATE OR DELETE ON {names} FOR EACH ROW"
    whole = f"BEFORE TRUNCATE ON {names} FOR EACH STATEMENT"
    return [
        _FUNCTION.format(function=function),
        f"CREATE TRIGGER {_quote(f'{table}_rows')} {rows} EXECUTE FUNCTION {function}()",
        f"CREATE TRIGGER {_quote(f'{table}_all')} {whole} EXECUTE FUNCTION {function}()",
    ]


def write_end_of_protection(dialect: str, table: str, schema: str | None = None) -> list[str]:
    """Return the statements that drop the triggers of a table.

    Args:
        dialect: `postgresql` or `sqlite`.
        table: Its name.
        schema: Where it is, if not in the default schema.
    """
    if dialect == "sqlite":
        return [f"DROP TRIGGER IF EXISTS {_quote(f'{table}_no_{verb}', schema)}" for verb in ("update", "delete")]
    names = _quote(table, schema)
    return [
        f"DROP TRIGGER IF EXISTS {_quote(f'{table}_rows')} ON {names}",
        f"DROP TRIGGER IF EXISTS {_quote(f'{table}_all')} ON {names}",
        f"DROP FUNCTION IF EXISTS {_quote(f'{table}_refuse', schema)}()",
    ]


def _quote(name: str, schema: str | None = None) -> str:
    """Return a name as both databases read it."""
    quoted = '"' + name.replace('"', '""') + '"'
    return quoted if schema is None else f"{_quote(schema)}.{quoted}"
