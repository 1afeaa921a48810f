"""The settings about who is trusted on the way to the service: which values are refused."""

import re
from ipaddress import ip_network
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

from ligand_async.quotas import read_quotas

ANY_ORIGIN = "*"
MAX_HOPS = 9
DEFAULT_PORTS = {"http": 80, "https": 443}
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
HOST = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def take_hops(value: Any) -> Any:
    """Take a plain number for a hop count."""
    return (str(value),) if isinstance(value, int) and not isinstance(value, bool) else value


def check_proxies(value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what is neither one hop count nor networks."""
    if len(value) == 1 and value[0].isdecimal():
        if value[0].isascii() and 1 <= int(value[0]) <= MAX_HOPS:
            return value
    elif all(map(is_network, value)):
        return value
    raise PydanticCustomError(
        "ligand_proxies",
        "write how many proxies there are, 1 to 9, or their networks, such as 10.0.0.0/8,127.0.0.1; leave it empty "
        "when there are none",
    )


def is_network(text: str) -> bool:
    """Tell whether a text is a network, or one address."""
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def check_origins(value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what no browser would send as an origin (RFC 6454 section 7)."""
    if value == (ANY_ORIGIN,) or all(map(is_origin, value)):
        return value
    raise PydanticCustomError(
        "ligand_origins",
        "write origins as browsers send them, https://app.example.org: scheme and host in lower case, a port only if "
        "it is not the scheme's own, no path; or * alone",
    )


def is_origin(text: str) -> bool:
    """Tell whether a text is the origin of a page."""
    if ORIGIN.fullmatch(text) is None:
        return False
    try:
        url = urlsplit(text)
        return url.port != 0 and (url.port is None or url.port != DEFAULT_PORTS.get(url.scheme))
    except ValueError:
        return False


def check_hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what no `Host` header could match."""
    if all(map(HOST.fullmatch, value)):
        return value
    raise PydanticCustomError(
        "ligand_hosts",
        "write hosts in lower case without scheme and port, api.example.org, or *.example.org for all below it",
    )


def check_field_names(value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what is no name of a header."""
    if all(map(FIELD_NAME.fullmatch, value)) and "*" not in value:
        return value
    raise PydanticCustomError("ligand_field_names", "write names of headers, such as X-Tenant")


def check_quotas(value: str) -> str:
    """Refuse what is no quota."""
    try:
        read_quotas(value)
    except ValueError as error:
        raise PydanticCustomError("ligand_quotas", "write it as 100/minute, or 10/second; 1000 per 2 hours") from error
    return value


def check_redis_url(value: SecretStr) -> SecretStr:
    """Refuse what is no address of a Redis."""
    try:
        url = urlsplit(value.get_secret_value())
        whole = url.scheme in {"redis", "rediss"} and bool(url.hostname) and url.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise PydanticCustomError("ligand_redis_url", "write it as redis://host:6379/0, or rediss:// for TLS")
    return value


Proxies = Annotated[tuple[str, ...], BeforeValidator(take_hops), AfterValidator(check_proxies)]
Hosts = Annotated[tuple[str, ...], AfterValidator(check_hosts)]
Origins = Annotated[tuple[str, ...], AfterValidator(check_origins)]
FieldNames = Annotated[tuple[str, ...], AfterValidator(check_field_names)]
Quotas = Annotated[str, AfterValidator(check_quotas)]
RedisURL = Annotated[SecretStr, AfterValidator(check_redis_url)]
