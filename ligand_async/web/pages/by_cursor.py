"""A page by where it begins."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel
from quart import current_app
from sqlalchemy import Row, Select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.context import service_of
from ligand_async.web.pages.binding import binding_of
from ligand_async.web.pages.by_number import TOTAL
from ligand_async.web.pages.counting import Total, count_of, estimate
from ligand_async.web.pages.cursor import PARAMETER, Cursor, Seal
from ligand_async.web.pages.keyset import conditions_after
from ligand_async.web.pages.links import make_link
from ligand_async.web.pages.order import Key
from ligand_async.web.pages.page import Page
from ligand_async.web.pages.params import CursorParams
from ligand_async.web.pages.rows import Rows
from ligand_async.web.pages.values import comparable

S = TypeVar("S", bound=BaseModel)

KEY = "ligand_key_"
START, END = Cursor(None, backward=False), Cursor(None, backward=True)


async def read_by_cursor(session: AsyncSession, rows: Rows[S], params: CursorParams, total: Total | None) -> Page[S]:
    """Read a page, and seal the cursors of those before and behind it."""
    rows.order.check_is_total()
    keys = rows.order.keys
    dialect = session.get_bind().dialect
    types = [comparable(key.expression.type, dialect) for key in keys]
    secret = service_of(current_app._get_current_object()).settings.secret_key  # type: ignore[attr-defined]  # a LocalProxy
    seal = Seal(secret.get_secret_value(), binding_of(params, keys, dialect))
    cursor = START if params.cursor is None else seal.read(params.cursor, types)

    positions = [type_coerce(key.expression, type_) for key, type_ in zip(keys, types, strict=True)]
    statement = rows.selection.statement.add_columns(*(column.label(f"{KEY}{n}") for n, column in enumerate(positions)))
    if total == "exact":
        statement = statement.add_columns(count_of(rows.statement).scalar_subquery().label(TOTAL))
    found = await read_after(session, rows, statement, cursor, params.limit + 1)
    has_more, page = len(found) > params.limit, found[: params.limit]
    counted = await count(session, rows, page, total)
    if cursor.backward:
        page.reverse()

    has_next = cursor.values is not None if cursor.backward else has_more
    has_previous = has_more if cursor.backward else cursor.values is not None
    next_cursor = seal.write(Cursor(position(page[-1], keys), False) if page else START) if has_next else None
    links: dict[str, str | None] = {"first": None}
    if has_previous:
        links["prev"] = seal.write(Cursor(position(page[0], keys), True) if page else END)
    if next_cursor is not None:
        links["next"] = next_cursor
    links["last"] = seal.write(END)
    answer = rows.page(page, next_cursor=next_cursor, total=counted)
    return answer.with_headers(make_link(PARAMETER, links))


async def read_after(
    session: AsyncSession, rows: Rows[Any], statement: Select[Any], cursor: Cursor, limit: int
) -> list[Row[Any]]:
    """Read the rows behind a position, in the order in which they are walked."""
    keys: Sequence[Key] = rows.order.keys
    if cursor.backward:
        keys = [key.reversed() for key in keys]
    walked = statement.order_by(*(key.clause for key in keys))
    if cursor.values is None:
        return await rows.read(session, walked.limit(limit))
    found: list[Row[Any]] = []
    for condition in conditions_after(keys, cursor.values, session.get_bind().dialect):
        if len(found) < limit:
            found += await rows.read(session, walked.where(condition).limit(limit - len(found)))
    return found


async def count(session: AsyncSession, rows: Rows[Any], page: list[Row[Any]], total: Total | None) -> int | None:
    """Return how many rows there are, as was asked for."""
    match total:
        case "exact" if page:
            counted: int = getattr(page[0], TOTAL)
            return counted
        case "exact":
            return await session.scalar(count_of(rows.statement)) or 0
        case "estimate":
            return max(len(page), await estimate(session, rows.statement))
        case None:
            return None


def position(row: Row[Any], keys: Sequence[Key]) -> tuple[Any, ...]:
    """Return where a row is."""
    return tuple(getattr(row, f"{KEY}{n}") for n in range(len(keys)))
