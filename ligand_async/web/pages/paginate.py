"""`paginate`: one page of any select, as schemas."""

from typing import Any, TypeVar

from pydantic import BaseModel
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.web.pages.by_cursor import read_by_cursor
from ligand_async.web.pages.by_number import read_by_number
from ligand_async.web.pages.counting import Total
from ligand_async.web.pages.page import Page
from ligand_async.web.pages.params import CursorParams, OffsetParams, PageParams
from ligand_async.web.pages.rows import Rows

S = TypeVar("S", bound=BaseModel)


async def paginate(
    session: AsyncSession,
    statement: Select[*tuple[Any, ...]],
    params: CursorParams | OffsetParams,
    *,
    into: type[S],
    total: Total | None = None,
) -> Page[S]:
    """Read one page of a statement.

    The statement's own order is kept, and completed by primary keys until it leaves no two rows alike, so that pages
    neither overlap nor leave gaps. Nulls come after everything else, where the order does not say otherwise. A join
    that repeats an entity repeats it on pages, too; `Owner.pets.any(…)` does not.

    Args:
        session: A session that reads.
        statement: Any `select()` of an entity, of an entity with labels, or of columns; filtered and sorted as wanted.
        params: Which page. By number, items and total come in one round trip, and a page past the end takes two. By
            cursor, the page costs the same at every depth, where an index serves the order.
        into: The schema of an item; only its columns are read.
        total: How the items of pages by cursor are counted: `"exact"`, by looking at all of them; `"estimate"`, which
            PostgreSQL's planner makes at once; not at all by default. Numbered pages are always counted.

    Raises:
        ValidationFailed: The cursor is not one of this list, in this order, with these filters.
        IntoNotPossible: The statement has DISTINCT or GROUP BY, selects two entities or an alias, or lacks a field.
        PageNotPossible: The statement has a limit, its order cannot be compared, or nothing tells its rows apart.
    """
    rows = Rows.of(statement, into)
    if isinstance(params, OffsetParams):
        return await read_by_number(session, rows, params)
    numbered = params.numbered if isinstance(params, PageParams) else None
    if numbered is not None:
        return await read_by_number(session, rows, numbered)
    return await read_by_cursor(session, rows, params, total)
