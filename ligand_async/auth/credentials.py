"""The `Authorization` header (RFC 9110 section 11.6.2), read strictly."""

import re
from typing import NamedTuple

from quart.wrappers.base import BaseRequestWebsocket

from ligand_async.auth.refusals import InvalidRequest

SCHEME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Credentials(NamedTuple):
    """What a header says.

    Attributes:
        scheme: In lower case.
        value: What follows it; empty where nothing does.
    """

    scheme: str
    value: str


def credentials_of(connection: BaseRequestWebsocket) -> Credentials | None:
    """Return what a request or a handshake says in `Authorization`; None where it has no such header.

    Raises:
        InvalidRequest: It has two, or one that does not begin with a scheme.
    """
    values = connection.headers.getlist("Authorization")
    if not values:
        return None
    if len(values) > 1:
        raise InvalidRequest("more than one Authorization header")
    scheme, _, value = values[0].strip(" \t").partition(" ")
    if not SCHEME.fullmatch(scheme):
        raise InvalidRequest("the Authorization header does not begin with a scheme")
    return Credentials(scheme.lower(), value.lstrip(" "))
