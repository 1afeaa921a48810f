"""Variables of PostgreSQL that say for whom a session works, for row-level security and triggers.

`Database(Base, variables=…)` names a function from the caller to a mapping such as `{"app.tenant": "acme"}`. Every
connection has these settings while a unit of work uses it. A transaction sets them for itself (`set_config(…, true)`).
A read is in no transaction: it sets them for the session, all of them each time, and not at all where the connection
has them already. Behind a transaction pooler every read is a transaction.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import lru_cache
from inspect import iscoroutinefunction
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine

from ligand_async.context import current_principal
from ligand_async.data.connections import KEEPS_STATE, TAINTED, VARIABLES
from ligand_async.data.errors import DatabaseUnreachable
from ligand_async.data.unit import STREAM_OPTIONS
from ligand_async.principal import Principal
from ligand_async.settings import SettingsError

VariablesOf = Callable[[Principal | None], Mapping[str, str]]
"""A function from the caller, None for nobody, to the variables of its sessions."""

_GIVEN = "ligand_variables_given"  # the execution option of an engine with other variables than those of the caller
_NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)+")
_OWN = {KEEPS_STATE: True}
_CHECK_TIMEOUT = 5.0  # seconds

# The owner of a table passes its policies unless FORCE is set, and so do the members of that owner.
_ROLE_QUERY = """
    SELECT current_user::text, rolsuper, rolbypassrls, ARRAY(
        SELECT relname::text FROM pg_catalog.pg_class
        WHERE relrowsecurity AND NOT relforcerowsecurity AND pg_catalog.pg_has_role(relowner, 'USAGE') ORDER BY 1
    )
    FROM pg_catalog.pg_roles WHERE rolname = current_user
"""


class Variables:
    """The variables of one database.

    Args:
        function: Makes them of the caller.
        on_sqlite: Whether an app may start on SQLite, where nothing reads them.

    Raises:
        TypeError: The function is not callable, or a coroutine function.
    """

    def __init__(self, function: VariablesOf, *, on_sqlite: bool) -> None:
        if not callable(function) or iscoroutinefunction(function):
            raise TypeError(
                "variables= takes a function from a Principal or None to a mapping, not a coroutine function; what it "
                "needs belongs into the claims of the access token"
            )
        self._function = function
        self._on_sqlite = on_sqlite

    def listen(self, engines: Iterable[AsyncEngine]) -> None:
        """Set the variables on the connections of engines, and refuse a role that policies do not hold.

        Raises:
            SettingsError: An engine is of SQLite, and nobody has said that variables are ignored there.
        """
        for engine in engines:
            if engine.dialect.name == "postgresql":
                event.listen(engine.sync_engine, "connect", _check_role)
            elif not self._on_sqlite:
                raise SettingsError(
                    "the database has variables=, and SQLite has no policies that read them: use PostgreSQL, or say "
                    "Database(…, ignore_variables_on_sqlite=True)"
                )
            event.listen(engine.sync_engine, "begin", self._set)

    def of_caller(self) -> dict[str, str]:
        """Return the variables that sessions of the current caller have.

        Raises:
            TypeError: The function did not return a mapping of text to text.
            ValueError: A name or a value cannot be set.
        """
        return check_variables(self._function(current_principal()))

    def give(self, engine: AsyncEngine, values: Mapping[str, str]) -> AsyncEngine:
        """Return an engine whose sessions have these variables instead of those of the caller.

        Raises:
            TypeError: It is not a mapping of text to text.
            ValueError: A name or a value cannot be set.
        """
        return engine.execution_options(**{_GIVEN: check_variables(values)})

    def _set(self, connection: Connection) -> None:
        options = connection.get_execution_options()
        values = options.get(_GIVEN)
        if values is None:
            values = self.of_caller()
        if connection.dialect.name != "postgresql":
            return
        info = connection.info
        known: dict[str, str] = info.get(VARIABLES, {})
        if known == values:
            return
        changed = dict.fromkeys(known, "") | values
        arguments = tuple(part for pair in changed.items() for part in pair)
        if STREAM_OPTIONS not in options or "isolation_level" in options:
            connection.exec_driver_sql(_statement(len(changed), "true"), arguments, _OWN).close()
            return
        was_tainted, info[TAINTED] = info.get(TAINTED, False), True  # until it is known to have worked
        connection.exec_driver_sql(_statement(len(changed), "false"), arguments, _OWN).close()
        info[VARIABLES], info[TAINTED] = values, was_tainted


@lru_cache(maxsize=64)
def _statement(count: int, is_local: str) -> str:
    calls = (f"set_config(${2 * index + 1}, ${2 * index + 2}, {is_local})" for index in range(count))
    return f"SELECT {', '.join(calls)}"


def check_variables(values: Any) -> dict[str, str]:
    """Return variables that PostgreSQL can set; one without text counts as not set.

    Raises:
        TypeError: It is not a mapping of text to text.
        ValueError: A name is not written as `app.tenant`, in lower case and with a dot, or a value has a NUL.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"variables are a mapping of names to text, not {_kind(values)}")
    for name, value in values.items():
        if not isinstance(name, str) or not _is_name(name):
            raise ValueError(f"{name!r} cannot be a variable; names are in lower case and have a dot, as app.tenant")
        if not isinstance(value, str):
            raise TypeError(f"the variable {name} is text, not {_kind(value)}; convert it with str()")
        if "\0" in value:
            raise ValueError(f"the variable {name} has a NUL character, which PostgreSQL cannot store")
    return {name: value for name, value in values.items() if value}


@lru_cache(maxsize=256)
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def _kind(value: Any) -> str:
    return "a coroutine" if isinstance(value, Awaitable) else type(value).__name__


def _check_role(dbapi_connection: Any, _record: Any) -> None:
    """Refuse a new connection whose role no policy would hold."""

    async def look(driver: Any) -> None:
        name, is_superuser, bypasses, own_tables = await driver.fetchrow(_ROLE_QUERY, timeout=_CHECK_TIMEOUT)
        if is_superuser or bypasses:
            reason = f"is {'a superuser' if is_superuser else 'BYPASSRLS'}"
            remedy = "connect as another role: CREATE ROLE app LOGIN NOSUPERUSER NOBYPASSRLS"
        elif own_tables:
            reason = f"owns {', '.join(own_tables)}"
            remedy = f"ALTER TABLE {own_tables[0]} FORCE ROW LEVEL SECURITY, or connect as a role that is not the owner"
        else:
            return
        await driver.close(timeout=_CHECK_TIMEOUT)
        raise SettingsError(
            f"the database has variables=, but no policy holds for its role: {name} {reason}. Remedy: {remedy}"
        )

    try:
        dbapi_connection.run_async(look)
    except SettingsError:
        raise
    except Exception as error:
        raise DatabaseUnreachable(f"a new connection could not be looked at: {type(error).__name__}") from error
