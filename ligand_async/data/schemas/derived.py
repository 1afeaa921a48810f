"""Schemas derived from a mapped class: to read, to create, to patch, and to assign to an entity."""

import sys
from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Self, Union, Unpack

from pydantic import MISSING, AliasChoices, AliasPath, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from ligand_async.data.schemas.columns import MappedColumn, columns_of, default_of, documented_default
from ligand_async.data.schemas.types import is_json, wire_of
from ligand_async.data.schemas.wire import Wire, or_null
from ligand_async.data.versions import remember_entity
from ligand_async.errors import InvalidPart, ValidationFailed

if sys.version_info >= (3, 14):
    import annotationlib


class DerivedSchema(BaseModel):
    """The base of `ReadSchema`, `CreateSchema` and `PatchSchema`."""

    model_config = ConfigDict(protected_namespaces=())  # a column may be called `model_year`

    __ligand_model__: ClassVar[type[Any] | None] = None
    __ligand_columns__: ClassVar[Mapping[str, MappedColumn]] = {}
    __ligand_derived__: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(
        cls,
        *,
        model: type[Any] | None = None,
        include: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
        **config: Unpack[ConfigDict],
    ) -> None:
        """Derive fields, before pydantic collects them: what the body declares, or a base by hand, stays as it is.

        Args:
            model: A mapped class. Without it nothing is derived.
            include: The columns to take, instead of those that this kind of schema takes.
            exclude: Columns to leave out of those.
            **config: pydantic's configuration.

        Raises:
            TypeError: `model` is not mapped, it has no such column, or this kind of schema cannot have it.
            UnknownColumnType: A column's type has no form in JSON that we know.
        """
        super().__init_subclass__(**config)
        if model is None:
            if include is not None or exclude is not None:
                raise TypeError(f"{cls.__name__}: include= and exclude= name columns of a model=, which is not given")
            return
        cls.__ligand_model__ = model
        cls.__ligand_columns__ = columns_of(model)
        own, inherited = _own_annotations(cls), _declared_by_bases(cls)
        annotations: dict[str, Any] = {}
        chosen = cls._choose(include, exclude)
        for name, column in cls.__ligand_columns__.items():
            if name in own or name in inherited:
                declared = cls._adopt(name, own.get(name))
                annotations |= {} if declared is None else {name: declared}
            elif name in chosen:
                annotations[name], field = cls._derive(column)
                setattr(cls, name, field)
        cls.__ligand_derived__ = frozenset(annotations.keys() - own.keys() - inherited)
        cls.__annotations__ = annotations | {name: hint for name, hint in own.items() if name not in annotations}

    @classmethod
    def _choose(cls, include: Collection[str] | None, exclude: Collection[str] | None) -> set[str]:
        """Return the names of the columns to take."""
        columns = cls.__ligand_columns__
        for option, names in (("include", include), ("exclude", exclude)):
            unknown = sorted({*([names] if isinstance(names, str) else names or ())} - columns.keys())
            if unknown:
                raise TypeError(
                    f"{cls.__name__}: {option}= names {', '.join(unknown)}; "
                    f"the columns of {cls.__ligand_model__.__name__} are {', '.join(columns)}"  # type: ignore[union-attr]  # given
                )
        if include is not None:
            chosen = set([include] if isinstance(include, str) else include)
        else:
            chosen = {name for name, column in columns.items() if cls._takes(column)}
        return chosen - set([exclude] if isinstance(exclude, str) else exclude or ())

    @classmethod
    def _takes(cls, column: MappedColumn) -> bool:
        """Return whether this kind of schema takes a column that is not declared by name."""
        raise NotImplementedError

    @classmethod
    def _derive(cls, column: MappedColumn) -> tuple[Any, FieldInfo]:
        """Make a column's field: its annotation, and what else there is to it."""
        raise NotImplementedError

    @classmethod
    def _adopt(cls, name: str, annotation: Any) -> Any:  # noqa: ARG003  (for those that change what is declared)
        """Return the annotation of a column that the body declares, or None where only a base does."""
        return annotation


def _own_annotations(cls: type) -> dict[str, Any]:
    """Return what a class's own body declares, which may name what is not defined yet."""
    if sys.version_info >= (3, 14):
        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return dict(vars(cls).get("__annotations__", {}))


def _declared_by_bases(cls: type) -> set[str]:
    """Return the fields that bases declare by hand; those that they derived are derived anew."""
    return {
        name
        for base in cls.__mro__[1:-1]
        if base is not BaseModel
        for name in _own_annotations(base).keys() - vars(base).get("__ligand_derived__", frozenset())
    }


def _wire_of_column(column: MappedColumn) -> Wire:
    """Return how a column's values travel, null among them where it can be."""
    wire = wire_of(column.type, f"{column.model.__name__}.{column.name}")
    return or_null(wire) if column.is_nullable else wire


def _or_missing(annotation: Any) -> Any:
    """Let a value be absent."""
    return Union[annotation, MISSING]  # noqa: UP007  (the annotation may be a string)


class ReadSchema(DerivedSchema):
    """How rows look from outside: `class PetRead(ReadSchema, model=Pet): ...` has every column of `Pet`.

    It is made from entities and rows, by `model_validate` or `into=`. Relationships are declared in the body, as other
    read schemas: `owner: OwnerRead | None`, `toys: list[ToyRead]`. A column marked `info={"private": True}` is in no
    read schema. Lengths and ranges are documented and not checked: what is stored can be read.

    Args:
        model: A mapped class.
        include: The columns to take, instead of all.
        exclude: The columns to leave out.

    Raises:
        TypeError: `model` is not mapped, it has no such column, or a private one is asked for or declared.
        UnknownColumnType: A column's type has no form in JSON that we know.
    """

    model_config = ConfigDict(from_attributes=True, validate_by_name=True, validate_by_alias=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Refuse private columns, whichever way they came in.

        Raises:
            TypeError: There is one.
        """
        super().__pydantic_init_subclass__(**options)
        private = {name for name, column in cls.__ligand_columns__.items() if column.is_private}
        shown = sorted(
            {source for name, field in cls.model_fields.items() for source in _sources(name, field)} & private
        )
        if shown:
            raise TypeError(
                f"{cls.__name__} shows {', '.join(shown)}, which the model marks private; "
                "leave it out, or take the mark away"
            )

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Make it of an entity, a row or a mapping, with pydantic's options.

        Made of an entity, it knows the version that an entity tag is made of.

        Raises:
            ValidationError: It does not fit.
        """
        value = super().model_validate(obj, **options)
        remember_entity(value, obj)
        return value

    @classmethod
    def _takes(cls, column: MappedColumn) -> bool:
        return not column.is_private

    @classmethod
    def _derive(cls, column: MappedColumn) -> tuple[Any, FieldInfo]:
        field: FieldInfo = Field(description=column.description)
        return _wire_of_column(column).given, field


def _sources(name: str, field: FieldInfo) -> set[str]:
    """Return the attributes that a field may be read from."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    heads = {choice.path[0] if isinstance(choice, AliasPath) else choice for choice in choices}
    return {name, *(head for head in heads if isinstance(head, str))}


def _described(column: MappedColumn, **options: Any) -> FieldInfo:
    """Make a field with a column's description; a private column is never read back.

    Args:
        column: The column.
        **options: Of pydantic's `Field`.
    """
    extra = {**options.pop("json_schema_extra", {}), **({"writeOnly": True} if column.is_private else {})}
    field: FieldInfo = Field(description=column.description, json_schema_extra=extra or None, **options)
    return field


def _absent_allowed(column: MappedColumn, **options: Any) -> tuple[Any, FieldInfo]:
    """Make a field that may be absent, which is not null.

    Args:
        column: The column.
        **options: Of pydantic's `Field`.
    """
    return _or_missing(_wire_of_column(column).taken), _described(column, default=MISSING, **options)


class CreateSchema(DerivedSchema):
    """The body that creates a row: `class PetCreate(CreateSchema, model=Pet): ...`.

    It has the columns that a client may set: no key that is made for it, no timestamps, no version, nothing that the
    database computes or sets. Foreign keys stay, and so does a key without a default.
    What is nullable or has a default may be absent, and is then `pydantic.MISSING`: `Pet(**data.model_dump())` leaves
    it to the column. Unknown keys are refused.

    Args:
        model: A mapped class.
        include: The columns to take, whoever sets them.
        exclude: The columns to leave out.

    Raises:
        TypeError: `model` is not mapped, or it has no such column.
        UnknownColumnType: A column's type has no form in JSON that we know.
    """

    model_config = ConfigDict(extra="forbid")

    def replace(self, entity: Any) -> None:
        """Put these values in the place of an entity's, as PUT does: what is absent goes back to its default.

        Columns that the schema does not have stay as they are.

        Raises:
            ValidationFailed: A key is not the entity's: a PUT does not move what it replaces.
            TypeError: The entity is of another class, lacks a field of the schema, or a default cannot be known.
        """
        _check_entity(self, entity)
        values = self.model_dump()
        for name, column in type(self).__ligand_columns__.items():
            field = type(self).model_fields.get(name)
            if field is not None and not field.exclude and name not in values:
                values[name] = default_of(column)
        _refuse_another_key(self, entity, values)
        _put(entity, values)

    @classmethod
    def _takes(cls, column: MappedColumn) -> bool:
        return not column.is_made

    @classmethod
    def _derive(cls, column: MappedColumn) -> tuple[Any, FieldInfo]:
        if not column.is_optional:
            return _wire_of_column(column).taken, _described(column)
        if column.is_demanded:
            return _wire_of_column(column).taken, _described(column, default_factory=lambda: default_of(column))
        default = documented_default(column)
        return _absent_allowed(column, json_schema_extra={} if default is None else {"default": default})


class PatchSchema(DerivedSchema):
    """The body that changes a row: `class PetPatch(PatchSchema, model=Pet): ...`, a JSON merge patch (RFC 7396).

    It has the columns that a client may set when it makes a row, but no key. Each may be absent, and is then
    `pydantic.MISSING`; so are those that the body declares without a default. Null is a value of its own, and refused
    where the column is not nullable. Unknown keys are refused. An operation takes it as `application/merge-patch+json`
    and as `application/json`.

    Args:
        model: A mapped class.
        include: The columns to take, whoever sets them.
        exclude: The columns to leave out.

    Raises:
        TypeError: `model` is not mapped, or it has no such column.
        UnknownColumnType: A column's type has no form in JSON that we know.
    """

    model_config = ConfigDict(extra="forbid")

    def apply(self, entity: Any) -> None:
        """Put what was sent on an entity. A JSON column's object is merged member by member.

        Raises:
            TypeError: The entity is of another class, or lacks a field of the schema.
        """
        _check_entity(self, entity)
        columns, values = type(self).__ligand_columns__, self.model_dump(exclude_unset=True)
        for name, value in values.items():
            column = columns.get(name)
            if isinstance(value, dict) and column is not None and is_json(column.type):
                values[name] = merge(getattr(entity, name), value)
        _put(entity, values)

    @classmethod
    def _takes(cls, column: MappedColumn) -> bool:
        return not (column.is_made or column.is_key)

    @classmethod
    def _derive(cls, column: MappedColumn) -> tuple[Any, FieldInfo]:
        return _absent_allowed(column)

    @classmethod
    def _adopt(cls, name: str, annotation: Any) -> Any:
        """Let a declared column be absent, too, unless the body gives it a default."""
        stated = vars(cls).get(name, MISSING)
        if annotation is None:
            bases = (base for base in cls.__mro__[1:] if issubclass(base, BaseModel) and name in base.model_fields)
            field = next(bases).model_fields[name]
            if not field.is_required():
                return None
            annotation = field.rebuild_annotation()
        elif isinstance(stated, FieldInfo) and stated.is_required():
            annotation = Annotated[annotation, stated]
        elif stated is not MISSING:
            return annotation
        setattr(cls, name, MISSING)
        return _or_missing(annotation)


def _check_entity(schema: DerivedSchema, entity: Any) -> None:
    """Refuse an entity that a schema is not of.

    Raises:
        TypeError: It is of another class, or lacks what the schema would set.
    """
    kind = type(schema)
    model = kind.__ligand_model__
    if model is None or not isinstance(entity, model):
        wanted = "no model=" if model is None else model.__name__
        raise TypeError(f"{kind.__name__} is a schema of {wanted}, and was given a {type(entity).__name__}")
    lacking = [name for name, field in kind.model_fields.items() if not (field.exclude or hasattr(model, name))]
    if lacking:
        raise TypeError(
            f"{kind.__name__} has fields that {model.__name__} lacks: {', '.join(lacking)}; "
            "give them Field(exclude=True) and use them by hand"
        )


def _refuse_another_key(schema: DerivedSchema, entity: Any, values: dict[str, Any]) -> None:
    """Refuse a key that is not the entity's: what is replaced stays where it is.

    Raises:
        ValidationFailed: It is not.
    """
    columns = type(schema).__ligand_columns__
    moved = [
        name
        for name, value in values.items()
        if name in columns and columns[name].is_key and value != getattr(entity, name)
    ]
    if moved:
        parts = [
            InvalidPart("Input should be the key of what is replaced", "key", pointer=f"/{name}") for name in moved
        ]
        raise ValidationFailed("the request does not fit its schema", errors=parts)


def _put(entity: Any, values: dict[str, Any]) -> None:
    """Set attributes."""
    for name, value in values.items():
        setattr(entity, name, value)


def merge(target: Any, patch: Any) -> Any:
    """Merge a JSON value into another (RFC 7396 section 2): objects by their members, of which null takes one away."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged
