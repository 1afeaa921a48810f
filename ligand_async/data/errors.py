"""Database errors as problems: by SQLSTATE and constraint, never by text, which holds values."""

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Constraint,
    ExceptionContext,
    ForeignKeyConstraint,
    Index,
    Insert,
    MetaData,
    Table,
    UniqueConstraint,
    Update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm.exc import StaleDataError

from ligand_async.errors import (
    AlreadyExists,
    BrokenReference,
    ChangedMeanwhile,
    DatabaseTimeout,
    DatabaseUnavailable,
    InvalidPart,
    Problem,
    ValidationFailed,
)

_SQLITE_STATES = (
    # SQLite's messages, and the SQLSTATE that PostgreSQL has for the same.
    (re.compile(r"UNIQUE constraint failed|PRIMARY KEY must be unique"), "23505"),
    (re.compile(r"FOREIGN KEY constraint failed"), "23503"),
    (re.compile(r"NOT NULL constraint failed"), "23502"),
    (re.compile(r"CHECK constraint failed"), "23514"),
    (re.compile(r"datatype mismatch"), "22000"),
    (re.compile(r"database (table )?is locked"), "55P03"),
    (re.compile(r"interrupted"), "57014"),
    (re.compile(r"readonly database"), "25006"),
    (re.compile(r"unable to open database file|disk I/O error"), "58030"),
    (re.compile(r"database or disk is full"), "53100"),
)


def sqlstate_of(error: DBAPIError) -> str | None:
    """Return the SQLSTATE of an error; for SQLite, which has none, the one that matches its message."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    if state:
        return state
    words = str(error.orig)
    return next((state for pattern, state in _SQLITE_STATES if pattern.search(words)), None)


def is_stale_plan(error: DBAPIError) -> bool:
    """Return whether a prepared statement failed because its table was changed after it was prepared."""
    return type(error.orig).__name__ == "InvalidCachedStatementError"


def is_key_taken(error: DBAPIError, metadata: MetaData) -> bool:
    """Return whether the error is that a row with the same primary key exists already."""
    driver_error: Any = getattr(error.orig, "__cause__", None)
    return sqlstate_of(error) == "23505" and _is_primary_key(driver_error, str(error.orig), metadata)


def problem_of(error: SQLAlchemyError, metadata: MetaData) -> Problem | None:
    """Return the problem to answer a database error with, or None if the error is a bug in the service.

    Args:
        error: As SQLAlchemy raised it.
        metadata: The service's tables, to name the fields of a constraint.
    """
    match error:
        case PoolTimeoutError():
            return _unavailable("all database connections are in use", retry_after=1)
        case DatabaseUnreachable():
            return _unavailable("the database cannot be reached", retry_after=2)
        case ConnectionLost():
            return _unavailable("the database connection was lost", retry_after=1)
        case StatementTimedOut():
            return DatabaseTimeout("the database did not answer in time")
        case ValueRefused():
            return ValidationFailed("a value does not fit its column")
        case StaleDataError():
            return ChangedMeanwhile("the resource was changed by someone else in the meantime")
        case DBAPIError():
            return _problem_of_state(error, metadata)
        case _:
            return None


def _problem_of_state(error: DBAPIError, metadata: MetaData) -> Problem | None:
    if is_stale_plan(error):
        return _unavailable("the schema is being changed", retry_after=1)
    state = sqlstate_of(error)
    if state is None:
        return _unavailable("the database connection was lost", retry_after=1) if error.connection_invalidated else None
    return _problem_of_constraint(state, error, metadata) or _problem_of_condition(state)


def _problem_of_constraint(state: str, error: DBAPIError, metadata: MetaData) -> Problem | None:
    """Classify class 23: a rule of the schema was broken, by these fields."""
    match state:
        case "23505" | "23P01":
            return AlreadyExists("it exists already", errors=_invalid_parts(error, metadata, "already taken", "unique"))
        case "23503" | "23001":
            return BrokenReference(
                "it refers to something that does not exist, or something still refers to it",
                errors=_invalid_parts(error, metadata, "no such reference, or still referred to", "reference"),
            )
        case "23502":
            return ValidationFailed(
                "a required value is missing", errors=_invalid_parts(error, metadata, "must not be null", "required")
            )
        case "23514":
            return ValidationFailed(
                "a value is not allowed", errors=_invalid_parts(error, metadata, "not allowed", "check")
            )
        case _:
            return None


def _problem_of_condition(state: str) -> Problem | None:
    """Classify what is not about a constraint: values, time, load, failures."""
    match state:
        case "40001" | "40P01":
            return _unavailable("the work collided with another transaction", retry_after=1)
        case "55P03":
            return _unavailable("what the work needs is locked", retry_after=1)
        case "57014" | "25P04":
            return DatabaseTimeout("the database took too long")
        case "25006":
            return _unavailable("the database is read-only at the moment", retry_after=5)
        case _ if state[:2] in {"08", "53", "57", "58"} or state == "25P03":
            return _unavailable("the database is not available", retry_after=2)
        case _ if state[:2] == "22" or state == "54000":  # 54000: more than an index can hold
            return ValidationFailed("a value does not fit its column")
        case _:
            return None


def _unavailable(detail: str, *, retry_after: int) -> DatabaseUnavailable:
    return DatabaseUnavailable(detail, headers={"Retry-After": str(retry_after)})


def _invalid_parts(error: DBAPIError, metadata: MetaData, detail: str, code: str) -> list[InvalidPart]:
    driver_error: Any = getattr(error.orig, "__cause__", None)
    words = str(error.orig)
    constraint = _constraint_of(driver_error, words, metadata)
    said = {} if constraint is None else constraint.info
    fields = said.get("field") or columns_of(driver_error, words, metadata, getattr(error.orig, _WRITTEN, None))
    detail = said.get("message", detail)
    if not fields and "message" in said:
        return [InvalidPart(detail, code)]
    return [
        InvalidPart(detail, code, pointer=f"/{field}") for field in ([fields] if isinstance(fields, str) else fields)
    ]


def _constraint_of(driver_error: Any, words: str, metadata: MetaData) -> Constraint | Index | None:
    """Find a constraint by its name, or on SQLite a unique one by its columns."""
    table_name = getattr(driver_error, "table_name", None)
    name, columns = getattr(driver_error, "constraint_name", None), None
    if driver_error is None or table_name is None:
        if match := _SQLITE_NAME.search(words):
            name = match[1]
        elif match := _SQLITE_UNIQUE.search(words):
            parts = [part.strip().rpartition(".") for part in match[1].split(",")]
            table_name, columns = parts[0][0], {column for _, _, column in parts}
    for table in metadata.tables.values() if name is not None or columns is not None else ():
        items: list[Constraint | Index] = [*table.constraints, *table.indexes]
        for item in items if table_name in {None, table.name} else []:
            is_unique = isinstance(item, UniqueConstraint) or (isinstance(item, Index) and item.unique)
            names = {part.name for part in getattr(item, "columns", ())}
            if name in _names_of(item) or (is_unique and names == columns):
                return item
    return None


_SQLITE_NAME = re.compile(r"(?:CHECK constraint failed: |UNIQUE constraint failed: index ')(\w+)")
_SQLITE_REFERENCE = "FOREIGN KEY constraint failed"
_WRITTEN = "ligand_written"  # the attribute of an error of SQLite's driver
_SQLITE_UNIQUE = re.compile(r"UNIQUE constraint failed: ([\w., ]+)")
_SQLITE_COLUMNS = re.compile(r"(?:UNIQUE|NOT NULL) constraint failed: ([\w., ]+)")


@dataclass(frozen=True, slots=True)
class Written:
    """The table and the columns that a statement was writing."""

    table: str
    columns: frozenset[str]


def note_written(context: ExceptionContext) -> None:
    """Note on an error of SQLite's driver what its statement was writing, which the error does not say."""
    execution: Any = context.execution_context
    compiled = None if execution is None else execution.compiled
    statement = getattr(compiled, "statement", None)
    if not isinstance(statement, Insert | Update) or not isinstance(statement.table, Table):
        return
    table = statement.table
    sent = {name for parameters in execution.compiled_parameters[:1] for name in parameters}
    sent |= {name.removesuffix("_m0") for name in sent}  # the first of several rows
    if isinstance(statement, Update):  # the ORM's names of what it compares
        sent -= {f"{table.name}_{column.name}" for column in table.primary_key}
    columns = frozenset(column.name for column in table.columns if column.key in sent)
    setattr(context.original_exception, _WRITTEN, Written(table.name, columns))


def columns_of(driver_error: Any, words: str, metadata: MetaData, written: Written | None = None) -> list[str]:
    """Return the names of the columns, or an empty list if neither the driver nor the metadata has them.

    Args:
        driver_error: asyncpg's own exception, which names table and constraint; None for SQLite.
        words: SQLite's message, which names columns or the constraint.
        metadata: The service's tables.
        written: What was written, for a broken reference on SQLite, whose message names neither table nor column.
    """
    table_name = getattr(driver_error, "table_name", None)
    if table_name is not None:
        column = getattr(driver_error, "column_name", None)
        if column is not None:
            return [column]
        return _columns_of_constraint(metadata, getattr(driver_error, "constraint_name", None), table_name)
    if match := _SQLITE_NAME.search(words):
        return _columns_of_constraint(metadata, match[1])
    if match := _SQLITE_COLUMNS.search(words):
        return [name.strip().rpartition(".")[2] for name in match[1].split(",")]
    if _SQLITE_REFERENCE in words and written is not None:
        return _columns_of_reference(metadata, written)
    return []


def _is_primary_key(driver_error: Any, words: str, metadata: MetaData) -> bool:
    match = _SQLITE_COLUMNS.search(words)
    name = getattr(driver_error, "table_name", None) or (match[1].partition(".")[0] if match else None)
    broken = set(columns_of(driver_error, words, metadata))
    return any(
        table.name == name and {key.name for key in table.primary_key} == broken for table in metadata.tables.values()
    )


def _columns_of_reference(metadata: MetaData, written: Written) -> list[str]:
    """Name the columns of the only foreign key that a statement writes; of several, any may be the broken one."""
    table = metadata.tables.get(written.table)
    if table is None:
        return []
    keys = [list(key.column_keys) for key in table.foreign_key_constraints]
    broken = [columns for columns in keys if not written.columns.isdisjoint(columns)]
    return broken[0] if len(broken) == 1 else []


def _columns_of_constraint(metadata: MetaData, constraint: str | None, table_name: str | None = None) -> list[str]:
    for table in metadata.tables.values():
        if table_name in {None, table.name} and (columns := _columns_in_table(table, constraint)):
            return columns
    return []


def _columns_in_table(table: Table, name: str | None) -> list[str]:
    items: list[Constraint | Index] = [*table.constraints, *table.indexes]
    for item in items:
        if name in _names_of(item):
            if isinstance(item, ForeignKeyConstraint):
                return list(item.column_keys)
            columns = [column.name for column in getattr(item, "columns", ())]
            # A check written as text has no columns; its name ends with one where the naming was kept to.
            meant = [column.name for column in table.columns if str(item.name).endswith(f"_{column.name}")]
            return columns or sorted(meant, key=len)[-1:]
    return _columns_of_unnamed(table, name) if name is not None else []


_PREPARER = postgresql.asyncpg.dialect().identifier_preparer  # type: ignore[no-untyped-call]  # SQLAlchemy's


def _names_of(item: Constraint | Index) -> set[str]:
    """Return the names that the databases know a constraint by: PostgreSQL takes no more than 63 characters."""
    if not isinstance(item.name, str):
        return set()
    written = _PREPARER.format_index(item) if isinstance(item, Index) else _PREPARER.format_constraint(item)
    return {str(item.name), (written or "").strip('"')}


def _columns_of_unnamed(table: Table, name: str) -> list[str]:
    """Return the columns of a constraint that the models leave without a name, by the name that PostgreSQL makes.

    Names that are taken get a number. If the name of two constraints was shortened to the same, neither is meant.
    """
    number = name[len(name.rstrip("0123456789")) :]
    found: list[list[str]] = []
    for item in table.constraints:
        kind = _LABELS.get(item.__visit_name__)
        if kind is not None and not isinstance(item.name, str):
            columns = [column.name for column in getattr(item, "columns", ())]
            shown = "" if kind == "pkey" else "_".join(columns)
            if _make_name(table.name, shown, kind + number) == name:
                found.append(columns)
    # A check of one column is named by it.
    checked = (column.name for column in table.columns)
    found += [[column] for column in checked if _make_name(table.name, column, f"check{number}") == name]
    return found[0] if len(found) == 1 else []


_LABELS = {
    "unique_constraint": "key",
    "primary_key_constraint": "pkey",
    "foreign_key_constraint": "fkey",
    "exclude_constraint": "excl",
}


def _make_name(table: str, columns: str, label: str) -> str:
    """Return the name that PostgreSQL makes, of 63 bytes at most: its `makeObjectName`."""
    first, second = table.encode(), columns.encode()
    room = 63 - len(label) - (2 if second else 1)
    while len(first) + len(second) > room:
        if len(first) > len(second):
            first = first[:-1]
        else:
            second = second[:-1]
    parts = [part.decode(errors="ignore") for part in (first, second) if part]
    return "_".join([*parts, label])


class DatabaseUnreachable(SQLAlchemyError):
    """No connection could be made: refused, unresolved, or no answer within `database_connect_timeout`."""


class ConnectionLost(SQLAlchemyError):
    """An open connection broke under a statement."""


class StatementTimedOut(SQLAlchemyError):
    """The server did not answer a statement within `database_command_timeout`; the connection was given up."""


class ValueRefused(SQLAlchemyError):
    """The driver could not send a value: an integer too large, text that is not valid Unicode."""


class WriteOnReadSession(SQLAlchemyError):
    """A statement on a read session tried to write, or to change the state of the session."""


class SessionMisused(SQLAlchemyError):
    """A session was used by two tasks, committed by hand, or used after its unit of work had ended."""


class LazyLoadRefused(SQLAlchemyError):
    """An attribute that was never loaded was read outside an await."""


class KeyNotCounted(SQLAlchemyError):
    """A row has no primary key, and SQLite does not count one of this type up; the message says what to write."""


_SQLITE_NULL = re.compile(r"NOT NULL constraint failed: (\w+)\.(\w+)")


def name_uncounted_key(context: ExceptionContext) -> KeyNotCounted | None:
    """Return the error for a key that SQLite was expected to count up, or None if it is about something else."""
    match = _SQLITE_NULL.search(str(context.original_exception))
    compiled: Any = None if context.execution_context is None else getattr(context.execution_context, "compiled", None)
    table = getattr(getattr(compiled, "statement", None), "table", None)
    if match is None or not isinstance(table, Table) or table.name != match[1]:
        return None
    column = table.autoincrement_column
    if column is None or column.name != match[2]:
        return None
    kind = type(column.type).__name__
    return KeyNotCounted(
        f"{table.name}.{column.name} has no value: SQLite counts up a primary key of type Integer, and this one is "
        f'{kind}. Write mapped_column({kind}().with_variant(Integer, "sqlite"), primary_key=True)'
    )
