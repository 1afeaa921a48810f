"""PostgreSQL's URLs as hosting platforms print them: libpq's parameters, translated for asyncpg or refused by name.

https://www.postgresql.org/docs/18/libpq-connect.html has the parameters. Nothing here connects or reads a file.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal, cast, get_args
from urllib.parse import unquote

from sqlalchemy import URL

SSLMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
Target = Literal["any", "read-write", "read-only", "primary", "standby", "prefer-standby"]

_SSL_MODES: tuple[SSLMode, ...] = get_args(SSLMode)
_TARGETS: tuple[Target, ...] = get_args(Target)
_TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
SYSTEM_ROOTS = "system"
_DEFAULT_PORT = 5432


class RefusedParameter(ValueError):
    """A PostgreSQL URL asks for something that cannot be done. The text names parameters, and never their values."""


@dataclass(frozen=True, slots=True)
class TLS:
    """How a connection is encrypted, and how the server is verified.

    Attributes:
        mode: libpq's `sslmode`; None leaves it to the variable PGSSLMODE, else it is `prefer`.
        root: The file of the root certificates (PEM), or `system` for those that the machine trusts.
        certificate: The file of the client's certificate chain (PEM).
        key: The file of the client's key (PEM).
        key_password: The password of that file.
        revoked: A file of revocation lists (PEM).
        revoked_directory: A directory of revocation lists, prepared by `openssl rehash`.
        minimum: The lowest protocol version.
        maximum: The highest one; None for no limit.
        sends_certificate: False if the client's certificate is never sent.
    """

    mode: SSLMode | None = None
    root: str | None = None
    certificate: str | None = None
    key: str | None = None
    key_password: str | None = field(default=None, repr=False)
    revoked: str | None = None
    revoked_directory: str | None = None
    minimum: str = "TLSv1.2"
    maximum: str | None = None
    sends_certificate: bool = True


@dataclass(frozen=True, slots=True)
class PostgresURL:
    """A PostgreSQL URL, with libpq's parameters taken apart.

    Attributes:
        url: User, password, hosts, ports and database, in SQLAlchemy's terms.
        tls: How connections are encrypted.
        target: The kind of server that is wanted.
        shuffles_hosts: Several hosts are tried in random order.
        connect_timeout: Seconds for each host; None leaves it to the setting.
        server_settings: What the server is told at the start of each connection.
        arguments: Arguments of `asyncpg.connect` of the same meaning.
        statement_cache_size: SQLAlchemy's `prepared_statement_cache_size`; None for its default.
    """

    url: URL
    tls: TLS
    target: Target
    shuffles_hosts: bool
    connect_timeout: float | None
    server_settings: Mapping[str, str]
    arguments: Mapping[str, str | bool]
    statement_cache_size: int | None


def read_postgres_url(url: URL) -> PostgresURL:
    """Take a PostgreSQL URL apart.

    Args:
        url: As `read_database_url` returns it.

    Raises:
        RefusedParameter: It has a parameter that asyncpg cannot follow, that is unknown or that has a wrong value.
    """
    given = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    for name, value in given.items():
        _check_parameter(name, value, list(given))
    sizes = given.get("prepared_statement_cache_size")
    timeout = given.get("connect_timeout")
    return PostgresURL(
        url=_read_address(url, given),
        tls=_read_tls(given),
        target=cast(Target, _one_of(given, "target_session_attrs", _TARGETS) or "any"),
        shuffles_hosts=_one_of(given, "load_balance_hosts", ("disable", "random")) == "random",
        connect_timeout=None if timeout is None else float(_whole("connect_timeout", timeout, least=1)),
        server_settings=_read_server_settings(given),
        arguments=_read_arguments(given),
        statement_cache_size=None if sizes is None else _whole("prepared_statement_cache_size", sizes, least=0),
    )


_NO_CHECK = "asyncpg cannot check this, and leaving it out would connect to what you wanted to keep out"
_SAFER = "remove it, and let sslmode=verify-full prove who the server is"
_KEEPALIVE = "remove it: a silent server is given up after database_command_timeout"
_IN_THE_URL = "write the parameters of the service into the URL"
_OAUTH = "asyncpg cannot sign in by OAuth; use a password or a certificate"
_SEARCH_PATH = "write options=-csearch_path%3DNAME"

# libpq's, which asyncpg cannot follow, and those of other drivers that hosting platforms print. With the remedy.
_REFUSED: Mapping[str, str] = {
    "require_auth": f"{_NO_CHECK}; {_SAFER}",
    "requirepeer": f"{_NO_CHECK}; remove it",
    "requiressl": "write sslmode=require",
    "scram_client_key": "asyncpg takes a password only; use password or passfile",
    "scram_server_key": "asyncpg takes a password only; use password or passfile",
    "sslkeylogfile": "keys of connections are not written down; remove it",
    "replication": "a service has no use for a replication connection; remove it",
    "service": _IN_THE_URL,
    "servicefile": _IN_THE_URL,
    "keepalives": _KEEPALIVE,
    "keepalives_idle": _KEEPALIVE,
    "keepalives_interval": _KEEPALIVE,
    "keepalives_count": _KEEPALIVE,
    "tcp_user_timeout": _KEEPALIVE,
    "oauth_issuer": _OAUTH,
    "oauth_client_id": _OAUTH,
    "oauth_client_secret": _OAUTH,
    "oauth_scope": _OAUTH,
    "pgbouncer": "remove it, and set database_pooler to transaction",
    "connection_limit": "remove it, and set database_pool_size",
    "pool_size": "remove it, and set database_pool_size",
    "pool_timeout": "remove it, and set database_pool_timeout",
    "command_timeout": "remove it, and set database_command_timeout",
    "statement_timeout": "remove it, and set database_statement_timeout",
    "statement_cache_size": "write prepared_statement_cache_size, or set database_pooler to transaction",
    "schema": _SEARCH_PATH,
    "search_path": _SEARCH_PATH,
    "currentSchema": _SEARCH_PATH,
    "async_fallback": "remove it",
}

# Values that mean what asyncpg does anyway; with another value, the remedy.
_HARMLESS: Mapping[str, tuple[frozenset[str], str]] = {
    "channel_binding": (
        frozenset({"disable", "prefer"}),
        f"asyncpg has no channel binding; {_SAFER} (with sslrootcert=system for a public certificate)",
    ),
    "client_encoding": (frozenset({"auto", "utf8", "utf-8", "unicode"}), "text is always sent as UTF-8; remove it"),
    "gssencmode": (frozenset({"disable", "prefer"}), f"asyncpg has no GSSAPI encryption; {_SAFER}"),
    "gssdelegation": (frozenset({"0"}), "asyncpg does not delegate credentials; remove it"),
    "sslcompression": (frozenset({"0"}), "TLS is not compressed; remove it"),
    "sslsni": (frozenset({"1"}), "the server's name is always sent; remove it"),
    "sslcertmode": (frozenset({"allow", "disable"}), f"{_NO_CHECK}; remove it"),
    "min_protocol_version": (frozenset({"3.0"}), "asyncpg speaks version 3.0 of the protocol; remove it"),
    "max_protocol_version": (frozenset({"3.0", "3.2", "latest"}), "remove it"),
}

_TLS_FILES = ("sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslcrldir")
_READ = frozenset(
    {
        *("host", "hostaddr", "port", "dbname", "user", "password", "passfile"),
        *("ssl", "sslmode", "sslnegotiation", *_TLS_FILES, "ssl_min_protocol_version", "ssl_max_protocol_version"),
        *("application_name", "fallback_application_name", "options", "connect_timeout"),
        *("target_session_attrs", "load_balance_hosts", "krbsrvname", "gsslib", "prepared_statement_cache_size"),
    }
)
_SECRET = frozenset({"password", "sslpassword"})


def _check_parameter(name: str, value: str, names: list[str]) -> None:
    """Check that a parameter is known and can be followed.

    Args:
        name: The parameter.
        value: Its value.
        names: All parameters, in the order of the URL.
    """
    if name in _REFUSED:
        raise RefusedParameter(f"its parameter {name} is refused: {_REFUSED[name]}")
    if name in _HARMLESS:
        values, remedy = _HARMLESS[name]
        if value.lower() not in values:
            raise RefusedParameter(f"its parameter {name} is refused: {remedy}")
    elif name not in _READ:
        raise RefusedParameter(_describe_unknown(name, after=names[: names.index(name)]))
    if not value:
        raise RefusedParameter(f"its parameter {name} is empty: give it a value, or remove it")


def _describe_unknown(name: str, *, after: list[str]) -> str:
    if _SECRET.intersection(after) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,40}", name):
        # It may be the second half of a password with an & in it.
        return "it has an unknown parameter; write &, = and % in values as %26, %3D and %25"
    meant = get_close_matches(name, [*_READ, *_HARMLESS], n=1)
    remedy = (
        f"did you mean {meant[0]}?"
        if meant
        else "remove it; a setting of the server is written options=-cNAME%3DVALUE, and &, = and % in a value as %26, "
        "%3D and %25"
    )
    return f"its parameter {name} is unknown: {remedy}"


def _one_of(given: Mapping[str, str], name: str, values: tuple[str, ...]) -> str | None:
    """Return a parameter that has a few values, or None if it is not given."""
    value = given.get(name)
    if value is not None and value not in values:
        raise RefusedParameter(f"its parameter {name} must be one of {', '.join(values)}")
    return value


def _whole(name: str, text: str, *, least: int) -> int:
    if re.fullmatch(r"[0-9]{1,6}", text) is None or int(text) < least:
        raise RefusedParameter(f"its parameter {name} must be a whole number, {least} or more")
    return int(text)


def _read_address(url: URL, given: Mapping[str, str]) -> URL:
    """Return user, password, hosts, ports and database as SQLAlchemy has them; parameters win, as in libpq."""
    hosts, ports = _read_hosts(url, given)
    query: dict[str, str] = {}
    if len(hosts) > 1:
        query = {"host": ",".join(hosts), "port": ",".join(str(port or _DEFAULT_PORT) for port in ports)}
    elif hosts and hosts[0].startswith("/"):
        query = {"host": hosts[0]}
    return URL.create(
        "postgresql+asyncpg",
        given.get("user", url.username),
        given.get("password", url.password),
        None if query else next(iter(hosts), None),
        None if len(hosts) > 1 else next(iter(ports), None),
        given.get("dbname", url.database),
        query,
    )


def _read_hosts(url: URL, given: Mapping[str, str]) -> tuple[list[str], list[int | None]]:
    """Return the hosts and, for each, its port; without a host one port at most."""
    value = url.query.get("host", ())
    # A host with its port, `host=one:5432&host=two:5432`, is SQLAlchemy's way to write it.
    several = value.split(",") if isinstance(value, str) else list(value)
    pairs = [_split_port(host) for host in several] or ([(unquote(url.host), "")] if url.host else [])
    hosts, ports = [host for host, _ in pairs], [port for _, port in pairs]
    if "hostaddr" in given:
        if hosts:
            raise RefusedParameter("its parameter hostaddr is refused beside a host: remove one of them")
        hosts = given["hostaddr"].split(",")
        ports = [""] * len(hosts)
    if not all(hosts):
        raise RefusedParameter("its parameter host has an empty name in its list: write all of them")
    if "port" in given:
        listed = given["port"].split(",")
        if any(ports) or len(listed) not in {1, len(hosts)}:
            raise RefusedParameter("its parameter port must have one number, or one for each host")
        ports = listed * len(hosts) if len(listed) == 1 and hosts else listed
    elif url.port is not None and not any(ports):
        ports = [str(url.port)] * max(1, len(hosts))
    return hosts, [_read_port(port) for port in ports]


_HOST_WITH_PORT = re.compile(r"\[([^\]]*)\](?::(.*))?|([^:/]*):([^:]*)")


def _split_port(host: str) -> tuple[str, str]:
    """Split `host:port` and `[::1]:port`; a bare IPv6 address and the directory of a socket have no port."""
    found = _HOST_WITH_PORT.fullmatch(host)
    return (found[1] or found[3] or "", found[2] or found[4] or "") if found else (host, "")


def _read_port(text: str) -> int | None:
    if text and (re.fullmatch(r"[0-9]{1,5}", text) is None or not 0 < int(text) < 65536):
        raise RefusedParameter("its parameter port must be a number from 1 to 65535")
    return int(text) if text else None


def _read_tls(given: Mapping[str, str]) -> TLS:
    mode = _read_ssl_mode(given)
    files = [name for name in _TLS_FILES if name in given]
    root = given.get("sslrootcert")
    if root == SYSTEM_ROOTS:
        mode = mode or "verify-full"
        if mode not in {"verify-full", "disable"}:
            raise RefusedParameter("its parameter sslrootcert=system is refused with a weaker mode than verify-full")
    if files and mode in {None, "allow", "prefer"}:
        raise RefusedParameter(
            f"its parameter {files[0]} has no use without sslmode=require, verify-ca or verify-full: the others "
            "fall back to a connection that is not encrypted"
        )
    if "sslkey" in given and "sslcert" not in given:
        raise RefusedParameter("its parameter sslkey needs sslcert, the certificate that belongs to it")
    if _one_of(given, "sslnegotiation", ("postgres", "direct")) == "direct" and mode in {None, *_SSL_MODES[:3]}:
        raise RefusedParameter("its parameter sslnegotiation=direct needs sslmode=require, verify-ca or verify-full")
    minimum = _one_of(given, "ssl_min_protocol_version", _TLS_VERSIONS) or "TLSv1.2"
    maximum = _one_of(given, "ssl_max_protocol_version", _TLS_VERSIONS)
    if maximum is not None and _TLS_VERSIONS.index(maximum) < _TLS_VERSIONS.index(minimum):
        raise RefusedParameter(f"its parameter ssl_max_protocol_version is below ssl_min_protocol_version ({minimum})")
    return TLS(
        mode=mode,
        root=root,
        certificate=given.get("sslcert"),
        key=given.get("sslkey"),
        key_password=given.get("sslpassword"),
        revoked=given.get("sslcrl"),
        revoked_directory=given.get("sslcrldir"),
        minimum=minimum,
        maximum=maximum,
        sends_certificate=given.get("sslcertmode") != "disable",
    )


def _read_ssl_mode(given: Mapping[str, str]) -> SSLMode | None:
    if "ssl" in given and "sslmode" in given:
        raise RefusedParameter("its parameters ssl and sslmode say the same thing: remove ssl")
    if given.get("ssl") == "true":  # JDBC's; libpq takes it, too
        return "require"
    name = "ssl" if "ssl" in given else "sslmode"
    return cast(SSLMode | None, _one_of(given, name, _SSL_MODES))


def _read_arguments(given: Mapping[str, str]) -> dict[str, str | bool]:
    _one_of(given, "gsslib", ("gssapi", "sspi"))
    arguments: dict[str, str | bool] = {
        name: given[name] for name in ("passfile", "krbsrvname", "gsslib") if name in given
    }
    if "sslnegotiation" in given:
        arguments["direct_tls"] = given["sslnegotiation"] == "direct"
    return arguments


# Settings of the server that are ours; what the URL says of them would be overruled without a word.
_OURS: Mapping[str, str] = {
    "application_name": "write it as the parameter application_name",
    "client_encoding": "text is always sent as UTF-8; leave it out",
    "default_transaction_read_only": "each operation chooses its session; leave it out",
    "statement_timeout": "leave it out, and set database_statement_timeout",
    "timezone": "sessions are in UTC; leave it out",
}


def _read_server_settings(given: Mapping[str, str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    name = given.get("application_name") or given.get("fallback_application_name")
    if name:
        settings["application_name"] = name
    options = given.get("options", "").strip()
    if options:
        for one in _settings_in(options):
            if one in _OURS:
                raise RefusedParameter(f"its parameter options has {one}, which is refused: {_OURS[one]}")
        # As it stands, like libpq: some platforms put the name of a project or endpoint there.
        settings["options"] = options
    return settings


def _settings_in(options: str) -> Iterator[str]:
    """Yield the names of the settings in command-line options of a server process, in lower case."""
    words = iter(re.split(r"(?<!\\)\s+", options))
    for word in words:
        if word == "-c":
            assignment = next(words, "")
        elif word.startswith(("-c", "--")):
            assignment = word[2:]
        else:
            continue
        yield assignment.partition("=")[0].strip().replace("-", "_").lower()
