"""Pooled connections of PostgreSQL: nobody finds on one what another user has left there.

A connection is *tainted* when something ran on it that may change its state: text, a function that is not known to be
harmless, DDL, or SQL for the driver. This is seen in the tree of the statement, once for each statement that SQLAlchemy
compiles, and not by reading SQL. When a tainted connection is returned, it is reset before anybody else gets it.
"""

import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolResetState
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.dml import Insert, UpdateBase
from sqlalchemy.sql.elements import (
    ColumnClause,
    ReleaseSavepointClause,
    RollbackToSavepointClause,
    SavepointClause,
    TextClause,
)
from sqlalchemy.sql.functions import Function, GenericFunction
from sqlalchemy.sql.operators import custom_op
from sqlalchemy.sql.selectable import SelectBase, TextualSelect, Values
from sqlalchemy.sql.visitors import ExternallyTraversible, iterate

from ligand_async.data.errors import WriteOnReadSession

logger = logging.getLogger(__name__)

KEEPS_STATE = "ligand_keeps_state"
"""The execution option of our own statements, which leave no state that nobody takes care of."""

TAINTED = "ligand_tainted"
"""The key in `Connection.info`, which lives as long as the driver's connection."""

VARIABLES = "ligand_variables"
"""The key in `Connection.info` of the variables that a connection has at the level of its session."""

_RESET_TIMEOUT = 2.0  # seconds; then the connection is closed instead

# Never DISCARD ALL: it removes prepared statements that asyncpg and SQLAlchemy still believe in. RESET ALL leaves the
# role. What RESET ALL goes back to are the settings that we connected with.
_RESET = (
    "SET SESSION AUTHORIZATION DEFAULT; RESET ALL; CLOSE ALL; UNLISTEN *; SELECT pg_advisory_unlock_all(); "
    "DISCARD TEMP; DISCARD SEQUENCES"
)

# Functions of PostgreSQL and its common extensions that services call by `func`; others cost a reset.
_HARMLESS = """
    abs age array_agg array_length array_position array_to_string ascii avg bool_and bool_or btrim cardinality ceil
    ceiling concat_ws cume_dist date date_part date_trunc dense_rank div every exp extract first_value floor format
    gen_random_uuid generate_series greatest hashtext initcap json_agg json_array_length json_build_array
    json_build_object json_object_agg jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length
    jsonb_build_array jsonb_build_object jsonb_each jsonb_extract_path jsonb_extract_path_text jsonb_object_agg
    jsonb_object_keys jsonb_path_exists jsonb_path_query jsonb_set jsonb_typeof lag last_value lead least left
    length ln log lower lpad ltrim make_date make_interval make_timestamptz md5 mod nth_value ntile nullif
    percent_rank pg_advisory_xact_lock pg_try_advisory_xact_lock plainto_tsquery position power random rank
    regexp_match regexp_matches regexp_replace repeat replace reverse right round row_number row_to_json rpad rtrim
    sha256 sign similarity split_part sqrt starts_with stddev string_agg string_to_array strpos substr substring
    timezone to_char to_date to_json to_jsonb to_number to_timestamp to_tsquery to_tsvector translate trim trunc
    ts_rank unnest upper variance websearch_to_tsquery width_bucket
"""
_HARMLESS_FUNCTIONS = frozenset(_HARMLESS.split())


def keep_clean(engine: AsyncEngine) -> None:
    """Reset the tainted connections of a pooled engine of PostgreSQL when they are returned."""
    sync_engine = engine.sync_engine
    touched: WeakSet[Any] = WeakSet()  # connections of the driver that were given away
    give_driver = sync_engine.dialect.get_driver_connection

    def give_and_note(dbapi_connection: Any) -> Any:
        driver = give_driver(dbapi_connection)
        touched.add(driver)
        return driver

    # SQLAlchemy 2.1 has no event for `get_raw_connection().driver_connection`.
    sync_engine.dialect.get_driver_connection = give_and_note  # type: ignore[method-assign,assignment]  # for this engine only

    def reset(dbapi_connection: Any, record: Any, state: PoolResetState) -> None:
        is_tainted = record.info.pop(TAINTED, False)
        if state.terminate_only:
            return
        if dbapi_connection.driver_connection in touched:
            # Type codecs, listeners and loggers of the driver cannot be taken back.
            record.invalidate()
        elif is_tainted:
            record.info.pop(VARIABLES, None)
            _reset(dbapi_connection, record, state)

    event.listen(sync_engine, "before_cursor_execute", _note_taint)
    event.listen(sync_engine, "reset", reset)


def keep_pooler_clean(engine: AsyncEngine) -> None:
    """Reset the tainted connections of an engine before each commit: then a transaction pooler gives them to others.

    A rollback undoes what was set, except advisory locks of the session.
    """

    def reset_before_commit(connection: Connection) -> None:
        if connection.info.pop(TAINTED, False):
            dbapi_connection: Any = connection.connection.dbapi_connection
            dbapi_connection.run_async(lambda driver: driver.execute(_RESET, timeout=_RESET_TIMEOUT))

    def forget(connection: Connection) -> None:
        if not connection.invalidated:  # one that has been given up has nothing to forget
            connection.info.pop(TAINTED, None)

    event.listen(engine.sync_engine, "before_cursor_execute", _note_taint)
    event.listen(engine.sync_engine, "commit", reset_before_commit)
    event.listen(engine.sync_engine, "rollback", forget)


def _note_taint(connection: Connection, _cursor: Any, _sql: str, _parameters: Any, context: Any, _many: bool) -> None:
    if taints(context):
        connection.info[TAINTED] = True


def _reset(dbapi_connection: Any, record: Any, state: PoolResetState) -> None:
    async def reset_driver(driver: Any) -> None:
        if driver.is_in_transaction():
            await driver.execute("ROLLBACK", timeout=_RESET_TIMEOUT)
        await driver.execute(_RESET, timeout=_RESET_TIMEOUT)

    try:
        if not state.transaction_was_reset:
            dbapi_connection.rollback()
        dbapi_connection.run_async(reset_driver)
    except Exception as error:  # noqa: BLE001  (whatever it is, nobody gets this connection)
        logger.info("a connection could not be reset and was closed: %s", type(error).__name__)
        record.invalidate(error)
    except BaseException:
        record.invalidate()
        raise


_known: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
"""Whether a compiled statement taints: SQLAlchemy compiles a statement once and keeps it."""


def taints(context: Any) -> bool:
    """Return whether a statement may change the state of the connection that it runs on.

    Args:
        context: The execution context of SQLAlchemy; None for what went past it.
    """
    compiled = None if context is None else context.compiled
    if compiled is None or context.isddl:
        return context is None or KEEPS_STATE not in context.execution_options
    known = _known.get(compiled)
    if known is None:
        known = _known[compiled] = any(map(_element_taints, _elements_of(compiled)))
    return known


def _elements_of(compiled: Any) -> Iterator[Any]:
    """Yield all elements of a compiled statement, and of the one that the ORM made of it."""
    statements = [compiled.statement, getattr(compiled.compile_state, "statement", None)]
    for statement in statements:
        if isinstance(statement, ExternallyTraversible):
            for element in iterate(statement):
                yield element
                rows = getattr(element, "_multi_values", None) or getattr(element, "_data", None)
                if isinstance(element, Insert | Values) and rows:
                    yield from _elements_of_rows(list(rows))


def _elements_of_rows(rows: list[Any]) -> Iterator[Any]:
    """Yield the elements in rows of values, which `iterate` leaves out."""
    while rows:
        match rows.pop():
            case list() | tuple() as several:
                rows += several
            case dict() as pairs:
                rows += pairs.values()
            case ExternallyTraversible() as element:
                yield from iterate(element)
            case _:
                pass  # a value, which is sent as a parameter


_TEXT_OF = ("_prefixes", "_suffixes", "_statement_hints", "_hints")  # text that `iterate` leaves out


def _element_taints(element: Any) -> bool:
    if isinstance(element, TextClause):
        return True
    if isinstance(element, ColumnClause) and element.is_literal and not _is_word(element.name):
        return True
    if any(getattr(element, name, None) for name in _TEXT_OF):
        return True
    for name in ("operator", "modifier"):
        operator = getattr(element, name, None)
        if isinstance(operator, custom_op) and any(map(str.isalnum, operator.opstring)):
            return True
    if isinstance(element, Function) and not isinstance(element, GenericFunction):
        return element.name.lower() not in _HARMLESS_FUNCTIONS or bool(element.packagenames)
    return not _is_known(type(element))


def _is_word(text: str) -> bool:
    """Return whether a literal column is a name, a number or the `*` of `count(*)`, which call nothing."""
    return text == "*" or text.translate({ord("."): None, ord("_"): None}).isalnum()


def _is_known(kind: type) -> bool:
    """Return whether SQLAlchemy and this package alone decide how elements of a class are compiled."""
    roots = {base.__module__.partition(".")[0] for base in kind.__mro__}
    return roots <= {"sqlalchemy", "ligand_async", "builtins", "typing", "abc"}


# -- reads

_REMEMBERED_TEXTS = 1000


def refuse_what_is_not_read(engine: AsyncEngine) -> None:
    """Refuse text that returns no rows, such as SET, BEGIN and DO, on an engine of PostgreSQL that reads.

    The server refuses writes in a read-only transaction, but text could begin another one. It is not read here: the
    server prepares it and describes its result. This happens once for each text.
    """
    returns_rows: dict[str, bool | None] = {}

    def check(connection: Connection, _cursor: Any, sql: str, _parameters: Any, context: Any, _many: bool) -> None:
        if not _may_be_anything(context):
            return
        known = returns_rows.get(sql)
        if known is None:
            known = _returns_rows(connection, sql)
            if len(returns_rows) < _REMEMBERED_TEXTS:
                returns_rows[sql] = known
        if known is False:
            raise WriteOnReadSession(
                "a session that reads takes statements that return rows, and no change of its own state or "
                'transaction; ask for another session with @operation(session="write") or db.transaction()'
            )

    event.listen(engine.sync_engine, "before_cursor_execute", check)


def _may_be_anything(context: Any) -> bool:
    """Return whether only the server can say what a statement is."""
    if context is None or KEEPS_STATE in context.execution_options:
        return context is None
    statement: Executable | None = getattr(context.compiled, "statement", None)
    if isinstance(statement, TextualSelect):
        return True
    savepoints = (SavepointClause, RollbackToSavepointClause, ReleaseSavepointClause)
    return not isinstance(statement, (SelectBase, UpdateBase, *savepoints))


def _returns_rows(connection: Connection, sql: str) -> bool | None:
    """Return whether a statement returns rows; None if it cannot be prepared, which its execution says better."""
    connection.info[TAINTED] = True
    dbapi_connection: Any = connection.connection.dbapi_connection
    name = f"__ligand_{uuid4().hex}__"  # behind a pooler, others have the names that asyncpg counts up
    if not (dbapi_connection.autocommit or dbapi_connection.driver_connection.is_in_transaction()):
        dbapi_connection.cursor().execute("SELECT 1")  # begins the transaction, which SQLAlchemy does late
    try:
        prepared = dbapi_connection.run_async(lambda driver: driver.prepare(sql, name=name))
    except Exception:  # noqa: BLE001  (the driver's own errors, which nobody has translated here)
        return None
    return bool(prepared.get_attributes())
