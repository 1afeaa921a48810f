"""The bodies that create, replace and patch a row: `CreateSchema` and `PatchSchema`."""

from typing import Annotated, Any, ClassVar, TypeVar, Union, get_type_hints

from pydantic import MISSING, Field
from pydantic.fields import FieldInfo
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.data.schemas.columns import MappedColumn, default_of, documented_default
from ligand_async.data.schemas.derived import fields_of, wire_of_column
from ligand_async.data.schemas.nested import Refuse, WriteSchema, nested_of
from ligand_async.data.schemas.rows import load_for, write
from ligand_async.data.schemas.types import is_json

E = TypeVar("E")


def _or_missing(annotation: Any) -> Any:
    """Let a value be absent."""
    return Union[annotation, MISSING]  # noqa: UP007  (the annotation may be a string)


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
    return _or_missing(wire_of_column(column).taken), _described(column, default=MISSING, **options)


class _Body(WriteSchema):
    """A body that loads the rows that it is going to change."""

    async def load(self, session: AsyncSession, entity: object | None = None) -> None:
        """Load the rows of an entity that the body writes, and the rows that the body names by a key.

        A schema with nested ones needs it before `replace()` and `apply()`, and one that names rows before `new()`.

        Args:
            session: The session of the unit of work.
            entity: What is going to be replaced or patched; None before `new()`.

        Raises:
            ValidationFailed: A row that the body names does not exist.
            TypeError: The entity is of another class.
        """
        if entity is not None:
            _check_entity(self, entity)
        await session.run_sync(load_for, self, entity)


class CreateSchema(_Body):
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

    def new(self, model: type[E]) -> E:
        """Build an entity, with the rows that it owns; it is not added to a session.

        What is absent is left to the defaults of the columns. The next flush reads lists back in the database's order.

        Args:
            model: The class: that of the schema, or one below it.

        Raises:
            ValidationFailed: The body has a key that is made for a row, or the same key twice.
            LazyLoadRefused: The body names rows, and `load()` was not called.
            TypeError: It is another class.
        """
        wanted = type(self).__ligand_model__
        if wanted is None or not issubclass(model, wanted):
            name = "no model=" if wanted is None else wanted.__name__
            raise TypeError(f"{type(self).__name__} is a schema of {name}, and was given the class {model.__name__}")
        return write(self, model, None)

    def replace(self, entity: Any) -> None:
        """Put these values in the place of an entity's, as PUT does: what is absent goes back to its default.

        Columns that the schema does not have stay as they are. Nested schemas replace the rows of their relationship:
        rows whose key is sent are replaced, others are built, and the rest is removed.

        Raises:
            ValidationFailed: A key is not the entity's or that of its rows, or comes twice: a PUT does not move what it
                replaces.
            LazyLoadRefused: Rows were not loaded: `load()` was not called.
            TypeError: The entity is of another class, lacks a field of the schema, or a default cannot be known.
        """
        _check_entity(self, entity)
        write(self, type(entity), entity)

    def __ligand_values__(self, entity: Any | None, refuse: Refuse) -> dict[str, Any]:
        nested = nested_of(type(self))
        values = self.model_dump(exclude=set(nested)) if nested else self.model_dump()
        if entity is None:
            return values
        for name, column in type(self).__ligand_columns__.items():
            field = type(self).model_fields.get(name)
            if field is None or field.exclude:
                continue
            if column.is_key:
                if values.get(name, getattr(entity, name)) != getattr(entity, name):
                    refuse(name, "Input should be the key of what is replaced", "key")
            elif name not in values:
                values[name] = default_of(column)
        return values

    @classmethod
    def _takes(cls, column: MappedColumn) -> bool:
        return not column.is_made

    @classmethod
    def _derive(cls, column: MappedColumn) -> tuple[Any, FieldInfo]:
        if not column.is_optional:
            return wire_of_column(column).taken, _described(column)
        if column.is_demanded:
            return wire_of_column(column).taken, _described(column, default_factory=lambda: default_of(column))
        default = documented_default(column)
        return _absent_allowed(column, json_schema_extra={} if default is None else {"default": default})


class PatchSchema(_Body):
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

    __ligand_patches__: ClassVar[bool] = True

    def apply(self, entity: Any) -> None:
        """Put what was sent on an entity, and leave the rest. A JSON column's object is merged member by member.

        A list of nested schemas replaces the rows of its relationship: nested patches change the rows whose key they
        have. One nested patch changes the row that is there.

        Raises:
            ValidationFailed: A key is not that of one of the entity's rows, or comes twice, or a nested patch lacks
                what a new row needs.
            LazyLoadRefused: Rows were not loaded: `load()` was not called.
            TypeError: The entity is of another class, or lacks a field of the schema.
        """
        _check_entity(self, entity)
        write(self, type(entity), entity)

    def __ligand_values__(self, entity: Any | None, refuse: Refuse) -> dict[str, Any]:
        columns, nested = type(self).__ligand_columns__, nested_of(type(self))
        values = self.model_dump(exclude_unset=True, exclude=set(nested) or None)
        for name, value in values.items():
            column = columns.get(name)
            if isinstance(value, dict) and column is not None and is_json(column.type):
                values[name] = merge(None if entity is None else getattr(entity, name), value)
        for name in type(self).model_fields if entity is None else ():
            if name in columns and name not in values and not (columns[name].is_made or columns[name].is_optional):
                refuse(name, "Field required", "missing")
        return values

    @classmethod
    def _takes(cls, column: MappedColumn) -> bool:
        return not (column.is_made or column.is_key)

    @classmethod
    def _derive(cls, column: MappedColumn) -> tuple[Any, FieldInfo]:
        return _absent_allowed(column)

    @classmethod
    def _adopt(cls, name: str, annotation: Any) -> Any:
        """Let a declared field be absent, too, unless the body gives it a default."""
        stated = vars(cls).get(name, MISSING)
        if annotation is None:
            field = next(fields_of(base)[name] for base in cls.__mro__[1:] if name in fields_of(base))
        else:
            read = _evaluate(cls, annotation)
            is_bare = stated is MISSING
            field = FieldInfo.from_annotation(read) if is_bare else FieldInfo.from_annotated_attribute(read, stated)
        if not field.is_required():
            return annotation
        # Bounds are those of the value; a name in JSON and the like are the field's, and have no effect within a union.
        said = {key: value for key, value in field.asdict()["attributes"].items() if value is not None}
        for key in ("default", "alias_priority", "discriminator"):
            said.pop(key, None)
        setattr(cls, name, Field(default=MISSING, **said))
        inner = field.rebuild_annotation()
        return _or_missing(Annotated[inner, Field(discriminator=field.discriminator)] if field.discriminator else inner)


def _evaluate(cls: type, annotation: Any) -> Any:
    """Evaluate an annotation that is a text; return it as it is if it names what is not defined yet."""
    if not isinstance(annotation, str):
        return annotation
    holder = type("Holder", (), {"__annotations__": {"field": annotation}, "__module__": cls.__module__})
    try:
        return get_type_hints(holder, include_extras=True)["field"]
    except NameError:
        return annotation


def _check_entity(schema: WriteSchema, entity: Any) -> None:
    """Refuse an entity that a schema is not of.

    Raises:
        TypeError: It is of another class, or lacks what the schema would set.
    """
    kind = type(schema)
    model = kind.__ligand_model__
    if model is None or not isinstance(entity, model):
        wanted = "no model=" if model is None else model.__name__
        raise TypeError(f"{kind.__name__} is a schema of {wanted}, and was given a {type(entity).__name__}")


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
