"""The request's body: one strict scan of its bytes, and one strict pydantic pass into the model."""

import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Protocol, cast, get_args, get_origin

import jiter
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError, SchemaValidator, core_schema
from quart import Request, request
from quart.datastructures import FileStorage
from quart_schema.pydantic import File
from werkzeug.datastructures import FileStorage as WerkzeugFile
from werkzeug.datastructures import MultiDict

from ligand_async.annotations import bare, metadata_of, walk, without_none
from ligand_async.data.schemas import PatchSchema
from ligand_async.errors import MalformedBody, UnsupportedMediaType, ValidationFailed
from ligand_async.json_values import find_flaw
from ligand_async.web.core_schemas import close, describe, fields_of, read_form, readable, schema_of
from ligand_async.web.fields import alias_of, takes_list
from ligand_async.web.invalid import refuse, refuse_all, refuse_keys, refuse_part
from ligand_async.web.validation import LARGE, StrictValidator, TooManyMistakes, UnknownKeys

_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"  # RFC 7396
MULTIPART = "multipart/form-data"
_URLENCODED = "application/x-www-form-urlencoded"
_BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True, init=False)
class Body:
    """Marks the parameter that takes the body: `pet: Annotated[PetCreate, Body()]`.

    `bytes` and `AsyncIterator[bytes]` take the body as it is sent, `str` takes text. Other types are read from JSON.

    Attributes:
        media_types: The media types that it may have. Ranges such as `image/*` are allowed.
    """

    media_types: tuple[str, ...]

    def __init__(self, *media_types: str) -> None:
        """Name the media types; without one `application/octet-stream` for bytes, else `application/json`.

        Raises:
            ValueError: One is not a media type, or has parameters.
        """
        if not all(re.fullmatch(r"[^\s/;]+/[^\s/;]+", media_type) for media_type in media_types):
            raise ValueError('Body() takes media types without parameters, such as Body("application/octet-stream")')
        object.__setattr__(self, "media_types", tuple(media_type.lower() for media_type in media_types))


class Form:
    """Reads the body from a form instead of JSON: `login: Annotated[Login, Form()]`, `name: Annotated[str, Form()]`.

    A model that is the only such parameter is the whole form. Otherwise each parameter is one part of it, and a model
    is a part in JSON. A form with an upload or a part in JSON is `multipart/form-data`; others may be
    `application/x-www-form-urlencoded`, too.
    """


_NOT_A_FILE = PydanticCustomError("file_type", "Input should be a file")


def _check_upload(value: Any) -> FileStorage:
    if not isinstance(value, FileStorage):
        raise _NOT_A_FILE
    return value


_UPLOAD_SCHEMA = core_schema.no_info_plain_validator_function(_check_upload)


class _Upload:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return _UPLOAD_SCHEMA

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, str]:
        return {"type": "string", "format": "binary"}


UploadedFile = Annotated[FileStorage, _Upload]
"""An upload, as a parameter or as a field of a form."""

# quart-schema's own refusal names a Python class.
_FILES = ((TypeAdapter(File).core_schema, _UPLOAD_SCHEMA),)


class BodyReader(Protocol):
    """Reads the body of the current request."""

    @property
    def schema(self) -> Any:
        """Its type, as annotated; None for bytes and text that are taken as they are."""

    @property
    def media_types(self) -> tuple[str, ...]:
        """The media types that it may have."""

    @property
    def absent(self) -> tuple[Any, ...]:
        """A tuple of the value that an absent body has; empty if a body is required."""

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
    validator: StrictValidator
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
            if len(raw) > LARGE:
                self.validator.check_size(raw, document)
            return self.validator.validate_json(raw)
        except (ValidationError, TooManyMistakes, UnknownKeys) as error:
            raise _refusal_of(error, self.validator, raw, document) from None  # the error holds the values
        except BaseException:
            self.validator.reset()
            raise


@dataclass(frozen=True, slots=True)
class _RawBody:
    """A body that is taken as it is sent: bytes, text in UTF-8, or an iterator of its parts.

    Attributes:
        kind: `bytes`, `str`, or None for an iterator.
        validator: Checks bytes and text, if the annotation has bounds.
    """

    kind: type[bytes] | type[str] | None
    media_types: tuple[str, ...]
    absent: tuple[Any, ...] = ()
    validator: SchemaValidator | None = None
    schema: None = None

    async def read(self) -> Any:
        """Return the body.

        Raises:
            UnsupportedMediaType: It has another media type, or it is compressed.
            MalformedBody: It is not UTF-8, and text was asked for.
            ValidationFailed: It does not keep to the bounds of the annotation.
        """
        if self.absent and request.content_length in {None, 0} and not request.headers.get("Transfer-Encoding"):
            return self.absent[0]
        _check_media_type(self.media_types)
        if self.kind is None:
            check_encoding(request)
            return request.body.stream()  # type: ignore[attr-defined]  # of our request class
        value: bytes | str = await read_bytes()
        if self.kind is str:
            value = await request.get_data(as_text=True)
            _refuse_flaw(value)
        if self.validator is None:
            return value
        try:
            return self.validator.validate_python(value)
        except ValidationError as error:
            raise refuse(error, place="pointer") from None  # the error holds the body


@dataclass(frozen=True, slots=True)
class _FormBody:
    """A form, whose values are converted from text like those of a query string, its uploads and its parts in JSON.

    Attributes:
        schema: The model.
        validator: Reads the values by name.
        has_files: Whether it has uploads or parts in JSON, which only `multipart/form-data` can carry.
        lists: The names that may be repeated.
        parts: The names of the parts in JSON.
    """

    schema: type[BaseModel]
    validator: SchemaValidator
    has_files: bool
    media_types: tuple[str, ...]
    lists: frozenset[str]
    parts: frozenset[str] = frozenset()
    absent: tuple[Any, ...] = ()

    async def read(self) -> Any:
        """Return the validated form.

        Raises:
            UnsupportedMediaType: Its media type is not that of a form, or it is compressed.
            MalformedBody: It is not a form, or a part of it is not JSON.
            ContentTooLarge: It has too many fields or files, or a value that is too long.
            ValidationFailed: It does not fit the model.
        """
        if self.absent and request.content_length in {None, 0}:
            return self.absent[0]
        _check_media_type(self.media_types)
        values = _collect(await request.form, self.lists)
        _refuse_flaw(values)
        if self.has_files:
            values |= _collect(_sent(await request.files, self.parts), self.lists)
        try:
            return self.validator.validate_python(values)
        except ValidationError as error:
            raise refuse(error, place="pointer") from None  # the error holds the values


def make_body(hint: Any, absent: tuple[Any, ...]) -> BodyReader:
    """Make the reader of a body.

    Args:
        hint: The annotation of the parameter.
        absent: A tuple of the value that an absent body has; empty if a body is required.

    Raises:
        TypeError: It is a form but not a model, or it cannot be read from its media types.
        pydantic.PydanticUserError: pydantic does not know how to read it, or how to describe it.
    """
    mark = body_mark_of(hint)
    if isinstance(mark, Form):
        return _make_form(hint, absent)
    media_types = () if mark is None else mark.media_types
    kind, _ = without_none(bare(hint))
    if is_raw(hint):
        return _make_raw(hint, kind, media_types or (_BYTES,), absent)
    if media_types and kind is str and not any(map(_is_json, media_types)):
        return _make_raw(hint, kind, media_types, absent)
    if not all(map(_is_json, media_types)):
        others = ", ".join(media_type for media_type in media_types if not _is_json(media_type))
        raise TypeError(f"{others} is not JSON; take the body as bytes, and parse it in the handler")
    adapter = TypeAdapter(hint)
    describe(adapter)
    is_patch = isinstance(kind, type) and issubclass(kind, PatchSchema)
    default = (_MERGE_PATCH, _JSON) if is_patch else (_JSON,)
    return _JSONBody(hint, close(adapter), absent, media_types or default)


def body_mark_of(hint: Any) -> "Body | Form | None":
    """Return the `Body` or `Form` in an annotation, or None."""
    for mark in metadata_of(hint):
        if isinstance(mark, Body | Form):
            return mark
        if mark is Body or mark is Form:
            made: Body | Form = mark()
            return made
    return None


def is_raw(hint: Any) -> bool:
    """Return whether an annotation takes the body as it is sent: as bytes, or as an iterator of bytes."""
    kind, _ = without_none(bare(hint))
    return kind is bytes or _is_iterator(kind)


def takes_upload(hint: Any) -> bool:
    """Return whether an annotation is an upload, or a list of uploads."""
    return any(isinstance(part, type) and issubclass(part, WerkzeugFile) for part in walk(hint))


def upload_hint(hint: Any) -> Any:
    """Return the annotation of an upload as pydantic reads it: `FileStorage` becomes `UploadedFile`."""
    if isinstance(hint, type) and issubclass(hint, WerkzeugFile):
        return UploadedFile
    kind, is_optional = without_none(hint)
    if is_optional:
        return upload_hint(kind) | None
    if get_origin(kind) in {list, tuple, set, frozenset}:
        return list[upload_hint(get_args(kind)[0])]  # type: ignore[misc]  # built at run time
    return hint


def _is_iterator(kind: Any) -> bool:
    return get_origin(kind) in {AsyncIterator, AsyncIterable, AsyncGenerator} and get_args(kind)[0] is bytes


def _is_json(media_type: str) -> bool:
    subtype = media_type.partition("/")[2]
    return subtype == "json" or subtype.endswith("+json")


def _make_raw(hint: Any, kind: Any, media_types: tuple[str, ...], absent: tuple[Any, ...]) -> BodyReader:
    if _is_iterator(kind):
        return _RawBody(None, media_types, absent)
    has_bounds = any(not isinstance(mark, Body) and mark is not Body for mark in metadata_of(hint))
    validator = TypeAdapter(hint).validator if has_bounds else None
    return _RawBody(kind, media_types, absent, cast("SchemaValidator | None", validator))


def _make_form(hint: Any, absent: tuple[Any, ...]) -> BodyReader:
    model, _ = without_none(bare(hint))
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError("a form needs a pydantic model as its annotation")
    adapter = TypeAdapter(model)
    describe(adapter)
    fields = model.model_fields
    files = {name for name, field in fields.items() if takes_upload(field.annotation)}
    schema = schema_of(adapter)
    parts = {
        name: alias_of(fields[name]) or name
        for name, found in fields_of(schema).items()
        if name not in files and readable(found) == "structure"
    }
    validator = read_form(schema, {name: partial(_read_part, sent) for name, sent in parts.items()}, _FILES)
    return _FormBody(
        model,
        validator,
        bool(files or parts),
        (MULTIPART,) if files or parts else (_URLENCODED, MULTIPART),
        frozenset(
            alias_of(field) or name
            for name, field in fields.items()
            if name not in parts and takes_list(field.annotation)
        ),
        frozenset(parts.values()),
        absent,
    )


def _refusal_of(
    error: Exception, validator: StrictValidator, raw: bytes, document: Any, place: tuple[str, ...] = ()
) -> ValidationFailed:
    """Return the 422 for a document that its validator does not take.

    Args:
        error: What the validator raised.
        validator: The validator.
        raw: The document.
        document: The same as plain data.
        place: Where it stands in the body.
    """
    if isinstance(error, UnknownKeys):
        return refuse_keys((*place, *error.place), error.names)
    errors = validator.find_mistakes(error, raw, document)
    if not errors:
        return refuse_part("Input has more mistakes than are counted", "too_many_mistakes", place)
    return refuse_all(errors, place="pointer", document=document, prefix=place)


def _read_part(name: str, validator: StrictValidator) -> Callable[[Any], Any]:
    """Make the reader of a part in JSON, which is as strict as a body."""

    def read(sent: Any) -> Any:
        if not isinstance(sent, str | bytes):
            return validator.validate_python(sent)  # a default
        raw = sent.encode() if isinstance(sent, str) else sent
        try:
            document = scan(raw)
        except MalformedBody as problem:
            raise MalformedBody(f"part {name!r}: {problem.detail}") from None
        try:
            if len(raw) > LARGE:
                validator.check_size(raw, document)
            return validator.validate_json(raw)
        except (TooManyMistakes, UnknownKeys) as error:
            raise _refusal_of(error, validator, raw, document, (name,)) from None
        except BaseException:
            validator.reset()
            raise

    return read


def _sent(files: MultiDict[str, Any], parts: frozenset[str]) -> MultiDict[str, Any]:
    """Return the uploads, and parts in JSON as bytes. An empty file input of a browser sends no name and no bytes."""
    found: MultiDict[str, Any] = MultiDict()
    for name, file in files.items(multi=True):
        if name in parts:
            found.add(name, file.read())
        elif file.filename or file.stream.seek(0, 2) > file.stream.seek(0):
            found.add(name, file)
    return found


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
    if request.mimetype not in accepted and not _is_in_range(request.mimetype, accepted):
        # RFC 5789 section 2.2 requires the header.
        headers = {"Accept-Patch": ", ".join(accepted)} if request.method == "PATCH" else None
        raise UnsupportedMediaType(f"the body must be sent as {' or '.join(accepted)}", headers=headers)


def _is_in_range(media_type: str, accepted: Sequence[str]) -> bool:
    kind = media_type.partition("/")[0]
    return bool(kind) and (f"{kind}/*" in accepted or "*/*" in accepted)


def check_encoding(sent: Request) -> None:
    """Refuse a compressed body (RFC 9110 section 15.5.16)."""
    if sent.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("compressed bodies are not accepted", headers={"Accept-Encoding": "identity"})


def _collect(values: MultiDict[str, Any], lists: frozenset[str]) -> dict[str, Any]:
    """Return the values by name: a list if one is declared or if the name is repeated."""
    return {
        name: found if name in lists or len(found) > 1 else found[0]
        for name in values
        if (found := values.getlist(name))
    }
