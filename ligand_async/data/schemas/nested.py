"""The relationships that a schema writes, and the fields that it cannot write, which it refuses at import.

An entity owns the rows of a relationship that has "delete-orphan" in its cascade: they are built, changed and removed
with it. All other rows are shared, so a body can only name them, by a key.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, ClassVar, Literal, get_args, get_origin

from pydantic import MISSING, BaseModel, ConfigDict
from pydantic.fields import FieldInfo
from sqlalchemy import ColumnElement, Table
from sqlalchemy.exc import NoReferenceError
from sqlalchemy.ext.associationproxy import AssociationProxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import CompositeProperty, Mapper, RelationshipProperty

from ligand_async.annotations import members_of
from ligand_async.data.flushes import unique_names_of
from ligand_async.data.schemas.derived import DerivedSchema

_BY_HAND = "leave it out, or declare it with Field(exclude=True) and write it by hand"

Refuse = Callable[[str, str, str], None]
"""Refuses a field of a body, with a sentence and a code."""


class FieldNotWritable(TypeError):
    """A field that a schema cannot write; the message names the schema, the field, the reason and the remedy."""

    def __init__(self, schema: type[BaseModel], name: str, reason: str) -> None:
        super().__init__(f"{schema.__name__}.{name} cannot be written: {reason}")


@dataclass(frozen=True, slots=True)
class Nested:
    """A relationship that a schema writes.

    Attributes:
        name: The attribute, and the field.
        is_list: Whether there may be several rows.
        owns: Whether the rows are built, changed and removed with the entity; else they are named by a key.
        keys: The nested schemas, and the attributes of each that name a row; none where rows are replaced as a whole.
    """

    name: str
    is_list: bool
    owns: bool
    keys: "Mapping[type[WriteSchema], tuple[str, ...]]"


class WriteSchema(DerivedSchema):
    """A body that is written to an entity and to the rows that it owns."""

    model_config = ConfigDict(extra="forbid")

    __ligand_patches__: ClassVar[bool] = False
    __ligand_nested__: ClassVar[Mapping[str, Nested]] = {}
    __ligand_settled__: ClassVar[bool] = True

    @classmethod
    def __pydantic_on_complete__(cls) -> None:
        """Refuse fields that cannot be written.

        Raises:
            FieldNotWritable: There is one.
        """
        super().__pydantic_on_complete__()
        model = cls.__ligand_model__
        cls.__ligand_nested__ = {} if model is None else _read_fields(cls, model)
        cls.__ligand_settled__ = not cls.__ligand_nested__ or _is_configured(model)

    def __ligand_values__(self, entity: Any | None, refuse: Refuse) -> dict[str, Any]:
        """Return the values of an entity's columns, or of those of a new one.

        Args:
            entity: The entity; None for a new one.
            refuse: Called with a field, a sentence and a code for each value that cannot be written.
        """
        raise NotImplementedError


def _is_configured(model: Any) -> bool:
    """Return whether SQLAlchemy knows what the relationships of a class lead to."""
    mapper: Mapper[Any] = model.__mapper__
    return mapper.configured


def nested_of(schema: type[WriteSchema]) -> Mapping[str, Nested]:
    """Return the relationships that a schema writes, by the names of their fields.

    Raises:
        FieldNotWritable: One cannot be written, which was not known before all models were defined.
    """
    if not schema.__ligand_settled__:
        model: Any = schema.__ligand_model__
        model.__mapper__.registry.configure()
        schema.__ligand_nested__ = _read_fields(schema, model)
        schema.__ligand_settled__ = True
    return schema.__ligand_nested__


def _read_fields(schema: type[WriteSchema], model: Any) -> dict[str, Nested]:
    mapper: Mapper[Any] = model.__mapper__
    found = {}
    for name, one in schema.model_fields.items():
        column = schema.__ligand_columns__.get(name)
        # Without configuring: what a relationship of the class refers to may not have been defined yet.
        mapped = mapper.get_property(name, _configure_mappers=False) if mapper.has_property(name) else None
        if one.exclude or (column is not None and column.columns):
            continue
        if isinstance(mapped, RelationshipProperty):
            found[name] = _Reader(schema, name, one, mapped).read()
        elif column is not None:
            raise FieldNotWritable(schema, name, f"{model.__name__}.{name} is an SQL expression; {_BY_HAND}")
        elif isinstance(mapped, CompositeProperty):
            parts = ", ".join(part.key for part in mapped.props)
            raise FieldNotWritable(
                schema, name, f"{model.__name__}.{name} is a composite of {parts}; take these, or {_BY_HAND}"
            )
        elif mapped is None and not _will_be_mapped(mapper, name):
            _check_attribute(schema, model, name)
    return found


def _will_be_mapped(mapper: Mapper[Any], name: str) -> bool:
    """Return whether a relationship of another class is going to add an attribute by its `backref`."""
    if mapper.configured:
        return False
    # SQLAlchemy 2.1 has no public way to see relationships without configuring them.
    backrefs = [getattr(one, "backref", None) for other in mapper.registry.mappers for one in other._props.values()]
    return name in {one if isinstance(one, str) else one[0] for one in backrefs if one}


def _check_attribute(schema: type[WriteSchema], model: type[Any], name: str) -> None:
    """Refuse a field whose attribute cannot be set.

    Raises:
        FieldNotWritable: It cannot.
    """
    attribute = inspect.getattr_static(model, name, None)
    if isinstance(attribute, AssociationProxy):
        raise FieldNotWritable(
            schema,
            name,
            f"{model.__name__}.{name} is an association proxy; "
            f"nest a schema of the relationship behind it, or {_BY_HAND}",
        )
    if isinstance(attribute, property | hybrid_property) and attribute.fset is None:
        raise FieldNotWritable(schema, name, f"{model.__name__}.{name} has no setter; {_BY_HAND}")
    argument = inspect.signature(model.__init__).parameters.get(name)
    if (argument is None or argument.kind is argument.VAR_KEYWORD) and not hasattr(attribute, "__set__"):
        raise FieldNotWritable(
            schema,
            name,
            f"{model.__name__} lacks it, as a column, a relationship or a property with a setter; "
            "declare it with Field(exclude=True) and use it by hand",
        )


@dataclass(frozen=True, slots=True)
class _Link:
    """How the rows of a relationship and its entity refer to each other.

    Attributes:
        kind: Its direction, as far as that is known before all models are defined.
        columns: The foreign key: of the rows, or, many to one, of the entity.
    """

    kind: Literal["ONETOMANY", "MANYTOONE", "MANYTOMANY"] | None
    columns: frozenset[ColumnElement[Any]] = frozenset()

    @classmethod
    def of(cls, relationship: RelationshipProperty[Any], target: Mapper[Any], *, is_list: bool) -> "_Link":
        parent = relationship.parent
        if parent.configured:
            kind: Any = relationship.direction.name
            is_many = kind == "MANYTOMANY"
            return cls(kind, frozenset() if is_many else frozenset(one for _, one in relationship.synchronize_pairs))
        # The argument is public at the constructor only, and says before the configuration what `secondary` says after.
        if relationship._init_args.secondary.argument is not None:
            return cls("MANYTOMANY")
        down, up = _foreign_keys(target, parent), _foreign_keys(parent, target)
        if len(down) == 1 and (is_list or not up):
            return cls("ONETOMANY", down[0])
        return cls("MANYTOONE", up[0]) if len(up) == 1 and not (is_list or down) else cls(None)


def _foreign_keys(source: Mapper[Any], target: Mapper[Any]) -> list[frozenset[ColumnElement[Any]]]:
    """Return the foreign keys of one class that refer to another."""
    found: list[frozenset[ColumnElement[Any]]] = []
    for table in source.tables:
        for constraint in table.foreign_key_constraints if isinstance(table, Table) else ():
            try:
                referred = constraint.referred_table
            except NoReferenceError:
                continue  # its table has not been defined yet
            if referred in target.tables and not (source is not target and referred in source.tables):
                found.append(frozenset(constraint.columns))
    return found


class _Reader:
    """Reads what a field says of a relationship, and refuses what cannot be kept."""

    def __init__(
        self, schema: type[WriteSchema], name: str, one: FieldInfo, relationship: RelationshipProperty[Any]
    ) -> None:
        self._schema = schema
        self._name = name
        self._field = one
        self._relationship = relationship
        self._label = f"{relationship.parent.class_.__name__}.{name}"

    def read(self) -> Nested:
        """Return the relationship.

        Raises:
            FieldNotWritable: It cannot be written.
        """
        relationship = self._relationship
        if relationship.viewonly:
            raise self._refusal(f"{self._label} is viewonly; {_BY_HAND}")
        if relationship.lazy in ("dynamic", "write_only"):
            raise self._refusal(f'{self._label} is lazy="{relationship.lazy}", so its rows are not loaded; {_BY_HAND}')
        schemas, is_list = self._read_annotation()
        model: Any = schemas[0].__ligand_model__
        link = _Link.of(relationship, model.__mapper__, is_list=is_list)
        owns = relationship.cascade.delete_orphan
        if owns:
            keys = {one: self._check_owned(one, link, is_list=is_list) for one in schemas}
        else:
            keys = {one: self._check_shared(one, link) for one in schemas}
        if link.kind == "MANYTOONE":
            self._check_foreign_key(link)
        return Nested(self._name, is_list, owns, keys)

    def _refusal(self, reason: str) -> FieldNotWritable:
        return FieldNotWritable(self._schema, self._name, reason)

    def _read_annotation(self) -> tuple[list[type[WriteSchema]], bool]:
        members = [one for one in members_of(self._field.annotation) if one is not MISSING]
        is_list = len(members) == 1 and get_origin(members[0]) is list
        parts = members_of(get_args(members[0])[0]) if is_list else members
        schemas = [one for one in parts if isinstance(one, type) and issubclass(one, WriteSchema)]
        wanted = "PatchSchema or CreateSchema" if self._schema.__ligand_patches__ else "CreateSchema"
        if not schemas or len(schemas) < len(parts) or any(one.__ligand_model__ is None for one in schemas):
            raise self._refusal(
                f"{self._label} is a relationship, and the field is not made of schemas that write its rows; "
                f"declare a {wanted} with a model=, a list of it for several rows, or Field(exclude=True) "
                "and write it by hand"
            )
        if not self._schema.__ligand_patches__ and any(one.__ligand_patches__ for one in schemas):
            raise self._refusal("a PatchSchema says what changes, not what the whole is; nest a CreateSchema")
        uselist = self._relationship.uselist
        if uselist is not None and uselist is not is_list:
            raise self._refusal(f"{self._label} has {'many rows: declare a list' if uselist else 'one row: no list'}")
        for one in schemas:
            if not self._leads_to(one.__ligand_model__):
                raise self._refusal(f"{one.__name__} is a schema of another class than {self._label} leads to")
        return schemas, is_list

    def _leads_to(self, model: Any) -> bool:
        argument: Any = self._relationship.argument
        if self._relationship.parent.configured:
            return issubclass(model, self._relationship.mapper.class_)
        if isinstance(argument, str):
            return argument.rpartition(".")[2] in {one.__name__ for one in model.__mro__}
        return not isinstance(argument, type) or issubclass(model, argument)

    def _check_owned(self, schema: type[WriteSchema], link: _Link, *, is_list: bool) -> tuple[str, ...]:
        """Return the attributes that name a row among those of its entity."""
        model: Any = schema.__ligand_model__
        columns = link.columns if link.kind == "ONETOMANY" else frozenset()
        doubled = _fields_of(schema, columns)
        if doubled:
            raise self._refusal(
                f"{schema.__name__} has {', '.join(doubled)}, which {self._label} sets itself; "
                f"leave it out of {schema.__name__} by exclude="
            )
        mapper: Mapper[Any] = model.__mapper__
        names = [mapper.get_property_by_column(one).key for one in mapper.primary_key if one not in columns]
        key = tuple(names) if names and set(names) <= set(written_names(schema)) else ()
        if is_list and schema.__ligand_patches__ and not key:
            raise self._refusal(
                f"{schema.__name__} lacks the key, {', '.join(names)}, so it cannot be known which row it changes; "
                "declare the key, or nest a CreateSchema, whose rows replace all"
            )
        return key

    def _check_shared(self, schema: type[WriteSchema], link: _Link) -> tuple[str, ...]:
        """Return the attributes that name a row among all."""
        model: Any = schema.__ligand_model__
        if link.kind == "ONETOMANY":
            raise self._refusal(
                f"{self._label} would leave rows that no {self._relationship.parent.class_.__name__} has; "
                f'give the relationship cascade="all, delete-orphan", or {_BY_HAND}'
            )
        names = {name: schema.model_fields[name].is_required() for name in written_names(schema)}
        if frozenset(names) not in unique_names_of(model.__mapper__) or not all(names.values()):
            raise self._refusal(
                f"others may share the rows of {self._label}, so a body can only name them; "
                f"let {schema.__name__} have the fields of a key and no more, each declared as required, such as "
                f'include={{"id"}} and `id: UUID`'
            )
        return tuple(names)

    def _check_foreign_key(self, link: _Link) -> None:
        doubled = _fields_of(self._schema, link.columns)
        if doubled:
            raise self._refusal(
                f"{', '.join(doubled)} is a field, too, and both set it; leave one out, such as by "
                f"exclude={{{', '.join(map(repr, doubled))}}}"
            )
        can_be_null = NoneType in _alternatives(self._field.annotation)
        can_be_absent = not self._field.is_required() and not self._schema.__ligand_patches__
        if (can_be_null or can_be_absent) and not all(one.nullable for one in link.columns):
            raise self._refusal(
                f"{self._label} cannot be empty, because its foreign key is not nullable; "
                "declare the field as required and without None"
            )


def _alternatives(annotation: Any) -> Iterator[Any]:
    """Yield the members of a union, None among them."""
    origin = get_origin(annotation)
    for part in get_args(annotation) if origin is not None and origin is not list else ():
        yield part
        yield from _alternatives(part)


def written_names(schema: type[WriteSchema]) -> list[str]:
    """Return the fields of a schema that are written."""
    return [name for name, one in schema.model_fields.items() if not one.exclude]


def _fields_of(schema: type[WriteSchema], columns: frozenset[ColumnElement[Any]]) -> list[str]:
    """Return the fields of a schema that write some columns."""
    known = schema.__ligand_columns__
    return [name for name in written_names(schema) if name in known and not columns.isdisjoint(known[name].columns)]
