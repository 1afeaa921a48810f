"""Reading: one thing or 404, and statements that select straight into a schema.

A statement is narrowed to a schema once for each shape, which is all that it is but its values. Where nobody could tell
the difference, the engine reads the rows without SQLAlchemy's session: see `read_rows`.
"""

from collections.abc import Callable, Collection, Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as member
from functools import lru_cache, partial
from typing import Any, Generic, Protocol, TypeVar, overload

from pydantic import BaseModel, TypeAdapter
from sqlalchemy import BindParameter, Column, Row, Select, Table, bindparam, inspect, select
from sqlalchemy.engine import Result
from sqlalchemy.exc import MultipleResultsFound
from sqlalchemy.ext.associationproxy import AssociationProxyInstance
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import (
    ColumnProperty,
    CompositeProperty,
    Mapper,
    QueryableAttribute,
    RelationshipProperty,
    load_only,
    selectinload,
)
from sqlalchemy.orm.strategy_options import _AbstractLoad  # what Load.options() takes; it has no public name
from sqlalchemy.sql import ColumnElement

from ligand_async.annotations import walk
from ligand_async.data.attributes import expression_of, is_computed, property_of, proxy_of
from ligand_async.data.schemas.loading import load_shown
from ligand_async.data.unit import UnitSession
from ligand_async.data.versions import origin_names, origin_of_row, remember_origin
from ligand_async.errors import NotFound

E = TypeVar("E")
S = TypeVar("S", bound=BaseModel)
P = TypeVar("P", bound="_Shared")


@overload
async def get_or_404(session: AsyncSession, entity: type[E], key: Any, *, detail: str | None = None) -> E: ...
@overload
async def get_or_404(
    session: AsyncSession, entity: type[E], key: Any, *, into: type[S], detail: str | None = None
) -> S: ...
async def get_or_404(
    session: AsyncSession, entity: type[E], key: Any, *, into: type[S] | None = None, detail: str | None = None
) -> E | S:
    """Return the entity with a primary key, or the schema made of it.

    Args:
        session: The unit's session.
        entity: A mapped class.
        key: Its primary key; a tuple where it has several columns.
        into: A schema: only its columns are read, and what its entity tag is made of.
        detail: The detail of the 404. By default it says which kind of thing there is not. Never name the key in it.

    Raises:
        NotFound: There is none.
    """
    if into is None:
        entity_found = await session.get(entity, key)
        if entity_found is None:
            raise _not_found(entity, detail)
        return entity_found
    values = key if isinstance(key, tuple) else (key,)
    prepared: tuple[_Reading[S], tuple[Any, ...]] | None
    prepared = _reading_by_key(entity, into)  # type: ignore[arg-type]  # classes are hashable
    if prepared is not None and prepared[1] == tuple(map(type, values)):
        found = await _read(session, prepared[0], {f"{_KEY}{n}": value for n, value in enumerate(values)})
        if not found:
            raise _not_found(entity, detail)
        return found[0]
    columns = inspect(entity).primary_key
    statement = select(entity).where(*(column == value for column, value in zip(columns, values, strict=True)))
    return await first_or_404(session, statement, into=into, detail=detail)


@overload
async def first_or_404(session: AsyncSession, statement: Select[E], *, detail: str | None = None) -> E: ...
@overload
async def first_or_404(
    session: AsyncSession, statement: Select[Any], *, into: type[S], detail: str | None = None
) -> S: ...
async def first_or_404(
    session: AsyncSession, statement: Select[Any], *, into: type[S] | None = None, detail: str | None = None
) -> Any:
    """Return the first result of a statement.

    Args:
        session: The unit's session.
        statement: Its order decides which is the first.
        into: A schema: only its columns are read.
        detail: The detail of the 404, as of `get_or_404`.

    Raises:
        NotFound: There is none.
        IntoNotPossible: `into` cannot be read by this statement.
    """
    results = await _read_at_most(session, statement, 1, into)
    if not results:
        raise _not_found(statement, detail)
    return results[0]


@overload
async def one_or_404(session: AsyncSession, statement: Select[E], *, detail: str | None = None) -> E: ...
@overload
async def one_or_404(
    session: AsyncSession, statement: Select[Any], *, into: type[S], detail: str | None = None
) -> S: ...
async def one_or_404(
    session: AsyncSession, statement: Select[Any], *, into: type[S] | None = None, detail: str | None = None
) -> Any:
    """Return the only result of a statement.

    Args:
        session: The unit's session.
        statement: What selects it.
        into: A schema: only its columns are read.
        detail: The detail of the 404, as of `get_or_404`.

    Raises:
        NotFound: There is none.
        MultipleResultsFound: There are several: a fault of the statement, so a 500.
        IntoNotPossible: `into` cannot be read by this statement.
    """
    results = await _read_at_most(session, statement, 2, into)
    if not results:
        raise _not_found(statement, detail)
    if len(results) > 1:
        raise MultipleResultsFound("one_or_404() found several; narrow the statement or use first_or_404()")
    return results[0]


async def _read_at_most(session: AsyncSession, statement: Select[Any], limit: int, into: type[S] | None) -> list[Any]:
    """Read up to so many results, as the statement's entities or as schemas."""
    if into is None:
        return list((await session.scalars(statement.limit(limit))).unique())
    reading, values = _READINGS.find(statement, into, limit, make=lambda: _Reading.of(statement.limit(limit), into))
    return await _read(session, reading, values)


async def _read(session: AsyncSession, reading: "_Reading[S]", values: Mapping[str, Any]) -> list[S]:
    schema, mapper, statement = reading.schema, reading.mapper, reading.statement
    if reading.entities:
        is_fresh = not len(session.sync_session.identity_map)
        found = (await session.scalars(statement, values)).unique().all()
        if not is_fresh:  # of an entity that was there, the statement does not load what is below a loaded relationship
            await session.run_sync(load_shown, schema, found)
        return [_build_from(schema, entity, entity) for entity in found]
    rows = await read_rows(session, statement, values, plain=reading.is_plain)
    return [_build_from(schema, row, mapper) for row in rows]


async def read_rows(
    session: AsyncSession, statement: Select[Any], values: Mapping[str, Any], *, plain: bool
) -> Sequence[Row[Any]]:
    """Read the rows of a select of columns.

    Args:
        session: The unit's session.
        statement: The select.
        values: Its values, by the names of its parameters.
        plain: Whether the ORM adds nothing to it when it runs: then the engine may read the rows.
    """
    if plain and isinstance(session, UnitSession) and session.reads_directly:
        return await session.read_directly(statement, values)
    result: Result[Any] = await session.execute(statement, values)
    return result.all()


def _build_from(schema: type[S], read: Any, source: Any) -> S:
    """Make a schema that knows what it was read from: an entity, or a row with its mapper."""
    value = _build(schema, read)
    remember_origin(value, source, None if read is source else origin_of_row(source, read))
    return value


def _not_found(subject: Any, detail: str | None) -> NotFound:
    """Make the 404, naming what was looked for by its kind, never by its key."""
    if detail is not None:
        return NotFound(detail)
    entity = subject.column_descriptions[0].get("entity") if isinstance(subject, Select) else subject
    return NotFound(f"no such {getattr(entity, '__name__', 'resource').lower()}")


class IntoNotPossible(TypeError):
    """A statement or schema that `into=` cannot serve; the message says why."""


@dataclass(frozen=True, slots=True)
class _Projection:
    """A statement narrowed to a schema: it selects columns as rows, or entities with only the attributes needed.

    Attributes:
        statement: The statement.
        entities: Whether it selects entities.
        is_plain: Whether it selects columns, and the ORM adds nothing to it when it runs.
    """

    statement: Select[Any]
    entities: bool
    is_plain: bool = False


@dataclass(frozen=True, slots=True)
class _Reading(Generic[S]):
    """How statements of one shape are read into a schema.

    Attributes:
        statement: What is read.
        entities: Whether it selects entities.
        is_plain: Whether it selects columns, and the ORM adds nothing to it when it runs.
        mapper: That of the entity.
        schema: What is made of each row.
    """

    statement: Select[Any]
    entities: bool
    is_plain: bool
    mapper: Mapper[Any]
    schema: type[S]

    @classmethod
    def of(cls, statement: Select[Any], schema: type[S]) -> "_Reading[S]":
        """Narrow a statement.

        Raises:
            IntoNotPossible: `project` cannot.
        """
        found = project(statement, schema, with_origin=True)
        return cls(found.statement, found.entities, found.is_plain, _entity_of(statement, schema), schema)

    @property
    def is_shared(self) -> bool:
        """True if the same is read for every statement of the shape. Loading takes values from its own statement."""
        return not self.entities


_KEY = "ligand_key_"


@lru_cache(maxsize=1_000)
def _reading_by_key(entity: type[Any], schema: type[S]) -> tuple[_Reading[S], tuple[Any, ...]] | None:
    """Return how an entity is read by its primary key, and the types of values that can be bound to it.

    Values of other types, such as expressions, need a statement of their own. None where relationships are loaded, or a
    type of the service's own says what is equal.

    Raises:
        IntoNotPossible: The entity lacks a field of the schema.
    """
    columns = inspect(entity).primary_key
    types = tuple(map(_type_of_values, columns))
    if None in types:
        return None
    same = [column == bindparam(f"{_KEY}{n}", type_=column.type) for n, column in enumerate(columns)]
    reading = _Reading.of(select(entity).where(*same).limit(1), schema)
    return (reading, types) if reading.is_shared else None


def _type_of_values(column: Column[Any]) -> Any:
    if column.type.comparator_factory.__module__.partition(".")[0] not in {"sqlalchemy", "ligand_async"}:
        return None
    try:
        return column.type.python_type
    except NotImplementedError:
        return None


class _Shared(Protocol):
    @property
    def is_shared(self) -> bool: ...


class Shapes(Generic[P]):
    """The preparations of statements, by their shape.

    Args:
        limit: How many are kept; the oldest goes first.
    """

    def __init__(self, limit: int = 500) -> None:
        self._limit = limit
        self._known: dict[Hashable, tuple[P, Sequence[BindParameter[Any]]]] = {}

    def find(self, statement: Select[Any], *more: Hashable, make: Callable[[], P]) -> tuple[P, dict[str, Any]]:
        """Return what was made for a statement of this shape, and the values of this one.

        Args:
            statement: The statement.
            more: What else it depends on.
            make: Makes it of the statement; the parameters of the statement stay in it. Only what `is_shared` is kept.

        Returns:
            What was made, and the statement's values by the names that they have there.
        """
        shape = statement._generate_cache_key()  # no public name; SQLAlchemy finds compiled statements by it
        if shape is None or shape.params:
            return make(), {}
        key = (shape.key, *more)
        found = self._known.get(key)
        if found is None:
            made, parameters = make(), shape.bindparams
            if made.is_shared:
                if len(self._known) >= self._limit:
                    del self._known[next(iter(self._known))]
                self._known[key] = made, parameters
        else:
            made, parameters = found
        pairs = zip(parameters, shape.bindparams, strict=True)
        return made, {first.key: own.effective_value for first, own in pairs if not own.required}


_READINGS = Shapes[_Reading[Any]]()


def project(
    statement: Select[Any], schema: type[BaseModel], *, with_origin: bool = False, besides: Collection[str] = ()
) -> _Projection:
    """Narrow a `select(Entity)` to the fields of a schema.

    A flat schema selects columns and makes no entity. One with nested schemas loads entities by `load_only` and
    `selectinload`.

    Args:
        statement: What selects the entity.
        schema: What is made of it.
        with_origin: Read the version, too, of which its entity tag is made.
        besides: What the schema finds elsewhere.

    Raises:
        IntoNotPossible: The statement is not a plain select of one entity, or the entity lacks a field of the schema.
    """
    mapper = _entity_of(statement, schema)
    names = _attributes_of(mapper, schema, besides)
    more = origin_names(mapper) if with_origin else ()
    if not all(_is_selectable(mapper, name) for name in names):
        needs = _needs_of(mapper, schema, more, besides)
        return _Projection(statement.options(*needs.options(mapper)), entities=True)
    chosen = sorted({*names, *more})
    columns = [getattr(mapper.class_, name).label(name) for name in chosen]
    narrowed = statement.with_only_columns(*columns, maintain_column_froms=True)
    is_plain = _is_alone(mapper) and all(_is_column_of(mapper, name) for name in chosen) and is_unmarked(statement)
    return _Projection(narrowed, entities=False, is_plain=is_plain)


def _is_selectable(mapper: Mapper[Any], name: str) -> bool:
    """Return whether an attribute can be selected as a column; of others the entity is loaded."""
    if isinstance(mapper.attrs.get(name), ColumnProperty):
        return True
    mapped = property_of(mapper, name)
    if mapped is not None:
        return not isinstance(mapped, RelationshipProperty)
    return expression_of(mapper, name) is not None


def _is_alone(mapper: Mapper[Any]) -> bool:
    """Return whether the rows of a class are those of its table, and no other class has to do with them."""
    is_table = isinstance(mapper.local_table, Table) and mapper.persist_selectable is mapper.local_table
    family = {*mapper.self_and_descendants, *mapper.iterate_to_root()}
    return is_table and mapper.polymorphic_on is None and len(family) == 1


def _is_columnar(selected: Any) -> bool:
    """Return whether what is selected is one value of the database, and no composite of several."""
    if isinstance(selected, QueryableAttribute):
        return isinstance(getattr(selected, "property", None), ColumnProperty)
    return isinstance(selected, ColumnElement)


def _is_column_of(mapper: Mapper[Any], name: str) -> bool:
    found = mapper.attrs.get(name)
    return isinstance(found, ColumnProperty) and len(found.columns) == 1 and isinstance(found.columns[0], Column)


def is_unmarked(statement: Select[Any]) -> bool:
    """Return whether a statement has neither options, such as criteria for all entities, nor execution options."""
    return not statement._with_options and not statement._execution_options  # no public accessors in SQLAlchemy 2.1


def _check_shape(statement: Select[Any], schema: type[BaseModel]) -> None:
    """Refuse a statement whose meaning its columns are part of.

    Raises:
        IntoNotPossible: It is one.
    """
    if not isinstance(statement, Select):
        raise IntoNotPossible(f"into={schema.__name__} needs a select(); from_statement() has columns of its own")
    if statement._distinct or statement._group_by_clauses:  # no public accessor in SQLAlchemy 2.1
        raise IntoNotPossible(
            f"into={schema.__name__} changes the selected columns, which changes what DISTINCT and GROUP BY mean; "
            "select what you need and build the schema by hand"
        )


def _entity_of(statement: Select[Any], schema: type[BaseModel]) -> Mapper[Any]:
    """Return the mapper of the one entity that a statement selects."""
    _check_shape(statement, schema)
    descriptions = statement.column_descriptions
    entity = descriptions[0].get("entity") if len(descriptions) == 1 else None
    if entity is None or descriptions[0]["expr"] is not entity or descriptions[0]["aliased"]:
        raise IntoNotPossible(f"into={schema.__name__} needs a select() of exactly one entity, not aliased")
    mapper: Mapper[Any] = entity.__mapper__
    return mapper


def _attributes_of(mapper: Mapper[Any], schema: type[BaseModel], besides: Collection[str] = ()) -> dict[str, Any]:
    """Return the annotations of a schema's fields by the attribute that each is read from; those found elsewhere aside.

    Raises:
        IntoNotPossible: The entity lacks some of them.
    """
    attributes, missing = _names_read(_Readable(mapper, besides), schema)
    if missing:
        raise IntoNotPossible(
            f"{schema.__name__} has fields that {mapper.class_.__name__} lacks: {', '.join(sorted(missing))}; "
            "read the entity and build the schema from it by hand"
        )
    return {name: annotation for name, annotation in attributes.items() if name not in besides}


@dataclass(frozen=True, slots=True)
class _Readable:
    """The names that can be read: attributes of a mapped class, its properties, and what is found elsewhere."""

    mapper: Mapper[Any]
    besides: Collection[str]

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        is_mapped = name in self.mapper.all_orm_descriptors or name in self.besides
        return is_mapped or is_computed(self.mapper, name)


def _names_read(known: Container[str], schema: type[BaseModel]) -> tuple[dict[str, Any], list[str]]:
    """Return the annotations of a schema's fields by the name that each is read from, and what is not known."""
    if not schema.__pydantic_complete__:
        schema.model_rebuild()  # it names a schema that was defined later
    by_name = schema.model_config.get("populate_by_name") or schema.model_config.get("validate_by_name")
    attributes, missing = {}, []
    for name, field in schema.model_fields.items():
        alias = field.validation_alias
        candidates = [alias] if isinstance(alias, str) else []
        if alias is None or by_name:
            candidates.append(name)
        found = next((candidate for candidate in candidates if candidate in known), None)
        if found is None:
            missing.append(candidates[0] if candidates else name)
        else:
            attributes[found] = field.annotation
    return attributes, missing


@dataclass(slots=True)
class _Needs:
    """The columns and relationships that are loaded of the rows of a class.

    Attributes:
        columns: The names of the columns.
        is_whole: Whether all columns are loaded, because code in Python reads them.
        related: The relationships, with what is loaded of their rows.
    """

    columns: set[str] = member(default_factory=set)
    is_whole: bool = False
    related: dict[str, "_Needs"] = member(default_factory=dict)

    def add(self, mapper: Mapper[Any], name: str, annotation: Any, within: tuple[type[BaseModel], ...]) -> None:
        """Add an attribute.

        Args:
            mapper: The mapper of the class.
            name: The attribute.
            annotation: What is made of it.
            within: The schemas around it.

        Raises:
            IntoNotPossible: It cannot be loaded.
        """
        mapped = property_of(mapper, name)
        match mapped:
            case RelationshipProperty():
                inner = self.related.setdefault(mapped.key, _Needs())
                nested = _schema_within(annotation)
                if nested is None:
                    inner.is_whole = True
                else:
                    inner.add_schema(mapped.mapper, nested, (), within)
            case CompositeProperty():
                self.columns |= {part.key for part in mapped.props}
            case ColumnProperty():
                self.columns.add(mapped.key)
            case _ if (proxy := _proxy_of(mapper, name)) is not None:
                relationship = mapper.relationships[proxy.target_collection]
                rows = self.related.setdefault(relationship.key, _Needs())
                rows.add(relationship.mapper, proxy.value_attr, annotation, within)
            case _:
                self.is_whole = True

    def add_schema(
        self,
        mapper: Mapper[Any],
        schema: type[BaseModel],
        besides: Collection[str] = (),
        within: tuple[type[BaseModel], ...] = (),
    ) -> None:
        """Add the fields of a schema.

        Raises:
            IntoNotPossible: The entity lacks a field of the schema, or a schema holds itself.
        """
        if schema in within:
            raise IntoNotPossible(
                f"{schema.__name__} holds itself, and into= cannot know how deep; "
                "load with selectinload(…, recursion_depth=…) and build the schema by hand"
            )
        for name, annotation in _attributes_of(mapper, schema, besides).items():
            self.add(mapper, name, annotation, (*within, schema))

    def options(self, mapper: Mapper[Any]) -> list[_AbstractLoad]:
        """Return the options that load it: the columns, and each relationship by one more query."""
        found: list[_AbstractLoad] = []
        for name, inner in self.related.items():
            option = selectinload(getattr(mapper.class_, name))
            found.append(option.options(*inner.options(mapper.relationships[name].mapper)))
        if self.columns and not self.is_whole:
            # Not raiseload: a later reader of the same entity gets our own error, with its remedy.
            found.append(load_only(*(getattr(mapper.class_, name) for name in sorted(self.columns))))
        return found


def _proxy_of(mapper: Mapper[Any], name: str) -> AssociationProxyInstance[Any] | None:
    try:
        return proxy_of(mapper, name)
    except NotImplementedError as error:
        raise IntoNotPossible(
            f"{mapper.class_.__name__}.{name} is an association proxy of what is not a relationship; load the entity "
            "with what it needs, and build the schema by hand"
        ) from error


def _needs_of(mapper: Mapper[Any], schema: type[BaseModel], more: Iterable[str], besides: Collection[str]) -> _Needs:
    """Return what a schema needs of an entity, and more columns.

    Raises:
        IntoNotPossible: The entity lacks a field of the schema, or a schema holds itself.
    """
    needs = _Needs(columns={*more})
    needs.add_schema(mapper, schema, besides)
    return needs


def _schema_within(annotation: Any) -> type[BaseModel] | None:
    """Find the schema in an annotation such as `list[Owner]` or `Owner | None`."""
    return next((part for part in walk(annotation) if isinstance(part, type) and issubclass(part, BaseModel)), None)


def _build(schema: type[S], row: Any) -> S:
    """Make a schema of a row or an entity, by its attributes."""
    return schema.model_validate(row, from_attributes=True)


def _build_all(schema: type[S], rows: Sequence[Row[Any]]) -> list[S]:
    """Make schemas of rows, at once where the schema does not say itself how one is made."""
    if schema.model_validate.__func__.__module__.partition(".")[0] in {"pydantic", "ligand_async"}:  # type: ignore[attr-defined]  # a method
        return _list_of(schema).validate_python(rows, from_attributes=True)
    return [_build(schema, row) for row in rows]


@lru_cache(maxsize=1_000)
def _list_of(schema: type[S]) -> TypeAdapter[list[S]]:
    return TypeAdapter(list[schema])  # type: ignore[valid-type]  # a value


@dataclass(frozen=True, slots=True)
class Selection(Generic[S]):
    """A statement that selects what a schema needs and no more.

    Attributes:
        rows: The statement as it was, without what it says about loading.
        statement: What is to be read; columns may be added to it.
        named: What the statement selected by name, before it was narrowed.
        entities: Whether its first column is an entity.
        is_plain: Whether it selects columns, and the ORM adds nothing to it when it runs.
        build: Makes the schemas of rows.
    """

    rows: Select[Any]
    statement: Select[Any]
    named: dict[str, Any]
    entities: bool
    is_plain: bool
    build: Callable[[Sequence[Row[Any]]], list[S]]

    async def read(
        self, session: AsyncSession, statement: Select[Any], values: Mapping[str, Any]
    ) -> Sequence[Row[Any]]:
        """Read the rows of a statement that was made of this one.

        Args:
            session: The unit's session.
            statement: That statement.
            values: Its values, by the names of its parameters.
        """
        if self.entities:
            result: Result[Any] = await session.execute(statement, values)
            return result.unique().all()
        return await read_rows(session, statement, values, plain=self.is_plain)


class _Labelled:
    """An entity, and what was selected beside it."""

    def __init__(self, entity: Any, row: Row[Any], labels: frozenset[str]) -> None:
        self._entity = entity
        self._row = row
        self._labels = labels

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row if name in self._labels else self._entity, name)


def select_into(statement: Select[Any], schema: type[S]) -> Selection[S]:
    """Narrow any select to the fields of a schema.

    Raises:
        IntoNotPossible: The statement has DISTINCT or GROUP BY, selects two entities or an alias, or lacks a field.
    """
    _check_shape(statement, schema)
    statement = _without_loading(statement)
    first, *others = statement.column_descriptions
    if is_column(first["expr"]):
        return _select_columns(statement, schema)
    if not all(is_column(other["expr"]) for other in others):
        raise IntoNotPossible(f"into={schema.__name__} needs a select() of exactly one entity, and of named columns")
    named = {other["name"]: other["expr"] for other in others}
    alone = statement.with_only_columns(first["expr"], maintain_column_froms=True) if others else statement
    projection = project(alone, schema, besides=named.keys())
    read, _ = _names_read(named, schema)
    narrowed = projection.statement.add_columns(*(named[name] for name in read))
    labels = frozenset(read)

    def build_labelled(rows: Sequence[Row[Any]]) -> list[S]:
        return [_build(schema, _Labelled(row[0], row, labels) if labels else row[0]) for row in rows]

    if projection.entities:
        return Selection(statement, narrowed, named, True, False, build_labelled)
    is_plain = projection.is_plain and all(_is_columnar(named[name]) for name in read)
    return Selection(statement, narrowed, named, False, is_plain, partial(_build_all, schema))


def _select_columns(statement: Select[Any], schema: type[S]) -> Selection[S]:
    """Narrow a select of columns.

    Raises:
        IntoNotPossible: It lacks a field.
    """
    named = {column["name"]: column["expr"] for column in statement.column_descriptions}
    read, missing = _names_read(named, schema)
    if missing:
        raise IntoNotPossible(
            f"{schema.__name__} has fields that the statement does not select: {', '.join(sorted(missing))}; "
            'select them, by .label("…") where they are called otherwise'
        )
    narrowed = statement.with_only_columns(*(named[name] for name in read), maintain_column_froms=True)
    is_plain = is_unmarked(statement) and all(_is_columnar(named[name]) for name in read)
    return Selection(statement, narrowed, named, False, is_plain, partial(_build_all, schema))


def _without_loading(statement: Select[Any]) -> Select[Any]:
    """Drop what a statement says about loading attributes: the schema says it, and rows of columns have none."""
    # SQLAlchemy 2.1 has no public way to take an option back. Others, such as with_loader_criteria(), stay.
    kept = tuple(option for option in statement._with_options if not isinstance(option, _AbstractLoad))
    if len(kept) == len(statement._with_options):
        return statement
    copy = statement.options()
    copy._with_options = kept
    return copy


def is_column(selected: Any) -> bool:
    """Return whether a selected element is a column and not an entity."""
    return isinstance(selected, ColumnElement | QueryableAttribute)
