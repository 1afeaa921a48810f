"""Connections to PostgreSQL: a database URL and the settings, as SQLAlchemy's engine and asyncpg take them."""

import asyncio
import logging
import math
import os
import random
import ssl
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
from sqlalchemy import URL, event
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.util.concurrency import in_greenlet

from ligand_async.context import current_deadline
from ligand_async.data.errors import DatabaseUnreachable, StatementTimedOut
from ligand_async.data.pools import DeadlinePool
from ligand_async.settings import (
    SYSTEM_ROOTS,
    TLS,
    PostgresURL,
    RefusedParameter,
    Settings,
    SettingsError,
    Target,
    read_postgres_url,
)

APPLICATION_NAME = "ligand_async"


def postgresql_options(url: URL, settings: Settings, *, reads: bool) -> tuple[URL, dict[str, Any]]:
    """Return an engine's URL and options, with or without a transaction pooler in between.

    Args:
        url: As `parse_database_url` returns it.
        settings: Timeouts in seconds, pooler mode.
        reads: Whether the database must refuse every write on it.

    Raises:
        SettingsError: The URL has a parameter that cannot be followed, or a file that it names cannot be used.
    """
    read = check_parameters(url)
    pooled_elsewhere = settings.database_pooler == "transaction"
    server_settings = {"application_name": APPLICATION_NAME, **read.server_settings}
    _check_passfile(read.arguments.get("passfile"))
    connect_args: dict[str, Any] = {
        **read.arguments,
        "timeout": read.connect_timeout or settings.database_connect_timeout,
        "command_timeout": settings.database_command_timeout,
        "server_settings": server_settings,
        "connection_class": _connection_class(settings, sets_timeout=pooled_elsewhere),
        **_tls_arguments(read),
        **_target_arguments(read, sets_read_only=not pooled_elsewhere),
    }
    if read.statement_cache_size is not None:
        connect_args["prepared_statement_cache_size"] = read.statement_cache_size
    options: dict[str, Any] = {"connect_args": connect_args}
    if pooled_elsewhere:
        # The pooler hands each transaction any server connection: no state, no prepared statement survives between two.
        connect_args |= {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"__ligand_{uuid4().hex}__",
        }
        options["execution_options"] = {"postgresql_readonly": True} if reads else {}
        return read.url, options
    server_settings |= {
        "timezone": "UTC",
        "statement_timeout": str(round(settings.database_statement_timeout * 1000)),
        "default_transaction_read_only": "on" if reads else "off",
    }
    if reads:
        options["isolation_level"] = "AUTOCOMMIT"
    return read.url, options


def _connection_class(settings: Settings, *, sets_timeout: bool) -> type[asyncpg.Connection]:
    """Return a class of connections that hand the deadline of a request to the server.

    The message that begins a transaction sets `statement_timeout` to what is left, so it costs no round trip; the one
    that commits takes it back, because the response waits for a commit. Reads in AUTOCOMMIT begin nothing. For them,
    as for every statement, the deadline cancels the task, and asyncpg has the server cancel the statement.

    Args:
        settings: `database_statement_timeout` is the limit where no deadline is nearer.
        sets_timeout: Set it in each transaction, because the session does not have it.
    """
    longest = settings.database_statement_timeout or math.inf

    def set_timeout(seconds: float) -> str:
        # PostgreSQL takes 0 for no limit.
        return f"SET LOCAL statement_timeout = {0 if seconds == math.inf else max(1, round(seconds * 1000))};"

    class DeadlineConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no type hints
        _is_bounded = False  # in a transaction whose statements end before their time, for a deadline

        async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109  (asyncpg's)
            if query.startswith("BEGIN"):
                left = current_deadline().seconds_left
                self._is_bounded = left is not None and left < longest
                if self._is_bounded or sets_timeout:
                    query += set_timeout(longest if left is None else min(left, longest))
            elif query == "COMMIT;" and self._is_bounded:
                query = f"{set_timeout(longest)}{query}"
            result: str = await super().execute(query, *args, timeout=timeout)
            return result

    return DeadlineConnection


def check_parameters(url: URL) -> PostgresURL:
    """Return a PostgreSQL URL with libpq's parameters taken apart, without looking at the files that it names.

    Raises:
        SettingsError: It has a parameter that cannot be followed; the text names it and says what to do.
    """
    try:
        return read_postgres_url(url)
    except RefusedParameter as error:
        raise SettingsError(f"the database URL cannot be used: {error}") from None


def _check_passfile(name: str | bool | None) -> None:
    # asyncpg would go on without a password.
    if isinstance(name, str) and not (os.path.isfile(name) and os.access(name, os.R_OK) and _is_private(name)):
        raise SettingsError(
            "the database URL names a file in passfile that is missing or that others may read; give it the mode 0600"
        )


def _is_private(name: str) -> bool:
    return not os.stat(name).st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def _tls_arguments(read: PostgresURL) -> dict[str, Any]:
    """Return asyncpg's `ssl`: the name of a mode that may fall back, or a context that is made once per engine."""
    hosts = read.url.query.get("host")
    if isinstance(hosts, str) and all(host.startswith("/") for host in hosts.split(",")):
        return {}  # sockets of this machine are not encrypted, whatever the mode, as in libpq
    match read.tls.mode:
        case None:
            return {}
        case "disable" | "allow" | "prefer" as mode:
            return {"ssl": mode}
        case _:
            return {"ssl": make_tls_context(read.tls)}


_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


def make_tls_context(tls: TLS) -> ssl.SSLContext:
    """Make the context of connections that are always encrypted, with libpq's meaning of each mode.

    `require` verifies the server as `verify-ca` does if there are root certificates. Files that the URL does not name
    are those of libpq's variables, PGSSLROOTCERT and so on, else those in `~/.postgresql`.

    Raises:
        SettingsError: A file is missing or does not have what it should; the text names the parameter.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[tls.minimum]
    if tls.maximum is not None:
        context.maximum_version = _VERSIONS[tls.maximum]
    context.set_alpn_protocols(["postgresql"])
    context.check_hostname = tls.mode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if _load_roots(context, tls) else ssl.CERT_NONE
    _load_revoked(context, tls)
    _load_certificate(context, tls)
    return context


def _load_roots(context: ssl.SSLContext, tls: TLS) -> bool:
    """Load the root certificates; return False if there are none and the mode does without."""
    root = _named_file(tls.root, "PGSSLROOTCERT", "root.crt")
    if root is None:
        if tls.mode == "require":
            return False
        raise SettingsError(
            f"the database URL has sslmode={tls.mode}, which needs root certificates: add sslrootcert=FILE, or "
            "sslmode=verify-full&sslrootcert=system if the server's certificate is from a public authority"
        )
    if root == SYSTEM_ROOTS:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _load("sslrootcert", "certificates in PEM format", lambda: context.load_verify_locations(cafile=root))
    return True


def _load_revoked(context: ssl.SSLContext, tls: TLS) -> None:
    file = _named_file(tls.revoked, "PGSSLCRL", "root.crl")
    directory = tls.revoked_directory or os.environ.get("PGSSLCRLDIR") or None
    if context.verify_mode == ssl.CERT_NONE or not (file or directory):
        return
    if file is not None:
        _load("sslcrl", "revocation lists in PEM format", lambda: context.load_verify_locations(cafile=file))
    if directory is not None:
        if not Path(directory).is_dir():
            raise SettingsError("the database URL names a directory in sslcrldir that does not exist; correct it")
        context.load_verify_locations(capath=directory)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _load_certificate(context: ssl.SSLContext, tls: TLS) -> None:
    certificate = _named_file(tls.certificate, "PGSSLCERT", "postgresql.crt") if tls.sends_certificate else None
    if certificate is not None:
        key = _named_file(tls.key, "PGSSLKEY", "postgresql.key")
        password = tls.key_password or ""  # never None, because OpenSSL would ask at the terminal
        _load(
            "sslcert, sslkey or sslpassword",
            "a certificate with its key",
            lambda: context.load_cert_chain(certificate, key, lambda: password),
        )


def _named_file(given: str | None, variable: str, default: str) -> str | None:
    """Return the file that the URL or libpq's variable names, else the one in the user's directory, if it exists."""
    named = given or os.environ.get(variable)
    if named:
        return named if named == SYSTEM_ROOTS else os.path.expanduser(named)
    try:
        usual = Path.home() / ".postgresql" / default
        return str(usual) if usual.is_file() else None
    except (RuntimeError, OSError):  # no home, or not ours to look into
        return None


def _load(parameter: str, content: str, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        problem = "does not hold" if isinstance(error, ssl.SSLError) else "cannot be read; it should hold"
        raise SettingsError(
            f"the database URL names a file in {parameter} that {problem} {content}; correct it"
        ) from None


def _target_arguments(read: PostgresURL, *, sets_read_only: bool) -> dict[str, Any]:
    """Return asyncpg's `target_session_attrs`, and a function that connects where there are several hosts.

    Args:
        read: The URL.
        sets_read_only: Whether our own server settings make a session read-only or not. asyncpg would take them for
            the server's, so then only the server's role counts.
    """
    target = read.target
    if sets_read_only:
        target = {"read-write": "primary", "read-only": "standby"}.get(target, target)  # type: ignore[assignment]  # of a Literal
    arguments: dict[str, Any] = {} if target == "any" else {"target_session_attrs": target}
    if isinstance(read.url.query.get("port"), str):
        arguments["async_creator_fn"] = _HostsInTurn(shuffled=read.shuffles_hosts)
    return arguments


class _HostsInTurn:
    """Connects to the first of several hosts that will do, each within the connect timeout, as libpq does.

    asyncpg alone has one timeout for all of them: a silent host would leave no time for the next.

    Args:
        shuffled: Whether they are tried in random order.
    """

    def __init__(self, *, shuffled: bool) -> None:
        self._shuffled = shuffled

    async def __call__(
        self, *, host: Sequence[str], port: Sequence[int], target_session_attrs: Target = "any", **arguments: Any
    ) -> Any:
        servers = [{"host": name, "port": number} for name, number in zip(host, port, strict=True)]
        if self._shuffled:
            random.shuffle(servers)
        targets = ("standby", "any") if target_session_attrs == "prefer-standby" else (target_session_attrs,)
        *attempts, last = [{"target_session_attrs": target, **server} for target in targets for server in servers]
        for attempt in attempts:
            with suppress(OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched):
                return await asyncpg.connect(**attempt, **arguments)
        return await asyncpg.connect(**last, **arguments)


_TIMER = "ligand_connect_timer"
_GOODBYE = 2.0  # seconds, for a connection that is given up


# What breaks on the way: below SQLAlchemy's adapter of asyncpg, in it, and above it.
_BROKEN = (
    *(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.TargetServerAttributeNotMatched),
    *(AsyncAdapt_asyncpg_dbapi.Error, DBAPIError, StatementTimedOut),
)


class PostgresPool(DeadlinePool):
    """A pool that names what goes wrong while a new connection is made ready: codecs, the server's version."""

    def connect(self) -> PoolProxiedConnection:
        """Return a connection.

        Raises:
            DatabaseUnreachable: A new connection broke, or fell silent, before it was ready.
        """
        try:
            return super().connect()
        except _BROKEN as error:
            raise DatabaseUnreachable(f"a new connection was not ready in time: {type(error).__name__}") from error


# SQLAlchemy names a pool's logger after its class, so its lines about each pool that is closed would count as ours.
logging.getLogger(f"{__name__}.{PostgresPool.__name__}").setLevel(logging.WARNING)


def bound_new_connections(engine: AsyncEngine) -> None:
    """Let the connect timeout hold until a new connection is ready, and give connections up without waiting.

    SQLAlchemy sends several commands on a new connection, each of which would have the command timeout. And it waits
    two seconds for the goodbye of a connection that it gives up (`do_terminate`, SQLAlchemy 2.1), which a silent server
    never answers: the request would be answered that much later.
    """
    sync_engine = engine.sync_engine
    event.listen(sync_engine, "do_connect", _connect_with_timer)
    event.listen(sync_engine, "connect", _stop_timer)
    dialect: Any = sync_engine.dialect
    dialect.do_terminate = _GoodbyesInBackground()


def _connect_with_timer(dialect: Any, record: ConnectionPoolEntry | None, arguments: Any, options: Any) -> Any:
    loop = asyncio.get_running_loop()
    hosts = options.get("host")
    ends_at = loop.time() + options["timeout"] * (len(hosts) if isinstance(hosts, list) else 1)
    try:
        connection = dialect.connect(*arguments, **options)
    # TimeoutError, socket.gaierror and ssl.SSLError are OSErrors.
    except _BROKEN as error:
        raise DatabaseUnreachable(f"no connection to the postgresql database: {_reason_of(error)}") from error
    if record is not None:
        record.info[_TIMER] = loop.call_at(ends_at, connection.driver_connection.terminate)
    return connection


def _stop_timer(_connection: Any, record: ConnectionPoolEntry) -> None:
    # The last listener: SQLAlchemy's own, which make the connection ready, were there before.
    record.info.pop(_TIMER).cancel()


def _reason_of(error: Exception) -> str:
    """Return why there is no connection, by the kind of error and its SQLSTATE, or the mistake in a certificate."""
    more = getattr(error, "sqlstate", None) or getattr(error, "verify_message", None)
    name = type(error if isinstance(error, OSError) else error.__cause__ or error).__name__
    return f"{name} ({more})" if more else name


class _GoodbyesInBackground:
    """Closes connections that were given up, so that a server that is alive still cancels their statements."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, dbapi_connection: Any) -> None:
        if not in_greenlet():  # collected as garbage
            dbapi_connection.terminate()
            return
        task = asyncio.get_running_loop().create_task(self._close(dbapi_connection.driver_connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self, connection: Any) -> None:
        with suppress(Exception):  # it is aborted then
            await connection.close(timeout=_GOODBYE)
