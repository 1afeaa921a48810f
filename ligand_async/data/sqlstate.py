"""Which problem an error of the database is: by SQLSTATE, never by its text, which holds values."""

import re
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm.exc import StaleDataError

from ligand_async.data.constraints import columns_of, is_primary_key
from ligand_async.data.faults import ConnectionLost, DatabaseUnreachable, StatementTimedOut, ValueRefused
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

SQLITE_STATES = (
    # What SQLite says in words, as the SQLSTATE that PostgreSQL would give.
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
    """Return the SQLSTATE of an error, translated from SQLite's words where there is none."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    if state:
        return state
    words = str(error.orig)
    return next((state for pattern, state in SQLITE_STATES if pattern.search(words)), None)


def is_stale_plan(error: DBAPIError) -> bool:
    """Tell whether a prepared statement outlived a change of its table."""
    return type(error.orig).__name__ == "InvalidCachedStatementError"


def is_key_taken(error: DBAPIError, metadata: MetaData) -> bool:
    """Tell whether something with the same primary key is stored already."""
    driver_error: Any = getattr(error.orig, "__cause__", None)
    return sqlstate_of(error) == "23505" and is_primary_key(driver_error, str(error.orig), metadata)


def problem_of(error: SQLAlchemyError, metadata: MetaData) -> Problem | None:
    """Return the problem that an error of the database is to a client, or None where it is a fault of the service.

    Args:
        error: As SQLAlchemy raised it.
        metadata: The service's tables, to name the fields of a constraint.
    """
    match error:
        case PoolTimeoutError():
            return unavailable("all database connections are in use", retry_after=1)
        case DatabaseUnreachable():
            return unavailable("the database cannot be reached", retry_after=2)
        case ConnectionLost():
            return unavailable("the database connection was lost", retry_after=1)
        case StatementTimedOut():
            return DatabaseTimeout("the database did not answer in time")
        case ValueRefused():
            return ValidationFailed("a value does not fit its column")
        case StaleDataError():
            return ChangedMeanwhile("the resource was changed by someone else in the meantime")
        case DBAPIError():
            return problem_of_state(error, metadata)
        case _:
            return None


def problem_of_state(error: DBAPIError, metadata: MetaData) -> Problem | None:
    """Classify an error that the database itself reported."""
    if is_stale_plan(error):
        return unavailable("the schema is being changed", retry_after=1)
    state = sqlstate_of(error)
    if state is None:
        return unavailable("the database connection was lost", retry_after=1) if error.connection_invalidated else None
    return problem_of_constraint(state, error, metadata) or problem_of_condition(state)


def problem_of_constraint(state: str, error: DBAPIError, metadata: MetaData) -> Problem | None:
    """Classify class 23: a rule of the schema was broken, by these fields."""
    match state:
        case "23505" | "23P01":
            return AlreadyExists("it exists already", errors=invalid_parts(error, metadata, "already taken", "unique"))
        case "23503" | "23001":
            return BrokenReference(
                "it refers to something that does not exist, or something still refers to it",
                errors=invalid_parts(error, metadata, "no such reference, or still referred to", "reference"),
            )
        case "23502":
            return ValidationFailed(
                "a required value is missing", errors=invalid_parts(error, metadata, "must not be null", "required")
            )
        case "23514":
            return ValidationFailed(
                "a value is not allowed", errors=invalid_parts(error, metadata, "not allowed", "check")
            )
        case _:
            return None


def problem_of_condition(state: str) -> Problem | None:
    """Classify what is not about a constraint: values, time, load, failures."""
    match state:
        case "40001" | "40P01":
            return unavailable("the work collided with another transaction", retry_after=1)
        case "55P03":
            return unavailable("what the work needs is locked", retry_after=1)
        case "57014" | "25P04":
            return DatabaseTimeout("the database took too long")
        case "25006":
            return unavailable("the database is read-only at the moment", retry_after=5)
        case _ if state[:2] in {"08", "53", "57", "58"} or state == "25P03":
            return unavailable("the database is not available", retry_after=2)
        case _ if state[:2] == "22" or state == "54000":  # 54000: more than an index can hold
            return ValidationFailed("a value does not fit its column")
        case _:
            return None


def unavailable(detail: str, *, retry_after: int) -> DatabaseUnavailable:
    """Make a 503 that says when to come back, in seconds."""
    return DatabaseUnavailable(detail, headers={"Retry-After": str(retry_after)})


def invalid_parts(error: DBAPIError, metadata: MetaData, detail: str, code: str) -> list[InvalidPart]:
    """Name the fields of the constraint that an error is about, as pointers into the body."""
    driver_error: Any = getattr(error.orig, "__cause__", None)
    columns = columns_of(driver_error, str(error.orig), metadata, error.statement)
    return [InvalidPart(detail, code, pointer=f"/{column}") for column in columns]
