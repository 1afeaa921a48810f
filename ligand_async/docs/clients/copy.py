"""The copy of the document that a generator reads: what generators make nothing good of is put in other words.

The document that is served is never changed. What is different in the copy:

- `servers` has the one address that was chosen, which becomes the client's default.
- The ways to send an access token (`bearer`, `openIdConnect`, `oauth2`) are one, `bearer`: a client is given a token
  and does not sign anybody in.
- A body has the first of several media types whose schemas are equal: openapi-python-client 0.29 makes one branch for
  each, and the last one wins.
- Lists of dates and times in a query string are lists of text: typescript-fetch of openapi-generator 7.26 writes them
  as JavaScript prints them.
- Members of an enumeration that begin with a hyphen, as sorts do, are named: `NameDesc`, not `VALUE_1` or `Name2`.
"""

import re
from copy import deepcopy
from typing import Any

Document = dict[str, Any]

BEARER = {"type": "http", "scheme": "bearer"}
TOKEN_TYPES = frozenset({"oauth2", "openIdConnect"})
TIMES = frozenset({"date", "date-time", "time"})
METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
MEMBER = re.compile(r"-?[A-Za-z]\w*")


def copy_for_generators(document: Document, *, server: str | None) -> Document:
    """Return what a generator reads.

    Args:
        document: As it is served.
        server: The client's default address; without one it is for the caller to say.
    """
    copied = deepcopy(document)
    copied["servers"] = [{"url": server}] if server is not None else []
    components = copied.setdefault("components", {})
    schemes = components.get("securitySchemes", {})
    tokens = {name for name, scheme in schemes.items() if is_of_tokens(scheme)}
    everywhere = copied.pop("security", [])
    closed = [close(operation, tokens, everywhere) for operation in operations_of(copied)]
    others = {name: scheme for name, scheme in schemes.items() if name not in tokens}
    if found := others | ({"bearer": BEARER} if any(closed) else {}):
        components["securitySchemes"] = found
    else:
        components.pop("securitySchemes", None)
    for operation in operations_of(copied):
        keep_one_media_type(operation.get("requestBody", {}).get("content", {}))
        for parameter in operation.get("parameters", ()):
            forget_times(parameter)
    name_members(copied)
    return copied


def operations_of(document: Document) -> list[dict[str, Any]]:
    """Return the operations of a document."""
    return [operation for item in document["paths"].values() for method, operation in item.items() if method in METHODS]


def is_of_tokens(scheme: dict[str, Any]) -> bool:
    """Tell whether a scheme is a way to send an access token."""
    return scheme["type"] in TOKEN_TYPES or (scheme["type"] == "http" and scheme["scheme"].lower() == "bearer")


def close(operation: dict[str, Any], tokens: set[str], everywhere: list[dict[str, Any]]) -> bool:
    """Say what an operation asks for in the copy's schemes; return whether it may be a token.

    Args:
        operation: The operation.
        tokens: The schemes that are ways to send an access token.
        everywhere: What is asked for where an operation does not say.
    """
    asked = operation.pop("security", everywhere)
    named = [requirement for requirement in asked if not requirement.keys() & tokens]
    takes_token = len(named) < len(asked)
    security = [requirement for index, requirement in enumerate(named) if requirement not in named[:index]]
    operation["security"] = ([{"bearer": []}] if takes_token else []) + security
    return takes_token


def keep_one_media_type(content: dict[str, Any]) -> None:
    """Take away the other media types of a body where all have the same schema."""
    first, *others = content.values() if content else ({},)
    if others and all(other == first for other in others):
        for name in list(content)[1:]:
            del content[name]


def forget_times(parameter: dict[str, Any]) -> None:
    """Take away the format of dates and times where a parameter is a list of them."""
    schema = parameter.get("schema", {})
    items = schema.get("items", {})
    if parameter.get("in") == "query" and items.get("format") in TIMES:
        parameter["schema"] = {**schema, "items": {key: value for key, value in items.items() if key != "format"}}


def name_members(part: Any) -> None:
    """Name the members of enumerations that have names with a hyphen before them."""
    if isinstance(part, list):
        for value in part:
            name_members(value)
        return
    if not isinstance(part, dict):
        return
    members = part.get("enum")
    if isinstance(members, list) and all(isinstance(member, str) and MEMBER.fullmatch(member) for member in members):
        names = [name_of(member) for member in members]
        if any(member.startswith("-") for member in members) and len(set(names)) == len(names):
            part["x-enum-varnames"] = names
    for value in part.values():
        name_members(value)


def name_of(member: str) -> str:
    """Return what a member of an enumeration is called, in the form that generators make theirs of."""
    words = [*member.removeprefix("-").split("_"), *(["desc"] if member.startswith("-") else [])]
    return "".join(word[:1].upper() + word[1:] for word in words)
