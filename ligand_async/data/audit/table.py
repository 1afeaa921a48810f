"""The table `audit_event`: one row for each changed entity and for each refused attempt."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Connection, Index, MetaData, PrimaryKeyConstraint, String, Table, Text, Uuid, event
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from uuid_utils.compat import uuid7

from ligand_async.data.audit.protection import write_end_of_protection, write_protection
from ligand_async.data.clock import UTCDateTime, utc_now

NAME = "audit_event"


class event_time(FunctionElement[datetime]):  # noqa: N801  (an SQL function, written as one)
    """The database's moment of the statement.

    Not that of its transaction: of two that change one entity, the one that began first may change it last.
    """

    type = UTCDateTime()
    inherit_cache = True
    name = "event_time"


@compiles(event_time, "postgresql")
def _time_on_postgresql(_element: event_time, _compiler: Any, **_options: Any) -> str:
    return "clock_timestamp()"


@compiles(event_time, "sqlite")
def _time_on_sqlite(_element: event_time, compiler: Any, **options: Any) -> str:
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
        Column("at", UTCDateTime, default=event_time(), nullable=False),
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
    event.listen(table, "after_create", protect)
    event.listen(table, "after_drop", drop_remains)
    return table


def protect(table: Table, connection: Connection, **_options: Any) -> None:
    """Add the triggers to a table that was made without a migration."""
    for statement in write_protection(connection.dialect.name, table.name, table.schema):
        connection.exec_driver_sql(statement)


def drop_remains(table: Table, connection: Connection, **_options: Any) -> None:
    """Drop what the triggers of a dropped table leave."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(write_end_of_protection("postgresql", table.name, table.schema)[-1])
