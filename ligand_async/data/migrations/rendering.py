"""How models are written into a migration, and which differences between models and database are real."""

import re
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type  # alembic 1.20 has no public way to render a type inside render_item
from alembic.migration import MigrationContext
from alembic.operations import ops
from sqlalchemy import JSON, Column, DefaultClause, Dialect, Enum
from sqlalchemy.sql.elements import False_, TextClause, True_
from sqlalchemy.sql.functions import now
from sqlalchemy.types import TypeDecorator

from ligand_async.data.clock import utc_now
from ligand_async.data.migrations.auditing import add_audit_operations
from ligand_async.data.migrations.enums import add_enum_operations
from ligand_async.data.migrations.ordering import order_dropped_tables

UTC_NOW_IMPORT = "from ligand_async import utc_now"
CAST = re.compile(
    r"::\s*(?:\"[^\"]+\"|[\w.]+)(?:\s+(?:varying|precision|with(?:out)?\s+time\s+zone))?(?:\(\d+(?:,\s*\d+)?\))?"
)


def render_item(kind: str, item: Any, context: AutogenContext) -> str | bool:
    """Write what Alembic would write badly; False leaves the rest to it.

    A decorated type is written as the type beneath, for a migration must mean the same when the class has changed; one
    that chooses its column type by dialect has to be imported. An enum type is made by an operation of its own. The
    database's clock is written by its name, which each database has its own SQL for.
    """
    if kind == "type" and isinstance(item, TypeDecorator) and not type(item).__module__.startswith("sqlalchemy."):
        if type(item).load_dialect_impl is TypeDecorator.load_dialect_impl:
            return _repr_type(item.impl_instance, context)
        context.imports.add(f"import {type(item).__module__}")
    if kind == "type" and isinstance(item, Enum) and item.native_enum and item.name:
        return written_enum(item)
    if kind == "server_default":
        return written_default(item, context)
    return False


def written_default(default: Any, context: AutogenContext) -> str | bool:
    """Return a default that each database has its own SQL for, as a migration writes it; False for any other."""
    value = default.arg if isinstance(default, DefaultClause) else default
    if is_utc_now(value, context):
        context.imports.add(UTC_NOW_IMPORT)
        return "utc_now()"
    match value:
        case True_():
            return "sa.true()"
        case False_():
            return "sa.false()"
        case now():
            return "sa.func.now()"
        case _:
            return False


def written_enum(enum: Enum) -> str:
    """Return an enum type as a migration writes it, the same whether the models or the database have it."""
    arguments = [*map(repr, enum.enums), f"name={str(enum.name)!r}", "create_type=False"]
    if enum.create_constraint:  # where it is text
        arguments.append("create_constraint=True")
    return f"sa.Enum({', '.join(arguments)})"


def is_utc_now(value: Any, context: AutogenContext) -> bool:
    """Tell whether a default is the database's clock: as the models have it, or as the database gives it back."""
    if isinstance(value, utc_now):
        return True
    if not isinstance(value, str | TextClause) or context.dialect is None:
        return False
    return plain(str(value)) == plain(written(utc_now(), context.dialect))


def written(expression: Any, dialect: Dialect) -> str:
    """Return an expression as SQL."""
    return str(expression.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def compare_server_default(
    _context: MigrationContext,
    inspected_column: Column[Any],
    metadata_column: Column[Any],
    inspected_default: str | None,
    _metadata_default: Any,
    rendered_metadata_default: str | None,
) -> bool | None:
    """Tell whether a default differs from its column's; None leaves the answer to Alembic.

    PostgreSQL gives a default back with casts, SQLite without its parentheses. What then still differs in writing,
    Alembic lets PostgreSQL compare; but JSON has no equality, and texts with quotes in them Alembic does not escape.
    """
    if inspected_default is None or rendered_metadata_default is None:
        return None
    default = metadata_column.server_default
    text = default.arg if isinstance(default, DefaultClause) else None
    wanted = text if isinstance(text, str) else plain(rendered_metadata_default)
    if plain(inspected_default) == wanted:
        return False
    return True if isinstance(inspected_column.type, JSON) or "'" in wanted else None


def plain(default: str) -> str:
    """Return a default without casts, outer parentheses and quotes, and white space."""
    text = CAST.sub("", default).strip()
    while text.startswith("(") and text.endswith(")") and encloses(text):
        text = text[1:-1].strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    return re.sub(r"\s+", "", text)


def encloses(text: str) -> bool:
    """Tell whether the first parenthesis is closed by the last."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return position == len(text) - 1
    return False


def finish_migration(context: MigrationContext, _revision: Any, directives: list[ops.MigrationScript]) -> None:
    """Complete a generated migration."""
    for script in directives:
        order_dropped_tables(script)
        add_enum_operations(script, context.opts["target_metadata"])
        add_audit_operations(script)
