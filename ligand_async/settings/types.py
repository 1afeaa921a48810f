"""Validated types of settings: URLs, proxies, origins and quotas."""

import re
from collections.abc import Container
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from ligand_async.settings.libpq import RefusedParameter, read_postgres_url

MASK = "***"
_HTTP = frozenset({"http", "https"})
_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*):\S*(?=@)")


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Marks a secret as a database URL, which can be shown without its password."""


# libpq's form of a URL: no driver, and perhaps several hosts.
_LIBPQ_URL = re.compile(r"(postgres(?:ql)?://(?:[^:/?@]*(?::[^@]*)?@)?)([^/?]*)([^?]*)\??(.*)", re.DOTALL)


def read_database_url(text: str) -> URL | None:
    """Return a SQLAlchemy URL, or None if the text is not one.

    `postgres://` and `postgresql://` are read as libpq does: there may be several hosts, a host may be the directory of
    a socket (`%2Frun%2Fpostgresql`), and a plus sign stands for itself.
    """
    found = _LIBPQ_URL.fullmatch(text)
    try:
        if found is None:
            return make_url(text)
        head, hosts, database, query = found.groups()
        url = make_url(f"{head}{'' if ',' in hosts else hosts}{database}")
        several = [("host", unquote(host)) for host in hosts.split(",")] if "," in hosts else []
        return url.update_query_pairs([*several, *parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)])
    except (ArgumentError, ValueError):
        return None


def sqlite_file(url: URL | None) -> Path | None:
    """Return the file that a SQLite URL names; None for another database and for one in memory."""
    if url is None or url.get_backend_name() != "sqlite":
        return None
    name = (url.database or "").partition("?")[0].removeprefix("file:")
    if name in {"", ":memory:"} or url.query.get("mode") == "memory":
        return None
    return Path(name)


def is_postgresql(url: URL) -> bool:
    """Return whether a URL names PostgreSQL by the driver of this framework, or by no driver."""
    return url.drivername in {"postgres", "postgresql", "postgresql+asyncpg"}


def _check_database_url(value: SecretStr) -> SecretStr:
    """Check a database URL; SQLite in memory is refused, because each connection would have its own database."""
    url = read_database_url(value.get_secret_value())
    if url is None:
        raise PydanticCustomError(
            "ligand_database_url",
            "write it as postgresql://user:password@host/database or sqlite+aiosqlite:///path/to/file.db",
        )
    if url.get_backend_name() == "sqlite" and sqlite_file(url) is None:
        raise PydanticCustomError("ligand_in_memory", "an in-memory database is refused, name a file")
    if is_postgresql(url):
        try:
            read_postgres_url(url)
        except RefusedParameter as error:
            raise PydanticCustomError("ligand_database_parameter", "{reason}", {"reason": str(error)}) from None
    return value


def read_url(text: str, schemes: Container[str]) -> SplitResult | None:
    """Return the parts of a URL that has one of the schemes, a host and a valid port; None for any other text."""
    try:
        url = urlsplit(text)
        return url if url.scheme in schemes and url.hostname and url.port != 0 else None
    except ValueError:
        return None


def is_base_url(text: str) -> bool:
    """Return whether a text is an http or https URL without user, query and fragment, to which paths can be added."""
    url = read_url(text, _HTTP)
    return url is not None and url.username is None and text.isprintable() and not any(mark in text for mark in "?#\\ ")


def is_issuer(text: str) -> bool:
    """Return whether a text is the identifier of an issuer (OpenID Connect Discovery 1.0 section 3, RFC 8414)."""
    return is_base_url(text) and text.isascii() and metadata_path_of(text) is None


_WELL_KNOWN = re.compile(r"(/|%2f)+(\.|%2e)well-known(?=/|%2f|$)", re.IGNORECASE)
_METADATA = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")


def metadata_path_of(url: str) -> str | None:
    """Return the part that makes an URL the address of an issuer's metadata, or of its keys, or None.

    OpenID Connect Discovery 1.0 section 4 appends it to the issuer, RFC 8414 section 3 puts it after the host.
    """
    found = _WELL_KNOWN.search(url)
    if found is None:
        return None
    return next((path for path in _METADATA if path in url), "/.well-known and what follows")


def _check_service_url(value: str) -> str:
    """Return a URL that clients can call, without the slash at its end."""
    if not is_base_url(value):
        raise PydanticCustomError(
            "ligand_service_url", "write it as https://host or https://host:port/path, no user, query or fragment"
        )
    return value.rstrip("/")


def masked(value: str) -> str:
    """Return a database URL without its password and options, to be printed.

    Args:
        value: The URL; a text that is not one is masked completely.
    """
    url = read_database_url(value)
    if url is None:
        return MASK
    shown = url.set(query={}).render_as_string(hide_password=True)
    return f"{shown}?{MASK}" if url.query else shown


def without_passwords(text: str) -> str:
    """Hide the password of every URL in a text."""
    return _PASSWORD.sub(rf"\1:{MASK}", text)


DatabaseURL = Annotated[SecretStr, AfterValidator(_check_database_url), DatabaseAddress()]
ServiceURL = Annotated[str, AfterValidator(_check_service_url)]

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_PART = re.compile(r"\s*([0-9]{1,9})\s*(?:/|\s+per\s+)\s*([0-9]{1,4})?\s*(second|minute|hour|day)s?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class Quota:
    """So many requests in a window.

    Attributes:
        seconds: How long a window is.
        amount: How many requests it takes.
    """

    seconds: int
    amount: int


def read_quotas(text: str) -> tuple[Quota, ...]:
    """Read quotas, such as `10/minute` or `10 per 5 minutes; 1000/day`; return them with the shortest window first.

    Raises:
        ValueError: The text is something else, a number in it is 0, or two windows are of the same length.
    """
    found = [_PART.fullmatch(part) for part in re.split("[;,]", text)]
    quotas = sorted(
        Quota(int(match[2] or 1) * _SECONDS[match[3].lower()], int(match[1])) for match in found if match is not None
    )
    lengths = {quota.seconds for quota in quotas}
    if len(lengths) != len(found) or not all(quota.amount and quota.seconds for quota in quotas):
        raise ValueError("write it as 10/minute, or 10 per 5 minutes; 1000/day, each window once")
    return tuple(quotas)


ANY_ORIGIN = "*"
_MAX_HOPS = 9
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_HOST = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
# Segments of a path (RFC 3986) without escapes. None is empty: an address that begins with `//` would name a host.
_PATH_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+;=:@-]+)*")
_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _take_hops(value: Any) -> Any:
    """Return a plain number as a hop count."""
    return (str(value),) if isinstance(value, int) and not isinstance(value, bool) else value


def _check_proxies(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) == 1 and value[0].isdecimal():
        if value[0].isascii() and 1 <= int(value[0]) <= _MAX_HOPS:
            return value
    elif all(map(_is_network, value)):
        return value
    raise PydanticCustomError(
        "ligand_proxies",
        "write how many proxies there are, 1 to 9, or their networks, such as 10.0.0.0/8,127.0.0.1; leave it empty "
        "when there are none",
    )


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _check_exact_origins(value: tuple[str, ...]) -> tuple[str, ...]:
    if all(map(is_origin, value)):
        return value
    raise PydanticCustomError(
        "ligand_exact_origins",
        "write origins as browsers send them, https://app.example.org: scheme and host in lower case, a port only if "
        "it is not the scheme's own, no path, no *",
    )


def _check_origins(value: tuple[str, ...]) -> tuple[str, ...]:
    """Check origins as browsers send them (RFC 6454 section 7)."""
    if value == (ANY_ORIGIN,) or all(map(is_origin, value)):
        return value
    raise PydanticCustomError(
        "ligand_origins",
        "write origins as browsers send them, https://app.example.org: scheme and host in lower case, a port only if "
        "it is not the scheme's own, no path; or * alone",
    )


def is_origin(text: str) -> bool:
    """Return whether a text is an origin as browsers send it (RFC 6454 section 6.2)."""
    if _ORIGIN.fullmatch(text) is None:
        return False
    try:
        url = urlsplit(text)
        return url.port != 0 and (url.port is None or url.port != _DEFAULT_PORTS.get(url.scheme))
    except ValueError:
        return False


def is_path_prefix(text: str) -> bool:
    """Return whether a text is a path that can stand before other paths: segments without escapes, or nothing."""
    return _PATH_PREFIX.fullmatch(text) is not None


def _check_hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    if all(map(_HOST.fullmatch, value)):
        return value
    raise PydanticCustomError(
        "ligand_hosts",
        "write hosts in lower case without scheme and port, api.example.org, or *.example.org for all below it",
    )


def is_field_name(text: str) -> bool:
    """Return whether a text is a token of HTTP, such as the name of a header (RFC 9110 section 5.6.2)."""
    return _FIELD_NAME.fullmatch(text) is not None


def _check_field_names(value: tuple[str, ...]) -> tuple[str, ...]:
    if all(map(is_field_name, value)) and "*" not in value:
        return value
    raise PydanticCustomError("ligand_field_names", "write names of headers, such as X-Tenant")


def _check_quotas(value: str) -> str:
    try:
        read_quotas(value)
    except ValueError as error:
        raise PydanticCustomError("ligand_quotas", "write it as 100/minute, or 10/second; 1000 per 2 hours") from error
    return value


def _check_redis_url(value: SecretStr) -> SecretStr:
    if read_url(value.get_secret_value(), {"redis", "rediss"}) is None:
        raise PydanticCustomError("ligand_redis_url", "write it as redis://host:6379/0, or rediss:// for TLS")
    return value


def _check_path_prefix(value: str) -> str:
    path = value.removesuffix("/")
    if is_path_prefix(path):
        return path
    raise PydanticCustomError("ligand_path_prefix", "write a path that begins with /, such as /api, without escapes")


Proxies = Annotated[tuple[str, ...], BeforeValidator(_take_hops), AfterValidator(_check_proxies)]
Hosts = Annotated[tuple[str, ...], AfterValidator(_check_hosts)]
ExactOrigins = Annotated[tuple[str, ...], AfterValidator(_check_exact_origins)]
Origins = Annotated[tuple[str, ...], AfterValidator(_check_origins)]
FieldNames = Annotated[tuple[str, ...], AfterValidator(_check_field_names)]
Quotas = Annotated[str, AfterValidator(_check_quotas)]
PathPrefix = Annotated[str, AfterValidator(_check_path_prefix)]
RedisURL = Annotated[SecretStr, AfterValidator(_check_redis_url)]
