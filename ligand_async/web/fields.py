"""Values that come as text by name: variables of the path, the query string, headers and cookies."""

from collections.abc import Iterable
from itertools import islice
from typing import Any, Literal, get_origin

from pydantic import AliasChoices, BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from werkzeug.datastructures import Headers, MultiDict

from ligand_async.annotations import members_of, metadata_of
from ligand_async.errors import InvalidPart, ValidationFailed
from ligand_async.web.core_schemas import fields_of, read_text, readable, schema_of
from ligand_async.web.invalid import DETAIL, MAX_PARTS, refuse, wire_path

Place = Literal["parameter", "header", "cookie"]

_LISTS = (list, set, frozenset, tuple)
_PLACES: dict[Place, str] = {"parameter": "a query string", "header": "a header", "cookie": "a cookie"}


class _Named:
    """A mark of a parameter that is read by a name.

    Args:
        name: The name in the request; by default that of the parameter, in a header with hyphens.
    """

    __slots__ = ("name",)

    def __init__(self, name: str | None = None) -> None:
        self.name = name


class Header(_Named):
    """Reads one parameter from a header: `user_agent: Annotated[str, Header()]`, or `Header("X-Trace")`."""


class Cookie(_Named):
    """Reads one parameter from a cookie: `theme: Annotated[str, Cookie()] = "light"`."""


def named_mark_of(hint: Any) -> Header | Cookie | None:
    """Return the `Header` or `Cookie` in an annotation, or None."""
    for mark in metadata_of(hint):
        if isinstance(mark, Header | Cookie):
            return mark
        if mark is Header or mark is Cookie:
            made: Header | Cookie = mark()
            return made
    return None


class Fields:
    """Reads a model from text values, which are converted: `"5"` is an integer.

    Repeated names make a list if one is declared. An unknown query parameter is refused, unless the model's
    configuration has `extra`. Unknown headers and cookies are ignored.

    Raises:
        TypeError: A field has a type that no text can hold, such as another model.
    """

    def __init__(self, model: type[BaseModel], place: Place) -> None:
        self.model = model
        self.place = place
        self._keys: dict[str, str] = {}  # from names on the wire to those that the model reads
        self._lists: set[str] = set()
        for name, field in model.model_fields.items():
            wire_names = {wire_name(name, field, place): alias_of(field) or name} | _alias_choices(field)
            if _takes_name_too(model):
                wire_names.setdefault(name, name)
            self._keys |= wire_names
            if takes_list(field.annotation):
                self._lists.update(wire_names)
        self._names = {key: name for name, key in reversed(self._keys.items())}
        self._extra: Literal["forbid"] | None = "forbid" if _forbids_unknown(model) else None
        schema = schema_of(TypeAdapter(model))
        for name, inside in fields_of(schema).items():
            if readable(inside) == "structure":
                raise TypeError(f"field {name!r} is a structure, and {_PLACES[place]} holds single values and lists")
        self._validate = (read_text(schema) or model.__pydantic_validator__).validate_python

    def read(self, values: MultiDict[str, str]) -> BaseModel:
        """Read the query string, in which every name must be known.

        Raises:
            ValidationFailed: The model refuses a value, a name is unknown, or one is repeated that is not a list.
        """
        return self.validate({name: self.pick(name, values.getlist(name)) for name in values}, extra=self._extra)

    def read_known(self, values: Headers | MultiDict[str, str]) -> BaseModel:
        """Read the headers or cookies that the model declares.

        A repeated header is one value with commas (RFC 9110 section 5.3), unless a list is declared. Of a repeated
        cookie the first is used.

        Raises:
            ValidationFailed: A value is missing or refused by the model.
        """
        found: dict[str, str | list[str]] = {}
        for name in self._keys:
            sent = values.getlist(name)
            if sent and name in self._lists:
                found[name] = sent
            elif sent:
                found[name] = ", ".join(sent) if self.place == "header" else sent[0]
        return self.validate(found, extra=None)

    def read_path(self, values: dict[str, Any]) -> dict[str, Any]:
        """Read the variables of the path that the model declares.

        Raises:
            ValidationFailed: The model refuses a value.
        """
        names = self.model.model_fields
        read = self.validate({name: values[name] for name in names}, extra=None)
        return {name: getattr(read, name) for name in names}

    def sent(self, values: Headers | MultiDict[str, str]) -> list[tuple[str, list[str]]]:
        """Return all values that a request has for the headers or cookies that the model declares, by their names."""
        return [(name, values.getlist(name)) for name in sorted(self._keys)]

    def validate(self, values: dict[str, Any], *, extra: Literal["forbid"] | None) -> BaseModel:
        """Validate in pydantic's lax mode, which converts text."""
        keyed = {self._keys.get(name, name): value for name, value in values.items()}
        try:
            read: BaseModel = self._validate(keyed, extra=extra)
            return read
        except ValidationError as error:
            raise refuse(error, place=self.place, names=self._names) from None  # the error holds the values

    def pick(self, name: str, values: list[str]) -> str | list[str]:
        """Return a list if one is declared, or if the name is repeated: a plain field then refuses it."""
        return values if name in self._lists or len(values) > 1 else values[0]


def refuse_unknown(names: Iterable[str]) -> ValidationFailed:
    """Return the 422 for query parameters that an operation does not have."""
    places = [wire_path((name,), {}) for name in islice(names, MAX_PARTS)]
    parts = [InvalidPart("Extra inputs are not permitted", "extra_forbidden", parameter=place) for place in places]
    return ValidationFailed(DETAIL, errors=parts)


def wire_name(name: str, field: FieldInfo, place: Place) -> str:
    """Return a field's name in the request: its alias, else its own name; in headers with hyphens."""
    alias = alias_of(field)
    if alias is not None:
        return alias
    return name.replace("_", "-") if place == "header" else name


def alias_of(field: FieldInfo) -> str | None:
    """Return the alias of a field, the first one if it has several, or None."""
    alias = field.validation_alias
    return alias if isinstance(alias, str) else next(iter(_alias_choices(field)), None)


def _alias_choices(field: FieldInfo) -> dict[str, str]:
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else ()
    return {choice: choice for choice in choices if isinstance(choice, str)}


def _takes_name_too(model: type[BaseModel]) -> bool:
    return bool(model.model_config.get("validate_by_name") or model.model_config.get("populate_by_name"))


def takes_list(annotation: Any) -> bool:
    """Return whether an annotation is a list, or a union with one."""
    return any(member in _LISTS or get_origin(member) in _LISTS for member in members_of(annotation))


def _forbids_unknown(schema: Any) -> bool:
    """Return whether unknown keys are refused: always, unless the model's configuration has `extra`."""
    return not (isinstance(schema, type) and issubclass(schema, BaseModel) and "extra" in schema.model_config)
