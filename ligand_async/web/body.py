"""The request's body: read once, from bytes to model in one pass each of scanning and validating."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import SchemaValidator
from quart import request
from quart.datastructures import FileStorage
from quart_schema.validation import DataSource
from werkzeug.datastructures import MultiDict

from ligand_async.data.schemas import PatchSchema
from ligand_async.errors import UnsupportedMediaType
from ligand_async.web.core_schemas import close
from ligand_async.web.fields import alias_of, takes_list, without_none
from ligand_async.web.invalid import refuse, refuse_part
from ligand_async.web.json import find_nul, scan
from ligand_async.web.request import MULTIPART

_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"  # RFC 7396
_URLENCODED = "application/x-www-form-urlencoded"


class Form:
    """Marks a body that comes as a form: `data: Annotated[Login, Form()]`.

    A model with a field of quart-schema's `File` takes `multipart/form-data` only, others that and
    `application/x-www-form-urlencoded`.
    """


class Body(Protocol):
    """Reads the body of the current request."""

    @property
    def schema(self) -> Any:
        """What it is made of."""

    @property
    def source(self) -> DataSource:
        """What quart-schema calls its form."""

    @property
    def media_types(self) -> tuple[str, ...]:
        """What it may be sent as."""

    async def read(self) -> Any:
        """Return the validated body, or raise the problem that it is."""


@dataclass(frozen=True, slots=True)
class _JSONBody:
    """A JSON body (RFC 8259), read strictly.

    `"5"` is no integer, a duplicate key is malformed, an unknown one is refused.

    Attributes:
        schema: As annotated.
        validator: Takes its bytes.
        absent: What no body at all stands for, in a tuple; empty where there must be one.
    """

    schema: Any
    validator: SchemaValidator
    absent: tuple[Any, ...] = ()
    source: DataSource = DataSource.JSON
    media_types: tuple[str, ...] = (_JSON,)

    async def read(self) -> Any:
        """Return the validated body.

        Raises:
            UnsupportedMediaType: It is not sent as JSON, or compressed.
            MalformedBody: It is not JSON.
            ValidationFailed: Its schema refuses it.
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
    """A form, whose values coerce from text like a query string's, and its uploads."""

    schema: type[BaseModel]
    validator: SchemaValidator
    source: DataSource
    media_types: tuple[str, ...]
    lists: frozenset[str]

    async def read(self) -> Any:
        """Return the validated form.

        Raises:
            UnsupportedMediaType: It is not sent as a form, or compressed.
            MalformedBody: It is not a form.
            ContentTooLarge: It has too many fields or files, or too long a value.
            ValidationFailed: Its schema refuses it.
        """
        _check_media_type(self.media_types)
        values = _collect(await request.form, self.lists)
        if self.source is DataSource.FORM_MULTIPART:
            values |= _collect(await request.files, self.lists)
        path = find_nul(values)
        if path is not None:
            raise refuse_part("Input should not contain U+0000", "nul_character", path)
        try:
            return self.validator.validate_python(values)
        except ValidationError as error:
            raise refuse(error, place="pointer") from None  # the error holds the values


def make_body(hint: Any, absent: tuple[Any, ...]) -> Body:
    """Make the reader for the annotation of `data`.

    Args:
        hint: The annotation.
        absent: What no body at all stands for, in a tuple; empty where there must be one.

    Raises:
        TypeError: It is a form, but not a model, or pydantic does not know how to read it.
    """
    schema, marks = (get_args(hint)[0], get_args(hint)[1:]) if get_origin(hint) is Annotated else (hint, ())
    adapter = TypeAdapter(hint)
    if not any(mark is Form or isinstance(mark, Form) for mark in marks):
        kind, _ = without_none(schema)
        is_patch = isinstance(kind, type) and issubclass(kind, PatchSchema)
        return _JSONBody(hint, close(adapter), absent, media_types=(_MERGE_PATCH, _JSON) if is_patch else (_JSON,))
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        raise TypeError("a form needs a pydantic model as its annotation")
    fields = schema.model_fields
    uploads = any(_holds_file(field.annotation) for field in fields.values())
    return _FormBody(
        schema,
        close(adapter),
        DataSource.FORM_MULTIPART if uploads else DataSource.FORM,
        (MULTIPART,) if uploads else (_URLENCODED, MULTIPART),
        frozenset(alias_of(field) or name for name, field in fields.items() if takes_list(field.annotation)),
    )


async def read_bytes() -> bytes:
    """Return the body as it was sent."""
    raw = await request.get_data(as_text=False)
    return raw if isinstance(raw, bytes) else raw.encode()


def _check_media_type(accepted: Sequence[str]) -> None:
    """Refuse a body in another form than the declared ones (RFC 9110 section 15.5.16)."""
    if request.mimetype not in accepted:
        # RFC 5789 section 2.2 wants the header; the sentence is for people.
        headers = {"Accept-Patch": ", ".join(accepted)} if request.method == "PATCH" else None
        raise UnsupportedMediaType(f"the body must be sent as {' or '.join(accepted)}", headers=headers)


def _holds_file(annotation: Any) -> bool:
    """Tell whether an annotation takes an upload."""
    return annotation is FileStorage or any(_holds_file(part) for part in get_args(annotation))


def _collect(values: MultiDict[str, Any], lists: frozenset[str]) -> dict[str, Any]:
    """Make a mapping of a form: a list where one is declared or where a name is repeated."""
    return {
        name: found if name in lists or len(found) > 1 else found[0]
        for name in values
        if (found := values.getlist(name))
    }
