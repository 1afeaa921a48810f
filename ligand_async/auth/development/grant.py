"""The client credentials grant of the development issuer (RFC 6749 section 4.4): any client is taken at its word."""

import re
from dataclasses import dataclass
from urllib.parse import unquote_plus

from quart import Request
from werkzeug.datastructures import MultiDict

FORM = "application/x-www-form-urlencoded"
SCOPES = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*")  # RFC 6749 section 3.3
CLIENT = re.compile(r"[\x20-\x7E]+")  # RFC 6749 appendix A.1
PARAMETERS = ("grant_type", "client_id", "scope", "roles")


class GrantError(Exception):
    """Why no token is issued (RFC 6749 section 5.2).

    Args:
        error: One of the codes there.
        description: What is wrong, and what would do.
    """

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = 401 if error == "invalid_client" else 400


@dataclass(frozen=True, slots=True)
class Grant:
    """What a client asked for.

    Attributes:
        client_id: As it calls itself.
        scopes: What the token may be used for.
        roles: What the client is to be; a parameter that no real issuer has.
    """

    client_id: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]


async def read_grant(request: Request) -> Grant:
    """Read a request for a token.

    Raises:
        GrantError: It is not one that can be granted.
    """
    if request.mimetype != FORM:
        raise GrantError("invalid_request", f"send the parameters as {FORM}")
    form = await request.form
    if twice := [name for name in PARAMETERS if len(form.getlist(name)) > 1]:
        raise GrantError("invalid_request", f"{twice[0]} is there more than once")
    if not form.get("grant_type"):
        raise GrantError("invalid_request", "grant_type is missing; write client_credentials")
    if form["grant_type"] != "client_credentials":
        raise GrantError("unsupported_grant_type", "the only grant_type here is client_credentials")
    return Grant(
        client_id=read_client(request, form),
        scopes=read_names(form.get("scope", ""), "invalid_scope", "scope"),
        roles=read_names(form.get("roles", "").replace(",", " "), "invalid_request", "roles"),
    )


def read_client(request: Request, form: MultiDict[str, str]) -> str:
    """Return what the client calls itself, in the header or in the form; its secret may be any or none.

    Raises:
        GrantError: It says nothing, or two things.
    """
    header = request.authorization
    named = {unquote_plus(header.username or "")} if header is not None and header.type == "basic" else set()
    named |= {form["client_id"]} if form.get("client_id") else set()
    if len(named) > 1:
        raise GrantError("invalid_request", "the header and the form name different clients")
    client_id = next(iter(named), "")
    if not CLIENT.fullmatch(client_id):
        raise GrantError("invalid_client", "client_id is missing or not in ASCII; any other name does")
    return client_id


def read_names(text: str, error: str, parameter: str) -> tuple[str, ...]:
    """Return names that are separated by spaces.

    Raises:
        GrantError: They are not.
    """
    text = text.strip(" ")
    if text and not SCOPES.fullmatch(text):
        raise GrantError(error, f"{parameter} is not a list of names in ASCII, separated by single spaces")
    return tuple(dict.fromkeys(text.split()))
