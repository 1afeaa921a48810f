"""Server defaults, computed columns and identities of the models, compared with those of a database."""

import re
from contextlib import nullcontext
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import JSON, Column, Computed, Connection, DefaultClause, Dialect, Identity
from sqlalchemy.exc import DBAPIError

from ligand_async.data.errors import sqlstate_of

PLUGIN = "ligand_async.defaults"
_CAST = re.compile(
    r"::\s*(?:\"[^\"]+\"|[\w.]+)(?:\s+(?:varying|precision|with(?:out)?\s+time\s+zone))?(?:\(\d+(?:,\s*\d+)?\))?"
)


def _compare_default(
    context: AutogenContext,
    operation: ops.AlterColumnOp,
    _schema: str | None,
    _table_name: str,
    _column_name: str,
    inspected: Column[Any],
    declared: Column[Any],
) -> PriorityDispatchResult:
    """Note a difference in `operation`; Alembic's own comparison ends in an exception where the kinds differ."""
    found, wanted = inspected.server_default, declared.server_default
    operation.existing_server_default = found
    if isinstance(found, Computed) or isinstance(wanted, Computed):
        differs: bool | None = _computed_differs(context, inspected, declared)
    elif isinstance(found, Identity) or isinstance(wanted, Identity):
        # SQLite has no identities: an integer primary key counts by itself. Options are compared by Alembic.
        both = isinstance(found, Identity) and isinstance(wanted, Identity)
        differs = _dialect_of(context).name == "postgresql" and (None if both else True)
    else:
        differs = _default_differs(context, inspected, declared)
    if differs is None:
        return PriorityDispatchResult.CONTINUE
    if differs:
        operation.modify_server_default = wanted
    return PriorityDispatchResult.STOP


_plugin = Plugin(PLUGIN)
_plugin.add_autogenerate_comparator(_compare_default, "column", "server_default", priority=DispatchPriority.FIRST)


def _default_differs(context: AutogenContext, inspected: Column[Any], declared: Column[Any]) -> bool | None:
    """Return whether a default differs from its column's; None leaves the answer to Alembic.

    PostgreSQL gives a default back with casts, SQLite without its parentheses. What then still differs in writing,
    Alembic lets PostgreSQL compare; but JSON has no equality, and texts with quotes in them Alembic does not escape.
    """
    found, wanted = inspected.server_default, declared.server_default
    if not isinstance(found, DefaultClause) or not isinstance(wanted, DefaultClause):
        return None
    text = wanted.arg if isinstance(wanted.arg, str) else written(wanted.arg, _dialect_of(context))
    there = str(found.arg)
    if plain(there) == (text if isinstance(wanted.arg, str) else plain(text)):
        return False
    if isinstance(inspected.type, JSON) or "'" in (text if isinstance(wanted.arg, str) else plain(text)):
        return True
    connection = context.connection
    try:
        with nullcontext() if connection is None else connection.begin_nested():
            differs: bool = context.migration_context.impl.compare_server_default(  # type: ignore[no-untyped-call]  # Alembic has no hint
                inspected, declared, text, there
            )
            return differs
    except DBAPIError as error:
        if not (sqlstate_of(error) or "").startswith(("22", "42")):
            raise
        return True  # the new default is not a value of the column's old type


def written(expression: Any, dialect: Dialect) -> str:
    """Return an expression as SQL."""
    return str(expression.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def plain(default: str) -> str:
    """Return a default without casts, outer parentheses and quotes, and white space."""
    text = _CAST.sub("", default).strip()
    while text.startswith("(") and text.endswith(")") and _encloses(text):
        text = text[1:-1].strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    return re.sub(r"\s+", "", text)


def _encloses(text: str) -> bool:
    """Return whether the first parenthesis is closed by the last."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return position == len(text) - 1
    return False


def _computed_differs(context: AutogenContext, inspected: Column[Any], declared: Column[Any]) -> bool:
    """Return whether a column is computed from something else than its model says."""
    found, wanted = inspected.server_default, declared.server_default
    if not isinstance(found, Computed) or not isinstance(wanted, Computed):
        return True
    if wanted.persisted is not None and bool(found.persisted) != wanted.persisted:
        return True
    dialect, connection = _dialect_of(context), context.connection
    expression, there = written(wanted.sqltext, dialect), str(found.sqltext)
    if dialect.name != "postgresql" or connection is None:
        return plain(expression) != plain(there)
    table = dialect.identifier_preparer.format_table(declared.table)
    return _as_postgresql_writes(connection, table, declared.type.compile(dialect=dialect), expression) != there


def _as_postgresql_writes(connection: Connection, table: str, type_: str, expression: str) -> str | None:
    """Return an expression over a table's columns as PostgreSQL gives it back; None if it is not valid there.

    PostgreSQL adds casts and parentheses. So it is asked: a temporary table gets a column computed in this way.
    """
    savepoint = connection.begin_nested()
    try:
        for statement in (
            f"CREATE TEMPORARY TABLE ligand_computed (LIKE {table}) ON COMMIT DROP",
            f"ALTER TABLE pg_temp.ligand_computed ADD ligand_value {type_} GENERATED ALWAYS AS ({expression}) STORED",
        ):
            connection.exec_driver_sql(statement)
        result: str | None = connection.exec_driver_sql(
            "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'pg_temp.ligand_computed'::regclass"
        ).scalar()
        return result
    except DBAPIError as error:
        if not (sqlstate_of(error) or "").startswith("42") or sqlstate_of(error) == "42501":  # may not, is no "is not"
            raise
        return None
    finally:
        savepoint.rollback()


def _dialect_of(context: AutogenContext) -> Dialect:
    """Return the dialect of the database that is compared."""
    return context.migration_context.dialect
