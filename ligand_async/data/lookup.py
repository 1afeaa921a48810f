"""Finding one thing, or answering 404."""

from typing import Any, TypeVar, overload

from pydantic import BaseModel
from sqlalchemy import Select, inspect, select
from sqlalchemy.exc import MultipleResultsFound
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.data.into import build, entity_of, project
from ligand_async.data.origins import origin_of_row, remember_origin
from ligand_async.errors import NotFound

E = TypeVar("E")
S = TypeVar("S", bound=BaseModel)


@overload
async def get_or_404(session: AsyncSession, entity: type[E], key: Any) -> E: ...
@overload
async def get_or_404(session: AsyncSession, entity: type[E], key: Any, *, into: type[S]) -> S: ...
async def get_or_404(session: AsyncSession, entity: type[E], key: Any, *, into: type[S] | None = None) -> E | S:
    """Return the entity with a primary key, or the schema made of it.

    Args:
        session: The unit's session.
        entity: A mapped class.
        key: Its primary key; a tuple where it has several columns.
        into: A schema: only its columns are read, and what its entity tag is made of.

    Raises:
        NotFound: There is none.
    """
    if into is None:
        found = await session.get(entity, key)
        if found is None:
            raise not_found(entity)
        return found
    columns = inspect(entity).primary_key
    values = key if isinstance(key, tuple) else (key,)
    statement = select(entity).where(*(column == value for column, value in zip(columns, values, strict=True)))
    return await first_or_404(session, statement, into=into)


@overload
async def first_or_404(session: AsyncSession, statement: Select[E]) -> E: ...
@overload
async def first_or_404(session: AsyncSession, statement: Select[Any], *, into: type[S]) -> S: ...
async def first_or_404(session: AsyncSession, statement: Select[Any], *, into: type[S] | None = None) -> Any:
    """Return the first result of a statement.

    Raises:
        NotFound: There is none.
        IntoNotPossible: `into` cannot be read by this statement.
    """
    results = await read_at_most(session, statement, 1, into)
    if not results:
        raise not_found(statement)
    return results[0]


@overload
async def one_or_404(session: AsyncSession, statement: Select[E]) -> E: ...
@overload
async def one_or_404(session: AsyncSession, statement: Select[Any], *, into: type[S]) -> S: ...
async def one_or_404(session: AsyncSession, statement: Select[Any], *, into: type[S] | None = None) -> Any:
    """Return the only result of a statement.

    Raises:
        NotFound: There is none.
        MultipleResultsFound: There are several: a fault of the statement, so a 500.
        IntoNotPossible: `into` cannot be read by this statement.
    """
    results = await read_at_most(session, statement, 2, into)
    if not results:
        raise not_found(statement)
    if len(results) > 1:
        raise MultipleResultsFound("one_or_404() found several; narrow the statement or use first_or_404()")
    return results[0]


async def read_at_most(session: AsyncSession, statement: Select[Any], limit: int, into: type[S] | None) -> list[Any]:
    """Read up to so many results, as the statement's entities or as schemas."""
    limited = statement.limit(limit)
    if into is None:
        return list((await session.scalars(limited)).unique())
    projection = project(limited, into, with_origin=True)
    if projection.entities:
        return [build_from(into, entity, entity) for entity in (await session.scalars(projection.statement)).unique()]
    mapper = entity_of(statement, into)
    return [build_from(into, row, mapper) for row in await session.execute(projection.statement)]


def build_from(schema: type[S], read: Any, source: Any) -> S:
    """Make a schema that knows what it was read from: an entity, or a row with its mapper."""
    value = build(schema, read)
    remember_origin(value, source, None if read is source else origin_of_row(source, read))
    return value


def not_found(subject: Any) -> NotFound:
    """Make the 404, naming what was looked for by its kind, never by its key."""
    entity = subject.column_descriptions[0].get("entity") if isinstance(subject, Select) else subject
    return NotFound(f"no such {getattr(entity, '__name__', 'resource').lower()}")
