"""A page by its number."""

from typing import TypeVar

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.web.pages.counting import count_of
from ligand_async.web.pages.links import describe_numbered
from ligand_async.web.pages.page import Page
from ligand_async.web.pages.params import OffsetParams
from ligand_async.web.pages.rows import Rows

S = TypeVar("S", bound=BaseModel)

TOTAL = "ligand_total"


async def read_by_number(session: AsyncSession, rows: Rows[S], params: OffsetParams) -> Page[S]:
    """Read a page and count all of them, in one round trip where the page has a row."""
    count = count_of(rows.statement)
    page = (
        rows.selection.statement.add_columns(count.scalar_subquery().label(TOTAL))
        .order_by(*(key.clause for key in rows.order.keys))
        .limit(params.page_size)
        .offset(params.offset)
    )
    found = await rows.read(session, page)
    total = getattr(found[0], TOTAL) if found else await session.scalar(count) or 0
    return rows.page(found, total=total).with_headers(describe_numbered(params, total))
