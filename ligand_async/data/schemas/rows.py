"""The rows of an entity whose body is written: they are loaded, matched with the body, planned and put in place.

A body is planned as a whole before the first attribute is set, so everything that is wrong is in one 422.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import MISSING, AliasChoices, AliasPath, BaseModel
from sqlalchemy.orm import Mapper, RelationshipProperty, Session
from sqlalchemy.orm.attributes import instance_state

from ligand_async.data.errors import LazyLoadRefused
from ligand_async.data.flushes import (
    has_unique_rows,
    is_known_empty,
    note_crowded,
    note_written,
    put_rows,
    rows_of,
)
from ligand_async.data.schemas.loading import load_missing, select_rows
from ligand_async.data.schemas.nested import Nested, WriteSchema, nested_of
from ligand_async.errors import InvalidPart, ValidationFailed

_FOUND = "_ligand_found"  # in an instance's dictionary, where pydantic leaves what it does not know alone
_DETAIL = "the request does not fit its schema"

_Key = tuple[Any, ...]
_Path = tuple[str | int, ...]

E = TypeVar("E")


def load_for(session: Session, body: WriteSchema, entity: object | None) -> None:
    """Load the rows of an entity that a body writes, and the rows that the body names by a key.

    Raises:
        ValidationFailed: A row that the body names does not exist.
    """
    named = list(_named_in(body, ()))
    with session.no_autoflush:
        if entity is not None:
            _load_rows(session, type(body), [entity])
        found = body.__dict__[_FOUND] = _find_rows(session, named)
    refused = [one.refusal() for one in named if (one.model, one.names, one.key) not in found]
    if refused:
        raise ValidationFailed(_DETAIL, errors=refused)


@dataclass(frozen=True, slots=True)
class _Named:
    """A row that a body names.

    Attributes:
        model: Its class.
        names: The attributes of its key.
        key: The key.
        path: Where it stands in the body.
    """

    model: type[Any]
    names: tuple[str, ...]
    key: _Key
    path: _Path

    def refusal(self) -> InvalidPart:
        """Return the part of the 422 for a row that does not exist."""
        return InvalidPart(
            f"there is no such {self.model.__name__.lower()}", "unknown_key", pointer=_pointer(self.path)
        )


_Found = dict[tuple[type[Any], tuple[str, ...], _Key], Any]


def _named_in(body: WriteSchema, path: _Path) -> Iterator[_Named]:
    """Yield the rows that a body and those within it name."""
    for nested in nested_of(type(body)).values():
        for item, place in _items_of(body, nested, path, is_new=True):
            if nested.owns:
                yield from _named_in(item, place)
            else:
                yield _name(item, nested, place)


def _name(item: WriteSchema, nested: Nested, path: _Path) -> _Named:
    model: Any = type(item).__ligand_model__
    names = nested.keys[type(item)]
    return _Named(model, names, _values(item, names), path)


def _values(item: Any, names: Sequence[str]) -> _Key:
    return tuple(getattr(item, name) for name in names)


def _sent(body: WriteSchema, nested: Nested, *, is_new: bool) -> list[Any] | None:
    """Return the nested bodies that were sent for a relationship, or None if it stays as it is."""
    value = getattr(body, nested.name)
    is_patch = body.__ligand_patches__
    if value is MISSING or (is_patch and nested.name not in body.model_fields_set):
        return None if is_new or is_patch else []
    if value is None:
        return []
    return list(value) if nested.is_list else [value]


def _items_of(body: WriteSchema, nested: Nested, path: _Path, *, is_new: bool) -> Iterator[tuple[WriteSchema, _Path]]:
    """Yield the nested bodies of a relationship, and where they stand."""
    place = (*path, *_member(type(body), nested.name))
    for index, item in enumerate(_sent(body, nested, is_new=is_new) or ()):
        yield item, (*place, index) if nested.is_list else place


def _find_rows(session: Session, named: Iterable[_Named]) -> _Found:
    wanted: dict[tuple[type[Any], tuple[str, ...]], set[_Key]] = {}
    for one in named:
        wanted.setdefault((one.model, one.names), set()).add(one.key)
    found: _Found = {}
    for (model, names), keys in wanted.items():
        for row in select_rows(session, model, names, keys):
            found[model, names, _values(row, names)] = row
    return found


def _load_rows(session: Session, schema: type[WriteSchema], entities: Sequence[Any]) -> None:
    """Load the relationships of entities that a schema writes, and those of their rows, where they are not loaded."""
    model: Any = schema.__ligand_model__
    for nested in nested_of(schema).values():
        classes: list[Any] = [one.__ligand_model__ for one in nested.keys]
        load_missing(session, model, nested.name, entities, classes)
        for inner, rows in _rows_by_schema(nested, entities):
            _load_rows(session, inner, rows)


def _expire_lists(session: Session, schema: type[WriteSchema], entities: Sequence[Any], kept: list[Any]) -> None:
    for nested in nested_of(schema).values():
        for inner, rows in _rows_by_schema(nested, entities):
            _expire_lists(session, inner, rows, kept)
        for entity in entities if nested.is_list else ():
            rows = list(rows_of(entity, nested.name))
            if len(rows) > 1:
                kept += rows
                session.expire(entity, [nested.name])


@dataclass(frozen=True, slots=True)
class _Reload:
    """Reads lists back in the order of the database."""

    schema: type[WriteSchema]

    def __call__(self, session: Session, entities: Sequence[Any]) -> None:
        with session.no_autoflush:
            kept: list[Any] = []  # the session refers to them weakly
            _expire_lists(session, self.schema, entities, kept)
            _load_rows(session, self.schema, entities)


def _rows_by_schema(nested: Nested, entities: Sequence[Any]) -> Iterator[tuple[type[WriteSchema], list[Any]]]:
    """Yield the schemas of the rows that entities own, and the loaded rows."""
    loaded = [entity for entity in entities if nested.name in instance_state(entity).dict] if nested.owns else []
    rows = [row for entity in loaded for row in rows_of(entity, nested.name)]
    for schema in nested.keys:
        model: Any = schema.__ligand_model__
        if own := [row for row in rows if isinstance(row, model)]:
            yield schema, own


@dataclass(slots=True)
class _Plan:
    """The changes of one entity and of the rows that it owns.

    Attributes:
        model: The class of the entity.
        entity: The entity; None if it is built.
        values: The values of its columns.
        rows: The rows of its relationships, in their order: plans, or entities that are shared.
    """

    model: type[Any]
    entity: Any | None
    values: dict[str, Any]
    rows: dict[str, list[Any]] = field(default_factory=dict)

    def carry_out(self) -> Any:
        """Write the entity, and return it."""
        rows = {
            name: [one.carry_out() if isinstance(one, _Plan) else one for one in self.rows[name]] for name in self.rows
        }
        if self.entity is None:
            return _build(self.model, self.values, rows)
        for name, value in self.values.items():
            setattr(self.entity, name, value)
        for name, written in rows.items():
            relationship: RelationshipProperty[Any] = instance_state(self.entity).mapper.relationships[name]
            if has_unique_rows(relationship):
                note_crowded(self.entity, name)
            if list(rows_of(self.entity, name)) != written:
                put_rows(self.entity, name, written)
        return self.entity


def _build(model: type[E], values: dict[str, Any], rows: dict[str, list[Any]]) -> E:
    arguments = {field.name: field for field in dataclasses.fields(model)} if dataclasses.is_dataclass(model) else {}
    mapper: Mapper[Any] = model.__mapper__  # type: ignore[attr-defined]  # it is mapped
    for name in rows:
        argument = arguments.get(name)
        if (
            argument is not None
            and argument.init
            and argument.default is argument.default_factory is dataclasses.MISSING
        ):
            values[name] = rows[name] if mapper.relationships[name].uselist else (rows[name] or [None])[0]
    later = [name for name in values if name in arguments and not arguments[name].init]
    entity = model(**{name: value for name, value in values.items() if name not in later})
    for name in later:
        setattr(entity, name, values[name])
    for name, written in rows.items():
        if name not in values:
            put_rows(entity, name, written)
    return entity


@dataclass(slots=True)
class _Planner:
    """Plans what a body writes, and collects what cannot be written."""

    root: WriteSchema
    found: _Found
    refused: list[InvalidPart] = field(default_factory=list)

    def plan(self, body: WriteSchema, model: type[Any], entity: Any | None, path: _Path) -> _Plan:
        """Plan one entity and the rows that it owns."""

        def refuse(name: str, detail: str, code: str) -> None:
            self._refuse((*path, *_member(type(body), name)), detail, code)

        plan = _Plan(model, entity, body.__ligand_values__(entity, refuse))
        for nested in nested_of(type(body)).values():
            if _sent(body, nested, is_new=entity is None) is not None:
                current = [] if entity is None else self._current_rows(entity, nested)
                items = list(_items_of(body, nested, path, is_new=entity is None))
                choose = self._plan_owned if nested.owns else self._choose_shared
                plan.rows[nested.name] = list(choose(nested, items, current))
        return plan

    def _refuse(self, path: _Path, detail: str, code: str) -> None:
        self.refused.append(InvalidPart(detail, code, pointer=_pointer(path)))

    def _current_rows(self, entity: Any, nested: Nested) -> list[Any]:
        state = instance_state(entity)
        if state.key is not None and nested.name not in state.dict:
            relationship: RelationshipProperty[Any] = state.mapper.relationships[nested.name]
            if not is_known_empty(state, relationship):
                raise LazyLoadRefused(
                    f"{type(self.root).__name__} writes {type(entity).__name__}.{nested.name}, which was not loaded: "
                    "await data.load(session, entity) first, on the schema's instance"
                )
        return list(rows_of(entity, nested.name))

    def _plan_owned(
        self, nested: Nested, items: list[tuple[WriteSchema, _Path]], current: list[Any]
    ) -> Iterator[_Plan]:
        """Match nested bodies with rows: by the key where they have one; a single one is matched with the row there."""
        known = {names: {_values(row, names): row for row in current} for names in set(nested.keys.values()) if names}
        taken: set[_Key] = set()
        for item, path in items:
            names = nested.keys[type(item)]
            model: Any = type(item).__ligand_model__
            key = _values(item, names)
            row = None
            if names and not any(part is MISSING or part is None for part in key):
                row = known[names].get(key)
                refusal = self._check_key(item, names, row, is_taken=key in taken)
                taken.add(key)
                if refusal is not None:
                    self._refuse((*path, *_member(type(item), names[0])) if len(names) == 1 else path, *refusal)
                    continue
            elif not nested.is_list and current and isinstance(current[0], model):
                row = current[0]
            yield self.plan(item, model, row, path)

    def _check_key(
        self, item: WriteSchema, names: tuple[str, ...], row: Any, *, is_taken: bool
    ) -> tuple[str, str] | None:
        """Return why a key is refused: it comes twice, or no row has it, though it is not for clients to choose."""
        model: Any = type(item).__ligand_model__
        columns = type(item).__ligand_columns__
        if is_taken:
            return "the same key is there twice", "duplicate_key"
        is_unknown = row is None and any(columns[name].is_made for name in names)
        if is_unknown or (row is not None and not isinstance(row, model)):
            return f"there is no such {model.__name__.lower()} here", "unknown_key"
        return None

    def _choose_shared(
        self, nested: Nested, items: list[tuple[WriteSchema, _Path]], current: list[Any]
    ) -> Iterator[Any]:
        known = {names: {_values(row, names): row for row in current} for names in nested.keys.values()}
        taken: set[_Key] = set()
        for item, path in items:
            named = _name(item, nested, path)
            row = self.found.get((named.model, named.names, named.key), known[named.names].get(named.key))
            if named.key in taken:
                self._refuse(path, "the same key is there twice", "duplicate_key")
            elif row is None:
                raise LazyLoadRefused(
                    f"{type(self.root).__name__} names a row of {named.model.__name__} by its key, which was not "
                    "loaded: await data.load(session) first, or data.load(session, entity), on the schema's instance"
                )
            else:
                taken.add(named.key)
                yield row


def write(body: WriteSchema, model: type[E], entity: E | None) -> E:
    """Write a body to an entity, or to a new one, and to the rows that it owns.

    Raises:
        ValidationFailed: A key is not one of the entity's rows, or comes twice, or the body lacks what a new row needs.
        LazyLoadRefused: Rows were not loaded.
    """
    planner = _Planner(body, body.__dict__.get(_FOUND, {}))
    plan = planner.plan(body, model, entity, ())
    if planner.refused:
        raise ValidationFailed(_DETAIL, errors=planner.refused)
    written: E = plan.carry_out()
    if plan.rows:
        note_written(written, _Reload(type(body)))
    return written


def _member(schema: type[BaseModel], name: str) -> _Path:
    """Return the member of a JSON object that a field is read from."""
    alias = schema.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        alias = alias.choices[0]
    return tuple(alias.path) if isinstance(alias, AliasPath) else (alias or name,)


def _pointer(path: _Path) -> str:
    """Write a path as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
