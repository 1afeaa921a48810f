"""What all schemas of a mapped class share: their fields are made of its columns when their class is made."""

import sys
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Union, Unpack

from pydantic import MISSING, BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from ligand_async.data.schemas.columns import MappedColumn, columns_of
from ligand_async.data.schemas.types import wire_of
from ligand_async.data.schemas.wire import Wire, or_null

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
        own, inherited = own_annotations(cls), declared_by_bases(cls)
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
        """Tell whether this kind of schema takes a column that was not asked for by name."""
        raise NotImplementedError

    @classmethod
    def _derive(cls, column: MappedColumn) -> tuple[Any, FieldInfo]:
        """Make a column's field: its annotation, and what else there is to it."""
        raise NotImplementedError

    @classmethod
    def _adopt(cls, name: str, annotation: Any) -> Any:  # noqa: ARG003  (for those that change what is declared)
        """Return the annotation of a column that the body declares, or None where only a base does."""
        return annotation


def own_annotations(cls: type) -> dict[str, Any]:
    """Return what a class's own body declares, which may name what is not defined yet."""
    if sys.version_info >= (3, 14):
        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return dict(vars(cls).get("__annotations__", {}))


def declared_by_bases(cls: type) -> set[str]:
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
    return or_null(wire) if column.is_nullable else wire


def or_missing(annotation: Any) -> Any:
    """Let a value be absent."""
    return Union[annotation, MISSING]  # noqa: UP007  (the annotation may be a string)
