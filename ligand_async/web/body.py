"""The request's body: one strict scan of its bytes, and one strict pydantic pass into the model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jiter
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import SchemaValidator
from quart import request
from quart.datastructures import FileStorage
from werkzeug.datastructures import MultiDict

from ligand_async.annotations import bare, metadata_of, walk, without_none
from ligand_async.data.schemas import PatchSchema
from ligand_async.errors import MalformedBody, UnsupportedMediaType
from ligand_async.json_values import find_flaw
from ligand_async.web.core_schemas import close
from ligand_async.web.fields import alias_of, takes_list
from ligand_async.web.invalid import refuse, refuse_part

_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"  # RFC 7396
MULTIPART = "multipart/form-data"
_URLENCODED = "application/x-www-form-urlencoded"


class Form:
    """Reads the body from a form instead of JSON: `data: Annotated[Login, Form()]`.

    A model with a field of quart-schema's type `File` takes `multipart/form-data` only; other models take that and
    `application/x-www-form-urlencoded`.
    """


class Body(Protocol):
    """Reads the body of the current request."""

    @property
    def schema(self) -> Any:
        """Its type, as annotated."""

    @property
    def media_types(self) -> tuple[str, ...]:
        """The media types that it may have."""

    async def read(self) -> Any:
        """Return the validated body, or raise a problem."""


@dataclass(frozen=True, slots=True)
class _JSONBody:
    """A JSON body (RFC 8259), read strictly: `"5"` is not an integer, duplicate and unknown keys are refused.

    Attributes:
        schema: The annotation.
        validator: Reads the bytes.
        absent: A tuple of the value that an absent body has; empty if a body is required.
    """

    schema: Any
    validator: SchemaValidator
    absent: tuple[Any, ...] = ()
    media_types: tuple[str, ...] = (_JSON,)

    async def read(self) -> Any:
        """Return the validated body.

        Raises:
            UnsupportedMediaType: Its media type is not JSON, or it is compressed.
            MalformedBody: It is not JSON.
            ValidationFailed: It does not fit the annotation.
        """
        if self.absent and not await read_bytes():
            return self.absent[0]
        _check_media_type(self.media_types)
        raw = await read_bytes()
        document = scan(raw)
        try:
            return self.validator.validate_json(raw, strict=True)
        except ValidationError as error:
            raise refuse(error, place="pointer", document=document) from None  # the error holds the values


@dataclass(frozen=True, slots=True)
class _FormBody:
    """A form, whose values are converted from text like those of a query string, and its uploads."""

    schema: type[BaseModel]
    validator: SchemaValidator
    takes_files: bool
    media_types: tuple[str, ...]
    lists: frozenset[str]

    async def read(self) -> Any:
        """Return the validated form.

        Raises:
            UnsupportedMediaType: Its media type is not that of a form, or it is compressed.
            MalformedBody: It is not a form.
            ContentTooLarge: It has too many fields or files, or a value that is too long.
            ValidationFailed: It does not fit the model.
        """
        _check_media_type(self.media_types)
        values = _collect(await request.form, self.lists)
        if self.takes_files:
            values |= _collect(await request.files, self.lists)
        _refuse_flaw(values)
        try:
            return self.validator.validate_python(values)
        except ValidationError as error:
            raise refuse(error, place="pointer") from None  # the error holds the values


def make_body(hint: Any, absent: tuple[Any, ...]) -> Body:
    """Make the reader of a body.

    Args:
        hint: The annotation of `data`.
        absent: A tuple of the value that an absent body has; empty if a body is required.

    Raises:
        TypeError: It is a form but not a model, or pydantic does not know how to read it.
    """
    schema = bare(hint)
    adapter = TypeAdapter(hint)
    if not any(mark is Form or isinstance(mark, Form) for mark in metadata_of(hint)):
        kind, _ = without_none(schema)
        is_patch = isinstance(kind, type) and issubclass(kind, PatchSchema)
        return _JSONBody(hint, close(adapter), absent, media_types=(_MERGE_PATCH, _JSON) if is_patch else (_JSON,))
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        raise TypeError("a form needs a pydantic model as its annotation")
    fields = schema.model_fields
    takes_files = any(part is FileStorage for field in fields.values() for part in walk(field.annotation))
    return _FormBody(
        schema,
        close(adapter),
        takes_files,
        (MULTIPART,) if takes_files else (_URLENCODED, MULTIPART),
        frozenset(alias_of(field) or name for name, field in fields.items() if takes_list(field.annotation)),
    )


# A number can be beyond a double only with three digits in its exponent, or with hundreds in all. With one sign for all
# digits that is found eight times faster than by a regular expression.
_SHAPE = bytes(ord("0") if chr(byte).isdigit() else ord("e") if byte in b"eE" else byte for byte in range(128)) + bytes(
    128
)
_LARGE = (b"0e000", b"0e+000", b"0" * 200)
_ESCAPED_NUL = b"\\u0000"  # a bare one is malformed
_POSITION = re.compile(r"at line \d+ column \d+$")


def scan(raw: bytes) -> Any:
    """Return a JSON text as plain data, after looking for what pydantic accepts and we refuse.

    That is duplicate keys, NaN, numbers beyond a double and U+0000. It is a second reading of the same bytes, and
    `bench/scan.py` measures its cost: for a pet of 97 bytes 1.6 µs, and its validation takes 0.9 µs; with a text of
    4 kB 8 µs and 1.4 µs; for 10,000 pets (1 MB) 6.4 ms and 12.2 ms.

    Raises:
        MalformedBody: It is not JSON, or JSON that two parsers would read differently.
        ValidationFailed: It has a number beyond a double, or U+0000.
    """
    if not raw:
        raise MalformedBody("the body is empty; JSON was expected")
    try:
        document = jiter.from_json(raw, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys")
    except ValueError as error:
        raise MalformedBody(_describe_malformed(str(error))) from None  # its text may hold a key that was sent
    if _may_overflow(raw) or _ESCAPED_NUL in raw:
        _refuse_flaw(document)
    return document


def _may_overflow(raw: bytes) -> bool:
    """Return whether a number in a JSON text can be beyond a double."""
    shape = raw.translate(_SHAPE)
    return any(large in shape for large in _LARGE)


def _describe_malformed(text: str) -> str:
    """Describe what is malformed and where, without what was sent."""
    position = _POSITION.search(text)
    where = f" {position[0]}" if position else ""
    what = "has a duplicate key" if text.startswith("Detected duplicate key") else "is not well-formed JSON"
    return f"the body {what}{where}"


def _refuse_flaw(values: Any) -> None:
    flaw = find_flaw(values)
    if flaw is not None:
        raise refuse_part(flaw.detail, flaw.code, flaw.path)


async def read_bytes() -> bytes:
    """Return the body as it was sent."""
    raw = await request.get_data(as_text=False)
    return raw if isinstance(raw, bytes) else raw.encode()


def _check_media_type(accepted: Sequence[str]) -> None:
    """Refuse a body of another media type (RFC 9110 section 15.5.16)."""
    if request.mimetype not in accepted:
        # RFC 5789 section 2.2 requires the header.
        headers = {"Accept-Patch": ", ".join(accepted)} if request.method == "PATCH" else None
        raise UnsupportedMediaType(f"the body must be sent as {' or '.join(accepted)}", headers=headers)


def _collect(values: MultiDict[str, Any], lists: frozenset[str]) -> dict[str, Any]:
    """Return the values by name: a list if one is declared or if the name is repeated."""
    return {
        name: found if name in lists or len(found) > 1 else found[0]
        for name in values
        if (found := values.getlist(name))
    }
