"""Lists in pages."""

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Select, func, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.data.into import build, entity_of, project

S = TypeVar("S", bound=BaseModel)

MAX_PAGE = 1_000_000


class OffsetParams(BaseModel):
    """Which page of a list: for people and small tables, since the database counts and skips all that comes before."""

    model_config = ConfigDict(extra="forbid")

    page: Annotated[int, Field(ge=1, le=MAX_PAGE, description="The page, from 1.")] = 1
    page_size: Annotated[int, Field(ge=1, le=100, description="How many items a page has, up to 100.")] = 10

    @property
    def offset(self) -> int:
        """How many items come before the page."""
        return (self.page - 1) * self.page_size


class Page(BaseModel, Generic[S]):
    """One page of a list, and how many items there are in all."""

    items: list[S]
    total: Annotated[int, Field(ge=0, description="How many items there are on all pages.")]


async def paginate(session: AsyncSession, statement: Select[Any], params: OffsetParams, *, into: type[S]) -> Page[S]:
    """Read one page of a statement, and count all of it, in one round trip; a page past the end takes two.

    The primary key is appended to the order, so that pages never overlap.

    Args:
        session: A session that reads.
        statement: A `select()` of one entity, filtered and sorted as wanted.
        params: Which page.
        into: The schema of an item; only its columns are read.

    Raises:
        IntoNotPossible: The statement is not a plain select of one entity, or lacks a field of the schema.
    """
    keys = inspect(entity_of(statement, into).class_).primary_key
    count = count_of(statement, keys)
    projection = project(statement.order_by(*keys), into)
    total = count.scalar_subquery().label("ligand_total")
    page = projection.statement.add_columns(total).limit(params.page_size).offset(params.offset)
    rows = (await session.execute(page)).all()
    if not rows:
        return Page[into](items=[], total=(await session.scalar(count)) or 0)  # type: ignore[valid-type]  # a value
    items = [build(into, row[0] if projection.entities else row) for row in rows]
    return Page[into](items=items, total=rows[0].ligand_total)  # type: ignore[valid-type]  # a value


def count_of(statement: Select[Any], keys: Any) -> Select[int]:
    """Count what a statement selects, by its keys alone and in no order."""
    inner = statement.with_only_columns(*keys, maintain_column_froms=True).order_by(None).subquery()
    return select(func.count()).select_from(inner)
