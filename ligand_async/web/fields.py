"""Values that come as text by name: the query string, headers and cookies."""

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from itertools import islice
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AliasChoices,
    AwareDatetime,
    BaseModel,
    FutureDate,
    FutureDatetime,
    NaiveDatetime,
    PastDate,
    PastDatetime,
    ValidationError,
)
from pydantic.fields import FieldInfo
from werkzeug.datastructures import Headers, MultiDict

from ligand_async.errors import InvalidPart, ValidationFailed
from ligand_async.web.invalid import DETAIL, MAX_PARTS, refuse, wire_path

Place = Literal["parameter", "header", "cookie"]

_LISTS = (list, set, frozenset, tuple)


class Fields:
    """Reads a model from text values. They coerce: `"5"` is an integer.

    Repeated names make a list where one is declared. An unknown query parameter is refused, unless the model's
    configuration says what else to do with it. Unknown headers and cookies are none of the operation's business.
    """

    def __init__(self, model: type[BaseModel], place: Place) -> None:
        self.model = model
        self.place = place
        self._keys: dict[str, str] = {}  # from names on the wire to what the model knows them by
        self._lists: set[str] = set()
        for name, field in model.model_fields.items():
            wire_names = {wire_name(name, field, place): alias_of(field) or name} | _alias_choices(field)
            if _takes_name_too(model):
                wire_names.setdefault(name, name)
            self._keys |= wire_names
            if takes_list(field.annotation):
                self._lists.update(wire_names)
        times = {name: field for name, field in model.model_fields.items() if _takes_time(field.annotation)}
        self._times = {alias_of(field) or name for name, field in times.items()}
        self._names = {key: name for name, key in reversed(self._keys.items())}
        self._extra: Literal["forbid"] | None = "forbid" if _forbids_unknown(model) else None

    def read(self, values: MultiDict[str, str]) -> BaseModel:
        """Read the query string, where every name must be known.

        Raises:
            ValidationFailed: The model refuses a value, a name is unknown, or one is repeated that is no list.
        """
        return self.validate({name: self.pick(name, values.getlist(name)) for name in values}, extra=self._extra)

    def read_known(self, values: Headers | MultiDict[str, str]) -> BaseModel:
        """Read headers or cookies: those that the model declares.

        A header that is repeated is one value with commas (RFC 9110 section 5.3), unless a list is declared. Of a
        repeated cookie the first counts.

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

    def validate(self, values: dict[str, Any], *, extra: Literal["forbid"] | None) -> BaseModel:
        """Validate in lax mode, which is for text."""
        keyed = {self._keys.get(name, name): value for name, value in values.items()}
        for name in self._times & keyed.keys():
            keyed[name] = _without_numbers(keyed[name])
        try:
            return self.model.model_validate(keyed, extra=extra)
        except ValidationError as error:
            raise refuse(error, place=self.place, names=self._names) from None  # the error holds the values

    def pick(self, name: str, values: list[str]) -> str | list[str]:
        """Return a list where one is declared or repetition makes one, which a plain field then refuses."""
        return values if name in self._lists or len(values) > 1 else values[0]


def refuse_unknown(names: Iterable[str]) -> ValidationFailed:
    """Make the 422 of query parameters that an operation does not know."""
    places = [wire_path((name,), {}) for name in islice(names, MAX_PARTS)]
    parts = [InvalidPart("Extra inputs are not permitted", "extra_forbidden", parameter=place) for place in places]
    return ValidationFailed(DETAIL, errors=parts)


def wire_name(name: str, field: FieldInfo, place: Place) -> str:
    """Return a field's name in the request: its alias, else its own; in headers with hyphens."""
    alias = alias_of(field)
    if alias is not None:
        return alias
    return name.replace("_", "-") if place == "header" else name


def alias_of(field: FieldInfo) -> str | None:
    """Return the name that a field is read by, where it is not the field's own: of several the first."""
    alias = field.validation_alias
    return alias if isinstance(alias, str) else next(iter(_alias_choices(field)), None)


def _alias_choices(field: FieldInfo) -> dict[str, str]:
    """Return the names that a field may come by, where it has several."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else ()
    return {choice: choice for choice in choices if isinstance(choice, str)}


def _takes_name_too(model: type[BaseModel]) -> bool:
    """Tell whether a model reads fields by their own names beside their aliases."""
    return bool(model.model_config.get("validate_by_name") or model.model_config.get("populate_by_name"))


def takes_list(annotation: Any) -> bool:
    """Tell whether an annotation is a list, looking through `Annotated` and unions."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return takes_list(get_args(annotation)[0])
    if origin in {Union, UnionType}:
        return any(takes_list(part) for part in get_args(annotation))
    return annotation in _LISTS or origin in _LISTS


def _forbids_unknown(schema: Any) -> bool:
    """Tell whether unknown keys are refused: always, unless the model says what else to do with them."""
    return not (isinstance(schema, type) and issubclass(schema, BaseModel) and "extra" in schema.model_config)


_MOMENTS = {datetime, AwareDatetime, FutureDatetime, NaiveDatetime, PastDatetime}
_TIMES = frozenset({date, FutureDate, PastDate, time, timedelta} | _MOMENTS)
_NUMBERS = frozenset({int, float, complex, str, Any})
_NO_TIME = "a number"


def _takes_time(annotation: Any) -> bool:
    """Tell whether an annotation is a time, looking through unions and lists, and no number or text besides."""
    inside = set(_parts_of(annotation))
    return not inside.isdisjoint(_TIMES) and inside.isdisjoint(_NUMBERS)


def _parts_of(annotation: Any) -> list[Any]:
    """Return an annotation and all that it is made of."""
    return [annotation, *(part for inner in get_args(annotation) if inner is not Any for part in _parts_of(inner))]


def _without_numbers(value: str | list[str]) -> str | list[str]:
    """Return a text, or each of several, with what no time begins with where it is a number."""
    if isinstance(value, list):
        return [_NO_TIME if _is_number(one) else one for one in value]
    return _NO_TIME if _is_number(value) else value


def _is_number(text: str) -> bool:
    """Tell whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def without_none(hint: Any) -> tuple[Any, bool]:
    """Return what is left of `X | None`, and whether None was there."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in {Union, UnionType}:
        rest = [part for part in get_args(hint) if part is not NoneType]
        if len(rest) == 1:
            return rest[0], len(rest) < len(get_args(hint))
    return hint, False
