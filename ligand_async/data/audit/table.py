"""The table `audit_event`: one row for each changed entity and each refused attempt, kept by triggers."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Connection, Index, MetaData, PrimaryKeyConstraint, String, Table, Text, Uuid, event
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from uuid_utils.compat import uuid7

from ligand_async.data.models import UTCDateTime, utc_now

NAME = "audit_event"
_OWN = {"ligand_audit": True}


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
        connection.exec_driver_sql(statement, execution_options=_OWN)


def _drop_remains(table: Table, connection: Connection, **_options: Any) -> None:
    """Drop what the triggers of a dropped table leave."""
    if connection.dialect.name == "postgresql":
        for statement in _write_end_of_functions(table.name, table.schema):
            connection.exec_driver_sql(statement, execution_options=_OWN)


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


# A partition inherits the triggers for rows, and not the one for TRUNCATE. The path is fixed, so that the functions
# mean the same table whoever calls them.
_PARTITIONS = """\
CREATE OR REPLACE FUNCTION {protect}() RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  part regclass;
BEGIN
  FOR part IN
    SELECT relid FROM pg_partition_tree(to_regclass('{table}')) AS tree
    WHERE level > 0 AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = tree.relid AND tgname = '{name}')
  LOOP
    EXECUTE 'CREATE TRIGGER {trigger} BEFORE TRUNCATE ON ' || part
      || ' FOR EACH STATEMENT EXECUTE FUNCTION {refuse}()';
  END LOOP;
END
$$"""
_PARTITION_MADE = """\
CREATE OR REPLACE FUNCTION {made}() RETURNS event_trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM {protect}();
END
$$"""
_SEE_PARTITIONS = """\
DO $$
BEGIN
  IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    DROP EVENT TRIGGER IF EXISTS {event};
    CREATE EVENT TRIGGER {event} ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE')
      EXECUTE FUNCTION {made}();
  END IF;
END
$$"""


def _write_partitions(table: str, schema: str | None) -> list[str]:
    names = {
        "table": _quote(table, schema).replace("'", "''"),
        "name": f"{table}_all".replace("'", "''"),
        "trigger": _quote(f"{table}_all").replace("'", "''"),
        "refuse": _quote(f"{table}_refuse", schema).replace("'", "''"),
        "protect": _quote(f"{table}_protect_partitions", schema),
        "made": _quote(f"{table}_partition_made", schema),
        "event": _quote(f"{table if schema is None else f'{schema}_{table}'}_partitions"),
    }
    templates = (_PARTITIONS, _PARTITION_MADE, _SEE_PARTITIONS, "SELECT {protect}()")
    return [template.format(**names) for template in templates]


def _write_end_of_functions(table: str, schema: str | None) -> list[str]:
    event_name = _quote(f"{table if schema is None else f'{schema}_{table}'}_partitions")
    functions = (f"{table}_partition_made", f"{table}_protect_partitions", f"{table}_refuse")
    return [
        f"DROP EVENT TRIGGER IF EXISTS {event_name}",
        *(f"DROP FUNCTION IF EXISTS {_quote(name, schema)}()" for name in functions),
    ]


def write_protection(dialect: str, table: str, schema: str | None = None) -> list[str]:
    """Return the statements that make the triggers of a table.

    On PostgreSQL partitions have them, too. Partitions that are made later get them by an event trigger, which only a
    superuser may make; others call the function `audit_event_protect_partitions()` after they made one.

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
        *_write_partitions(table, schema),
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
    partitions, *functions = _write_end_of_functions(table, schema)
    return [
        partitions,
        f"DROP TRIGGER IF EXISTS {_quote(f'{table}_rows')} ON {names}",
        f"DROP TRIGGER IF EXISTS {_quote(f'{table}_all')} ON {names}",
        *(f"{statement} CASCADE" for statement in functions),  # with the triggers of partitions
    ]


def _quote(name: str, schema: str | None = None) -> str:
    """Return a name as both databases read it."""
    quoted = '"' + name.replace('"', '""') + '"'
    return quoted if schema is None else f"{_quote(schema)}.{quoted}"
