"""The 422 that a validation error becomes: the place, a sentence and a code of each mistake, never the value."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, takewhile
from typing import Any, Literal, get_args

from pydantic import ValidationError
from pydantic_core.core_schema import ErrorType

from ligand_async.errors import InvalidPart, ValidationFailed
from ligand_async.web.validation import errors_of

Place = Literal["pointer", "parameter", "header", "cookie"]
_Location = tuple[str | int, ...]

MAX_PARTS = 100  # a body can be wrong in more places than a person reads
_MAX_PIECES = 1000  # of a value, looked for in a message

# A name that is not declared is sent back only if it is short and plain.
_PLAIN = re.compile(r"[\w .,:;/~@$()\[\]-]{1,64}")

# pydantic's own sentences for these contain the value, or a piece of it.
_SENTENCES = {
    "union_tag_invalid": "Input tag does not match any of the expected tags",
    "uuid_parsing": "Input should be a valid UUID",
    "url_parsing": "Input should be a valid URL",
    "url_syntax_violation": "Input should be a valid URL",
}
_NEUTRAL = "Input is not valid"
DETAIL = "the request does not fit its schema"


def refuse(
    error: ValidationError, *, place: Place, names: Mapping[str, str] | None = None, document: Any = None
) -> ValidationFailed:
    """Return the 422 for a validation error.

    Args:
        error: As pydantic raised it.
        place: The part of the request that the values are from.
        names: The names on the wire by field, where the two differ.
        document: The body, to make pointers into it: pydantic's locations also name members of its unions.
    """
    return refuse_all(errors_of(error), place=place, names=names, document=document)


def refuse_all(
    errors: Sequence[Any],
    *,
    place: Place,
    names: Mapping[str, str] | None = None,
    document: Any = None,
    prefix: tuple[str, ...] = (),
) -> ValidationFailed:
    """Return the 422 for errors as pydantic writes them; the first `MAX_PARTS` are told.

    Args:
        errors: The errors.
        place: As for `refuse`.
        names: As for `refuse`.
        document: As for `refuse`.
        prefix: The steps of a pointer to what was validated.
    """
    parts = []
    for item in errors[:MAX_PARTS]:
        location = item["loc"]
        if place == "pointer":
            found = _locate(location, item["type"], document) if document else location
            where: str | None = json_pointer((*prefix, *found))
        else:
            where = wire_path(location, names or {})
        parts.append(InvalidPart(sentence(item), item["type"], **{place: where}))
    return ValidationFailed(DETAIL, errors=parts)


def refuse_keys(location: _Location, names: Sequence[str]) -> ValidationFailed:
    """Return the 422 for keys that an object of the body must not have."""
    places = [json_pointer((*location, name)) for name in names[:MAX_PARTS]]
    parts = [InvalidPart("Extra inputs are not permitted", "extra_forbidden", pointer=place) for place in places]
    return ValidationFailed(DETAIL, errors=parts)


def refuse_part(detail: str, code: str, location: _Location) -> ValidationFailed:
    """Return the 422 for one part of the body."""
    return ValidationFailed(DETAIL, errors=[InvalidPart(detail, code, pointer=json_pointer(location))])


# The codes of pydantic's own validators; their sentences hold what the schema says, and no value but in `_SENTENCES`.
_OWN_CODES = frozenset(get_args(ErrorType)) - {"value_error", "assertion_error"}
_PREFIXES = ("Value error, ", "Assertion failed, ")


def sentence(item: Any) -> str:
    """Return the message of one of pydantic's errors if it repeats nothing that was sent, else a neutral one.

    Of a service's own validators the message is shown if it is a constant: for a ValueError and an assertion a text
    that stands in the code that raised it; for a `PydanticCustomError`, whose template is a constant, unless a value in
    it was sent.

    Args:
        item: The error, with its context.
    """
    code, message, context = item["type"], item["msg"], item.get("ctx") or {}
    if code in _SENTENCES:
        return _SENTENCES[code]
    if code in _OWN_CODES:
        return str(message)
    if code in {"value_error", "assertion_error"}:
        return str(message) if _is_constant(message, context.get("error")) else _NEUTRAL
    sent = {*islice(_pieces(item["input"]), _MAX_PIECES)}
    return _NEUTRAL if any(str(value) in sent for value in context.values()) or message in sent else str(message)


def _is_constant(message: str, error: Any) -> bool:
    """Return whether the text of an exception stands as it is in the code that raised it, or in a name of a module."""
    if not isinstance(error, BaseException):
        return False
    text = str(error)
    if not text:
        return message in _PREFIXES
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if text in frame.f_code.co_consts or any(value is error.args[0] for value in frame.f_globals.values()):
            return True
        trace = trace.tb_next
    return False


_LAZY = "LazyLoadRefused: "  # as pydantic writes the error of an attribute


def advice_of(item: Any) -> str | None:
    """Return what happened and what to write, for errors of entities that a model cannot read; None for others.

    Args:
        item: One of pydantic's errors, with its context. The advice holds no value.
    """
    context: Any = item.get("ctx", {})
    if item["type"] == "get_attribute_error":
        reason = str(context.get("error", ""))
        return reason.removeprefix(_LAZY) if reason.startswith(_LAZY) else None
    kind = type(item["input"])
    if item["type"] in {"model_type", "dataclass_type"} and hasattr(kind, "__mapper__"):
        name = context.get("class_name", "the model")
        return (
            f"{name} does not read the attributes of an entity such as {kind.__name__}; derive it from ReadSchema, "
            f"give it ConfigDict(from_attributes=True), or write {name}.model_validate(entity, from_attributes=True)"
        )
    return None


def _pieces(sent: Any) -> Iterator[str]:
    match sent:
        case str() | int() | float():
            yield str(sent)
        case dict():
            for part in sent.values():
                yield from _pieces(part)
        case list() | tuple():
            for part in sent:
                yield from _pieces(part)


def _locate(location: _Location, code: str, document: Any) -> _Location:
    """Leave out the steps of a location that are not in the document, such as the members of a union."""
    found: list[str | int] = []
    for position, step in enumerate(location):
        is_last = position == len(location) - 1
        if _leads_on(document, step):
            document = document[step]
        elif not (is_last and code == "missing" and isinstance(document, dict)):
            continue
        found.append(step)
    return tuple(found)


def _leads_on(document: Any, step: str | int) -> bool:
    if isinstance(document, list):
        return isinstance(step, int) and 0 <= step < len(document)
    return isinstance(document, dict) and step in document


def _is_plain(step: str | int) -> bool:
    return isinstance(step, int) or _PLAIN.fullmatch(step) is not None


def plain_location(location: _Location) -> _Location:
    """Return a location up to the first name that is not plain."""
    return tuple(takewhile(_is_plain, location))


def json_pointer(location: Sequence[str | int]) -> str:
    """Write a location as a JSON pointer (RFC 6901), up to the first name that is not plain."""
    steps = plain_location(tuple(location))
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def wire_path(location: Sequence[str | int], names: Mapping[str, str]) -> str | None:
    """Write a location as the name that was sent; None if that is not plain, or if the whole was refused."""
    if not location:
        return None
    name = names.get(str(location[0]), str(location[0]))
    return name if _is_plain(name) else None
