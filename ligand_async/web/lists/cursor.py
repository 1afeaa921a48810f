"""Cursors: signed positions in a list, and the conditions for the rows after a position."""

import hashlib
import hmac
import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from operator import ge, gt, le, lt
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    Dialect,
    Double,
    Float,
    Interval,
    Numeric,
    and_,
    false,
    literal,
    or_,
    tuple_,
    type_coerce,
)
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine

from ligand_async.errors import InvalidPart, ValidationFailed
from ligand_async.web.invalid import DETAIL
from ligand_async.web.lists.order import Key, PageNotPossible

PARAMETER = "cursor"
_PURPOSE = b"ligand_async cursor 1"
_TAG_BYTES = 16  # of HMAC-SHA256: 128 bits
MAX_LENGTH = 2048  # characters: a request's target has 8 KiB for everything


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place where a page begins.

    Attributes:
        values: The position: one value for each key. None is the beginning of the list, or its end if `backward`.
        backward: Whether the page lies before the position.
    """

    values: tuple[Any, ...] | None
    backward: bool


class Seal:
    """Writes and reads the cursors of one list.

    The text is `base64url(tag || JSON)`. The list, its order and its filters are part of the tag and not of the text: a
    cursor of another list is refused like a forged one. It is signed and not encrypted.

    Args:
        secret: The service's secret key.
        binding: Bytes that stand for the list, its order and its filters.
    """

    def __init__(self, secret: str, binding: bytes) -> None:
        self._key = hmac.digest(secret.encode(), _PURPOSE, "sha256")
        self._binding = hashlib.sha256(binding).digest()

    def write(self, cursor: Cursor) -> str:
        """Return the text of a cursor.

        Raises:
            PageNotPossible: A value has no text, or is too long to be sent back.
        """
        values = [write_value(value) for value in cursor.values or ()]
        content = json.dumps([int(cursor.backward), *values], ensure_ascii=False, separators=(",", ":")).encode()
        text = urlsafe_b64encode(self.tag(content) + content).decode().rstrip("=")
        if len(text) > MAX_LENGTH:
            raise PageNotPossible(f"a cursor would be longer than {MAX_LENGTH} characters; sort by shorter columns")
        return text

    def read(self, text: str, types: Sequence[TypeEngine[Any]]) -> Cursor:
        """Return the cursor that a text holds.

        Args:
            text: The text that the client sent.
            types: The type that each value was read by.

        Raises:
            ValidationFailed: The text is forged, or belongs to another list.
        """
        try:
            raw = b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:  # UnicodeError and binascii.Error are such
            raise _refuse_cursor() from None  # the error holds what was sent
        tag, content = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        if not hmac.compare_digest(tag, self.tag(content)):
            raise _refuse_cursor()
        backward, *values = json.loads(content)
        if not values:
            return Cursor(None, bool(backward))
        try:
            read = tuple(read_value(value, type_) for value, type_ in zip(values, types, strict=True))
        except KeyError:  # a member that the enumeration no longer has
            raise _refuse_cursor() from None
        return Cursor(read, bool(backward))

    def tag(self, content: bytes) -> bytes:
        """Return the HMAC tag of `content`."""
        return hmac.digest(self._key, self._binding + content, "sha256")[:_TAG_BYTES]


def _refuse_cursor() -> ValidationFailed:
    detail = "not a cursor of this list, its filters and its order; leave it out to begin anew"
    return ValidationFailed(DETAIL, errors=[InvalidPart(detail, "cursor_invalid", parameter=PARAMETER)])


_Condition = ColumnElement[bool]


def conditions_after(keys: Sequence[Key], values: Sequence[Any], dialect: Dialect) -> list[_Condition]:
    """Return conditions that together hold for every row after a position, in the order in which rows follow.

    There are two where the first key may be null: rows with a value and rows without one are apart in every index, and
    a condition over both could only be tried on each row from the first.

    Args:
        keys: The keys that rows are sorted by, in the direction of the page.
        values: The position: one value of each key, or a parameter for it; None is null.
        dialect: The dialect of the database.
    """
    first, value = keys[0], values[0]
    if not first.nullable:
        return [_behind(keys, values, dialect)]
    present, rest = first.expression.is_not(None), _behind(keys[1:], values[1:], dialect)
    if value is not None:
        known = Key(first.expression, first.descending, False, False)
        after = [_behind([known, *keys[1:]], values, dialect)]
        return after if first.nulls_first else [*after, first.expression.is_(None)]
    among = [and_(first.expression.is_(None), rest)] if len(keys) > 1 else []
    return [*among, present] if first.nulls_first else among


def _behind(keys: Sequence[Key], values: Sequence[Any], dialect: Dialect) -> _Condition:
    if not keys:
        return false()
    if not any(key.nullable for key in keys) and len({key.descending for key in keys}) == 1:
        return _behind_as_row(keys, values, dialect)
    branches: list[_Condition] = []
    for depth, (key, value) in enumerate(zip(keys, values, strict=True)):
        step = _beyond(key, value, dialect)
        if step is not None:
            same = (_equal(*pair, dialect) for pair in zip(keys[:depth], values[:depth], strict=True))
            branches.append(and_(*same, step))
    if keys[0].nullable:
        return or_(false(), *branches)
    # Follows from the rest, and is all of it that an index can begin at.
    return and_(_bound(keys[0], values[0], dialect), or_(*branches))


def _behind_as_row(keys: Sequence[Key], values: Sequence[Any], dialect: Dialect) -> _Condition:
    """Compare rows: one comparison, which an index over the same columns serves as a whole."""
    pairs = [_sides(key, value, dialect) for key, value in zip(keys, values, strict=True)]
    compare = lt if keys[0].descending else gt
    if len(pairs) == 1:
        return compare(*pairs[0])  # type: ignore[no-any-return]  # operator knows no columns
    whole: _Condition = compare(tuple_(*(one for one, _ in pairs)), tuple_(*(other for _, other in pairs)))
    tables = {getattr(key.expression, "table", None) for key in keys}
    # A comparison across tables is decided after their join; the bound is decided before it.
    return whole if len(tables) == 1 else and_(_bound(keys[0], values[0], dialect), whole)


def _bound(key: Key, value: Any, dialect: Dialect) -> _Condition:
    compare = le if key.descending else ge
    return compare(*_sides(key, value, dialect))  # type: ignore[no-any-return]  # operator knows no columns


def _beyond(key: Key, value: Any, dialect: Dialect) -> _Condition | None:
    """Return the condition for rows after a value of this key, or None if there cannot be any."""
    if value is None:
        return key.expression.is_not(None) if key.nulls_first else None
    compare = lt if key.descending else gt
    after: _Condition = compare(*_sides(key, value, dialect))
    return or_(after, key.expression.is_(None)) if key.nullable and not key.nulls_first else after


def _equal(key: Key, value: Any, dialect: Dialect) -> _Condition:
    if value is None:
        return key.expression.is_(None)
    one, other = _sides(key, value, dialect)
    return one == other


def _sides(key: Key, value: Any, dialect: Dialect) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return both sides of a comparison with a value that was read from the same expression."""
    type_ = comparable(key.expression.type, dialect)
    return type_coerce(key.expression, type_), value if isinstance(value, BindParameter) else literal(value, type_)


_MICROSECOND = timedelta(microseconds=1)

# In this order: a datetime is a date, too.
_TEXTS: tuple[tuple[str, type, Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    ("u", UUID, lambda value: value.hex, UUID),
    ("t", datetime, datetime.isoformat, datetime.fromisoformat),
    ("d", date, date.isoformat, date.fromisoformat),
    ("c", time, time.isoformat, time.fromisoformat),
    ("i", timedelta, lambda value: value // _MICROSECOND, lambda count: count * _MICROSECOND),
    ("n", Decimal, str, Decimal),
    ("f", float, repr, float),
    ("b", bytes, lambda value: b64encode(value).decode(), b64decode),
)
_BY_TAG = {tag: read for tag, _, _, read in _TEXTS}


def comparable(type_: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """Return the type by which values are read and compared for a position, so that they come back as they were.

    On PostgreSQL what is stored, without what a `TypeDecorator` makes of it and without a precision that a value would
    be rounded to. SQLite's own values are texts, numbers and bytes whatever they stand for, and stay that: its decimals
    lose digits on the way to Python.
    """
    if dialect.name == "sqlite":
        return NullType()
    while isinstance(type_, TypeDecorator) and not isinstance(type_, Interval):  # one by name: PostgreSQL has its own
        type_ = type_.load_dialect_impl(dialect)
    if isinstance(type_, Float):
        return Double()
    return Numeric() if isinstance(type_, Numeric) else type_


def write_value(value: Any) -> Any:
    """Return a value as JSON, with a tag if JSON has no such type.

    Raises:
        PageNotPossible: A value of this class cannot be read back.
    """
    if isinstance(value, Enum):
        return ["e", value.name]
    if value is None or isinstance(value, bool | int | str):
        return value
    for tag, kind, write, _ in _TEXTS:
        if isinstance(value, kind):
            return [tag, write(value)]
    raise PageNotPossible(f"a cursor cannot hold a {type(value).__name__}; sort by something else")


def read_value(written: Any, type_: TypeEngine[Any]) -> Any:
    """Return the value of a written one.

    Args:
        written: As `write_value` returned it.
        type_: The type that it was read by, which knows the members of an enumeration.
    """
    if not isinstance(written, list):
        return written
    tag, text = written
    return getattr(type_, "enum_class")[text] if tag == "e" else _BY_TAG[tag](text)  # noqa: B009  (of `Enum` alone)
