"""From pydantic's errors to ours: where, what and a code, never the value."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from ligand_async.errors import InvalidPart, UnprocessableContent

Place = Literal["pointer", "parameter", "header", "cookie"]

MAX_PARTS = 100  # a body can be wrong in more places than anybody reads
SHORTEST_ECHO = 3  # a shorter value is found in any sentence

# pydantic's own sentences for these hold what was sent, or a piece of it.
SENTENCES = {
    "union_tag_invalid": "Input tag does not match any of the expected tags",
    "uuid_parsing": "Input should be a valid UUID",
    "url_parsing": "Input should be a valid URL",
    "url_syntax_violation": "Input should be a valid URL",
}
NEUTRAL = "Input is not valid"


def refuse(error: ValidationError, *, place: Place, names: Mapping[str, str] | None = None) -> UnprocessableContent:
    """Make the 422 of a validation error.

    Args:
        error: As pydantic raised it.
        place: Where the values came from.
        names: From field keys to the names on the wire, where they differ.
    """
    parts = []
    for item in error.errors(include_url=False, include_context=False)[:MAX_PARTS]:
        location = item["loc"]
        where = json_pointer(location) if place == "pointer" else wire_path(location, names or {})
        parts.append(InvalidPart(sentence(item["type"], item["msg"], item["input"]), item["type"], **{place: where}))
    return UnprocessableContent("the request does not fit its schema", errors=parts)


def sentence(code: str, message: str, sent: Any) -> str:
    """Return what is said about a value without saying the value; a service's own validator may have written it."""
    if code in SENTENCES:
        return SENTENCES[code]
    echo = str(sent) if isinstance(sent, str | int | float) else ""
    return NEUTRAL if len(echo) >= SHORTEST_ECHO and echo in message else message


def json_pointer(location: Sequence[str | int]) -> str:
    """Write a location as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in location)


def wire_path(location: Sequence[str | int], names: Mapping[str, str]) -> str:
    """Write a location as the name that was sent."""
    return names.get(str(location[0]), str(location[0])) if location else ""
