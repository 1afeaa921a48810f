"""`paginate`: one page of a select as schemas, by cursor or by number, with its total."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel
from quart import has_request_context, request
from sqlalchemy import Column, Dialect, Row, Select, Table, func, literal_column, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.context import service_of
from ligand_async.data import Selection, select_into
from ligand_async.tasks import this_app
from ligand_async.web.lists.cursor import PARAMETER, Cursor, Seal, comparable, conditions_after
from ligand_async.web.lists.order import Key, PageNotPossible, Sortable, order_of
from ligand_async.web.lists.page import Page
from ligand_async.web.lists.params import PLACE, CursorParams, OffsetParams, PageParams, describe_numbered, make_link

S = TypeVar("S", bound=BaseModel)


async def paginate(
    session: AsyncSession,
    statement: Select[*tuple[Any, ...]],
    params: CursorParams | OffsetParams,
    *,
    into: type[S],
    total: Literal["exact"] | None = None,
    unique: Sequence[Sortable] = (),
) -> Page[S]:
    """Read one page of a statement.

    The statement's own order is kept. The primary key of the selected entity, or of the only table, is appended, so
    that no two rows are equal in it and pages neither overlap nor leave gaps. Where a join may repeat an entity, or a
    subquery has no primary key, name the columns to append with `unique`. Nulls come after everything else, unless the
    order says `nulls_first()` or sorts downwards.

    Args:
        session: A session that reads.
        statement: A `select()` of an entity, of an entity with labels, or of columns; filtered and sorted as wanted.
        params: The page. By number, items and total come in one round trip; a page past the end takes two. By cursor,
            a page costs the same at every depth if an index serves the order.
        into: The schema of an item; only its columns are read.
        total: `"exact"` counts the rows of a list by cursor, which makes the database visit all of them for each page.
            Without it they are not counted. Numbered pages always are.
        unique: Columns that together differ in every row, instead of the primary key.

    Raises:
        ValidationFailed: The cursor belongs to another list, order or filter, or is forged.
        IntoNotPossible: The statement has DISTINCT or GROUP BY, selects two entities or an alias, or lacks a field.
        PageNotPossible: The statement has a limit, its order cannot be compared, or it needs `unique`.
        ValueError: `total` is something else.
    """
    if total not in {None, "exact"}:
        raise ValueError(f'total={total!r} is not known; it is "exact" or None')
    rows = _Rows.of(statement, into, unique)
    if isinstance(params, OffsetParams):
        return await _read_by_number(session, rows, params)
    numbered = params.numbered if isinstance(params, PageParams) else None
    if numbered is not None:
        return await _read_by_number(session, rows, numbered)
    return await _read_by_cursor(session, rows, params, total)


@dataclass(frozen=True, slots=True)
class _Rows(Generic[S]):
    """The rows of all pages.

    Attributes:
        statement: What selects them, in no order.
        selection: The same, of what the schema needs.
        keys: The keys that sort them.
        schema: The schema of an item.
    """

    statement: Select[Any]
    selection: Selection[S]
    keys: tuple[Key, ...]
    schema: type[S]

    @classmethod
    def of(cls, statement: Select[Any], schema: type[S], unique: Sequence[Sortable]) -> "_Rows[S]":
        """Take a statement apart.

        Raises:
            IntoNotPossible: The schema cannot be made of what the statement selects.
            PageNotPossible: The statement has a limit, its order cannot be compared, or it needs `unique`.
        """
        selection = select_into(statement, schema)
        if statement._has_row_limiting_clause:  # no public accessor in SQLAlchemy 2.1
            raise PageNotPossible("the statement has a limit or an offset of its own; paginate() sets both")
        keys = order_of(selection.rows, selection.named, unique)
        unsorted = replace(selection, statement=selection.statement.order_by(None))
        return cls(selection.rows.order_by(None), unsorted, keys, schema)

    async def read(self, session: AsyncSession, statement: Select[Any]) -> list[Row[Any]]:
        """Read the rows of a statement that was made of the selection's."""
        result = await session.execute(statement)
        return list((result.unique() if self.selection.entities else result).all())

    def page(self, rows: list[Row[Any]], *, next_cursor: str | None = None, total: int | None = None) -> Page[S]:
        """Make a page of some rows."""
        items = [self.selection.build(row) for row in rows]
        return Page[self.schema](items=items, next_cursor=next_cursor, total=total)  # type: ignore[name-defined]  # a value


_KEY = "ligand_key_"
_START, _END = Cursor(None, backward=False), Cursor(None, backward=True)


async def _read_by_cursor(
    session: AsyncSession, rows: _Rows[S], params: CursorParams, total: Literal["exact"] | None
) -> Page[S]:
    """Read a page and seal the cursors of the pages before and after it."""
    keys = rows.keys
    dialect = session.get_bind().dialect
    types = [comparable(key.expression.type, dialect) for key in keys]
    secret = service_of(this_app()).settings.secret_key
    seal = Seal(secret.get_secret_value(), _binding_of(params, keys, dialect))
    cursor = _START if params.cursor is None else seal.read(params.cursor, types)

    positions = [type_coerce(key.expression, type_) for key, type_ in zip(keys, types, strict=True)]
    statement = rows.selection.statement.add_columns(
        *(column.label(f"{_KEY}{n}") for n, column in enumerate(positions))
    )
    if total == "exact":
        statement = statement.add_columns(_count_of(rows.statement).scalar_subquery().label(_TOTAL))
    found = await _read_after(session, rows, statement, cursor, params.limit + 1)
    has_more, page = len(found) > params.limit, found[: params.limit]
    counted = await _count(session, rows, page) if total == "exact" else None
    if cursor.backward:
        page.reverse()

    has_next = cursor.values is not None if cursor.backward else has_more
    has_previous = has_more if cursor.backward else cursor.values is not None
    next_cursor = seal.write(Cursor(_position(page[-1], keys), False) if page else _START) if has_next else None
    links: dict[str, str | None] = {"first": None}
    if has_previous:
        links["prev"] = seal.write(Cursor(_position(page[0], keys), True) if page else _END)
    if next_cursor is not None:
        links["next"] = next_cursor
    links["last"] = seal.write(_END)
    answer = rows.page(page, next_cursor=next_cursor, total=counted)
    return answer.with_headers(make_link(PARAMETER, links))


async def _read_after(
    session: AsyncSession, rows: _Rows[Any], statement: Select[Any], cursor: Cursor, limit: int
) -> list[Row[Any]]:
    """Read the rows after a position, in the direction of the page."""
    keys: Sequence[Key] = rows.keys
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


async def _count(session: AsyncSession, rows: _Rows[Any], page: list[Row[Any]]) -> int:
    """Return how many rows there are, which each row of an `"exact"` page holds."""
    if page:
        counted: int = getattr(page[0], _TOTAL)
        return counted
    return await session.scalar(_count_of(rows.statement)) or 0


def _position(row: Row[Any], keys: Sequence[Key]) -> tuple[Any, ...]:
    return tuple(getattr(row, f"{_KEY}{n}") for n in range(len(keys)))


_TOTAL = "ligand_total"


def _count_of(statement: Select[Any]) -> Select[int]:
    rows: Select[Any] = statement.with_only_columns(
        literal_column("1").label("one"), maintain_column_froms=True
    ).order_by(None)
    return select(func.count()).select_from(rows.subquery())


async def _read_by_number(session: AsyncSession, rows: _Rows[S], params: OffsetParams) -> Page[S]:
    """Read a page and count all of them, in one round trip where the page has a row."""
    count = _count_of(rows.statement)
    page = (
        rows.selection.statement.add_columns(count.scalar_subquery().label(_TOTAL))
        .order_by(*(key.clause for key in rows.keys))
        .limit(params.page_size)
        .offset(params.offset)
    )
    found = await rows.read(session, page)
    total = getattr(found[0], _TOTAL) if found else await session.scalar(count) or 0
    return rows.page(found, total=total).with_headers(describe_numbered(params, total))


def _binding_of(params: CursorParams, keys: Sequence[Key], dialect: Dialect) -> bytes:
    """Return bytes that are the same for the same list in every worker, and differ for every other list.

    Query parameters count by their parsed values, so a default that is sent makes no difference; the page size does not
    count. Parameters that the model does not declare, as in a plain view, count as they are.
    """
    known = params.model_dump(exclude=set(PLACE))
    operation: list[Any] = []
    if has_request_context():
        others = [pair for pair in request.args.items(multi=True) if pair[0] not in {*known, *PLACE}]
        operation = [request.endpoint, request.view_args, sorted(others)]
    facts = [operation, known, dialect.name, [_name_key(key, dialect) for key in keys]]
    return json.dumps(facts, default=_plain, sort_keys=True).encode()


def _plain(value: Any) -> Any:
    """Return a value as JSON, the same in every process."""
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


def _name_key(key: Key, dialect: Dialect) -> list[Any]:
    expression = key.expression
    if isinstance(expression, Column) and isinstance(expression.table, Table):
        name = f"{expression.table.fullname}.{expression.name}"
    else:
        compiled = expression.compile(dialect=dialect)
        name = f"{compiled} {sorted(compiled.params.items())}"
    return [name, type(expression.type).__name__, key.descending, key.nullable and key.nulls_first]
