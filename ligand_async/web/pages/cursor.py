"""A cursor: a position in one list, signed, so that it is ours and of this list."""

import hashlib
import hmac
import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.types import TypeEngine

from ligand_async.errors import InvalidPart, ValidationFailed
from ligand_async.web.invalid import DETAIL
from ligand_async.web.pages.order import PageNotPossible
from ligand_async.web.pages.values import read_value, write_value

PARAMETER = "cursor"
PURPOSE = b"ligand_async cursor 1"
TAG_BYTES = 16  # of HMAC-SHA256: 128 bits
MAX_LENGTH = 2048  # characters: a request's target has 8 KiB for everything


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins.

    Attributes:
        values: The position: one value of each key. Without it the page begins at the end that is walked away from.
        backward: Whether the page lies before it.
    """

    values: tuple[Any, ...] | None
    backward: bool


class Seal:
    """Writes cursors of one list and reads them.

    The text is `base64url(tag || JSON)`. What the list is goes into the tag and not into the text, so a cursor of
    another list, another order or another filter is refused like a forged one. It is signed and not encrypted.

    Args:
        secret: The service's secret key.
        binding: What the list is.
    """

    def __init__(self, secret: str, binding: bytes) -> None:
        self._key = hmac.digest(secret.encode(), PURPOSE, "sha256")
        self._binding = hashlib.sha256(binding).digest()

    def write(self, cursor: Cursor) -> str:
        """Return a cursor's text.

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
        """Return the cursor of a text.

        Args:
            text: As it was sent.
            types: What each value was read by.

        Raises:
            ValidationFailed: We did not write it, or for another list.
        """
        try:
            raw = b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:  # UnicodeError and binascii.Error are such
            raise refuse_cursor() from None  # the error holds what was sent
        tag, content = raw[:TAG_BYTES], raw[TAG_BYTES:]
        if not hmac.compare_digest(tag, self.tag(content)):
            raise refuse_cursor()
        backward, *values = json.loads(content)
        if not values:
            return Cursor(None, bool(backward))
        try:
            read = tuple(read_value(value, type_) for value, type_ in zip(values, types, strict=True))
        except KeyError:  # a member of an enumeration that is no more
            raise refuse_cursor() from None
        return Cursor(read, bool(backward))

    def tag(self, content: bytes) -> bytes:
        """Return what nobody else can make of a content."""
        return hmac.digest(self._key, self._binding + content, "sha256")[:TAG_BYTES]


def refuse_cursor() -> ValidationFailed:
    """Make the 422 of a cursor that is not of this list."""
    detail = "not a cursor of this list, its filters and its order; leave it out to begin anew"
    return ValidationFailed(DETAIL, errors=[InvalidPart(detail, "cursor_invalid", parameter=PARAMETER)])
