"""Schemas derived from a mapped class: what they share, and `ReadSchema`."""

import sys
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Self, Unpack, get_args, get_origin, get_type_hints

from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped

from ligand_async.annotations import without_none
from ligand_async.data.schemas.columns import MappedColumn, columns_of
from ligand_async.data.schemas.loading import load_shown
from ligand_async.data.schemas.types import wire_of
from ligand_async.data.schemas.wire import JSON, Wire, json_as, or_null
from ligand_async.data.versions import remember_entity

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
            cls._adopt_others()
            return
        cls.__ligand_model__ = model
        cls.__ligand_columns__ = columns_of(model)
        cls._adopt_others()
        own, inherited = own_annotations(cls), _declared_by_bases(cls)
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
        """Return the annotation of a field that the body declares, or None where only a base does."""
        return annotation

    @classmethod
    def _adopt_others(cls) -> None:
        """Adopt the fields that a body or a base declares and that are not columns."""
        own, inherited = own_annotations(cls), _declared_by_bases(cls)
        names = [name for name, hint in own.items() if not (name.startswith("_") or _is_class_variable(hint))]
        names += [name for name in inherited - own.keys() if any(name in fields_of(base) for base in cls.__mro__[1:])]
        adopted = {name: cls._adopt(name, own.get(name)) for name in names if name not in cls.__ligand_columns__}
        cls.__annotations__ = own | {name: hint for name, hint in adopted.items() if hint is not None}


def own_annotations(cls: type) -> dict[str, Any]:
    """Return what a class's own body declares, which may name what is not defined yet."""
    if sys.version_info >= (3, 14):
        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return dict(vars(cls).get("__annotations__", {}))


def _is_class_variable(hint: Any) -> bool:
    return hint is ClassVar or get_origin(hint) is ClassVar or (isinstance(hint, str) and "ClassVar" in hint)


def fields_of(base: type) -> Mapping[str, FieldInfo]:
    """Return the fields of a class: none if it is not a model."""
    return base.model_fields if issubclass(base, BaseModel) else {}


def _declared_by_bases(cls: type) -> set[str]:
    """Return the fields that bases declare by hand; those that they derived are derived anew."""
    return {
        name
        for base in cls.__mro__[1:-1]
        if base is not BaseModel
        for name in own_annotations(base).keys() - vars(base).get("__ligand_derived__", frozenset())
    }


def wire_of_column(column: MappedColumn) -> Wire:
    """Return how a column's values travel, null among them where it can be."""
    wire = wire_of(column.type, f"{column.model.__name__}.{column.name}")
    if wire is JSON and (container := _declared_container(column)) is not None:
        wire = Wire(json_as(container).taken, JSON.given)
    return or_null(wire) if column.is_nullable else wire


def _declared_container(column: MappedColumn) -> Any:
    """Return the type of a JSON column that is declared as `Mapped[dict[...]]` or `Mapped[list[...]]`, else None."""
    for cls in column.model.__mro__:
        hint = own_annotations(cls).get(column.name)
        if hint is None:
            continue
        bearer = type("Bearer", (), {"__annotations__": {column.name: hint}, "__module__": cls.__module__})
        try:
            declared = get_type_hints(bearer, include_extras=True)[column.name]
        except (NameError, TypeError):  # a name that only type checkers import
            return None
        arguments = get_args(declared) if get_origin(declared) is Mapped else (declared,)
        kind, _ = without_none(arguments[0])
        return kind if (get_origin(kind) or kind) in {dict, list} else None
    return None


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
    async def load(cls, session: AsyncSession, entity: object) -> Self:
        """Make it of an entity that was changed: flush, load the relationships that are not loaded, and validate.

        Args:
            session: The session of the entity.
            entity: The entity, which is stored or pending.

        Raises:
            ValidationError: It does not fit.
        """
        await session.flush()
        await session.run_sync(load_shown, cls, [entity])
        return cls.model_validate(entity)

    @classmethod
    def _takes(cls, column: MappedColumn) -> bool:
        return not column.is_private

    @classmethod
    def _derive(cls, column: MappedColumn) -> tuple[Any, FieldInfo]:
        field: FieldInfo = Field(description=column.description)
        return wire_of_column(column).given, field


def _sources(name: str, field: FieldInfo) -> set[str]:
    """Return the attributes that a field may be read from."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    heads = {choice.path[0] if isinstance(choice, AliasPath) else choice for choice in choices}
    return {name, *(head for head in heads if isinstance(head, str))}
