"""`paginate`: one page of a select as schemas, by cursor or by number, with its total."""

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel
from quart import has_request_context, request
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    Dialect,
    Row,
    Select,
    Table,
    bindparam,
    func,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.types import TypeEngine

from ligand_async.context import service_of
from ligand_async.data import Selection, Shapes, read_rows, select_into
from ligand_async.tasks import this_app
from ligand_async.web.lists.cursor import PARAMETER, Cursor, Seal, comparable, conditions_after
from ligand_async.web.lists.order import Key, PageNotPossible, Sortable, order_of
from ligand_async.web.lists.page import Page
from ligand_async.web.lists.params import PLACE, CursorParams, OffsetParams, PageParams, describe_numbered, make_link

S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")


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
    known: tuple[_Rows[S], dict[str, Any]]
    known = _ROWS.find(statement, into, tuple(map(id, unique)), make=lambda: _Rows.of(statement, into, unique))
    if isinstance(params, OffsetParams):
        return await _read_by_number(session, *known, params)
    numbered = params.numbered if isinstance(params, PageParams) else None
    if numbered is not None:
        return await _read_by_number(session, *known, numbered)
    return await _read_by_cursor(session, *known, params, total)


@dataclass(frozen=True, slots=True)
class _Rows(Generic[S]):
    """The rows of all pages of the statements of one shape.

    Attributes:
        statement: What selects them, in no order.
        selection: The same, of what the schema needs.
        keys: The keys that sort them.
        page_type: The type of a page.
        unique: What the caller has named instead of the primary key.
        prepared: What was made of these, by what it is for.
    """

    statement: Select[Any]
    selection: Selection[S]
    keys: tuple[Key, ...]
    page_type: type[Page[S]]
    unique: tuple[Sortable, ...]
    prepared: dict[Hashable, Any] = field(default_factory=dict)

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
        return cls(selection.rows.order_by(None), unsorted, keys, Page[schema], tuple(unique))  # type: ignore[valid-type]  # a value

    @property
    def is_shared(self) -> bool:
        """True if the same serves every statement of the shape: nothing is loaded, and no key has a value in it."""
        has_value = any(isinstance(part, BindParameter) for key in self.keys for part in iterate(key.expression))
        columns = all(isinstance(one, Column | QueryableAttribute) for one in self.unique)
        return columns and not self.selection.entities and not has_value

    def prepare(self, purpose: Hashable, make: Callable[[], T]) -> T:
        """Return what was made for a purpose; make it the first time."""
        if purpose not in self.prepared:
            self.prepared[purpose] = make()
        found: T = self.prepared[purpose]
        return found

    async def count(self, session: AsyncSession, values: Mapping[str, Any]) -> int:
        """Return how many rows there are."""
        statement = self.prepare("count", lambda: _count_of(self.statement))
        [(counted,)] = await read_rows(session, statement, values, plain=self.selection.is_plain)
        return int(counted)

    def page(self, rows: Sequence[Row[Any]], *, next_cursor: str | None = None, total: int | None = None) -> Page[S]:
        """Make a page of some rows."""
        return self.page_type(items=self.selection.build(rows), next_cursor=next_cursor, total=total)


_ROWS = Shapes[_Rows[Any]]()
_KEY, _AFTER = "ligand_key_", "ligand_after_"
_LIMIT = bindparam("ligand_limit", type_=BigInteger())
_OFFSET = bindparam("ligand_offset", type_=BigInteger())
_START, _END = Cursor(None, backward=False), Cursor(None, backward=True)


async def _read_by_cursor(
    session: AsyncSession,
    rows: _Rows[S],
    values: Mapping[str, Any],
    params: CursorParams,
    total: Literal["exact"] | None,
) -> Page[S]:
    """Read a page and seal the cursors of the pages before and after it."""
    keys = rows.keys
    dialect = session.get_bind().dialect
    types, names = rows.prepare(("keys", dialect.name), lambda: _describe_keys(keys, dialect))
    secret = service_of(this_app()).settings.secret_key
    seal = Seal(secret.get_secret_value(), _binding_of(params, names, dialect))
    cursor = _START if params.cursor is None else seal.read(params.cursor, types)

    found = await _read_after(session, rows, values, cursor, params.limit + 1, total)
    has_more, page = len(found) > params.limit, found[: params.limit]
    counted = None
    if total == "exact":
        counted = getattr(page[0], _TOTAL) if page else await rows.count(session, values)
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
    session: AsyncSession,
    rows: _Rows[Any],
    values: Mapping[str, Any],
    cursor: Cursor,
    limit: int,
    total: Literal["exact"] | None,
) -> list[Row[Any]]:
    """Read the rows after a position, in the direction of the page."""
    dialect, position = session.get_bind().dialect, cursor.values or ()
    nulls = None if cursor.values is None else tuple(value is None for value in position)
    purpose = ("after", dialect.name, nulls, cursor.backward, total)
    statements = rows.prepare(purpose, lambda: _statements_after(rows, nulls, dialect, cursor.backward, total))
    after = {f"{_AFTER}{n}": value for n, value in enumerate(position) if value is not None}
    found: list[Row[Any]] = []
    for statement in statements:
        if len(found) < limit:
            every = {**values, **after, _LIMIT.key: limit - len(found)}
            found += await rows.selection.read(session, statement, every)
    return found


def _statements_after(
    rows: _Rows[Any], nulls: tuple[bool, ...] | None, dialect: Dialect, backward: bool, total: Literal["exact"] | None
) -> list[Select[Any]]:
    """Make the statements that together read the rows after a position, in their order.

    Args:
        rows: The rows.
        nulls: Which values of the position are null; None for the beginning, or for the end if `backward`.
        dialect: The dialect of the database.
        backward: Whether the page lies before the position.
        total: As of `paginate`.
    """
    types, _ = _describe_keys(rows.keys, dialect)
    positions = [type_coerce(key.expression, type_) for key, type_ in zip(rows.keys, types, strict=True)]
    statement = rows.selection.statement.add_columns(
        *(column.label(f"{_KEY}{n}") for n, column in enumerate(positions))
    )
    if total == "exact":
        statement = statement.add_columns(_count_of(rows.statement).scalar_subquery().label(_TOTAL))
    keys: Sequence[Key] = [key.reversed() for key in rows.keys] if backward else rows.keys
    walked = statement.order_by(*(key.clause for key in keys)).limit(_LIMIT)
    if nulls is None:
        return [walked]
    after = [
        None if is_null else bindparam(f"{_AFTER}{n}", type_=type_)
        for n, (is_null, type_) in enumerate(zip(nulls, types, strict=True))
    ]
    return [walked.where(condition) for condition in conditions_after(keys, after, dialect)]


def _position(row: Row[Any], keys: Sequence[Key]) -> tuple[Any, ...]:
    return tuple(getattr(row, f"{_KEY}{n}") for n in range(len(keys)))


_TOTAL = "ligand_total"


def _count_of(statement: Select[Any]) -> Select[int]:
    rows: Select[Any] = statement.with_only_columns(
        literal_column("1").label("one"), maintain_column_froms=True
    ).order_by(None)
    return select(func.count()).select_from(rows.subquery())


async def _read_by_number(
    session: AsyncSession, rows: _Rows[S], values: Mapping[str, Any], params: OffsetParams
) -> Page[S]:
    """Read a page and count all of them, in one round trip where the page has a row."""
    statement = rows.prepare("number", lambda: _numbered_statement(rows))
    every = {**values, _LIMIT.key: params.page_size, _OFFSET.key: params.offset}
    found = await rows.selection.read(session, statement, every)
    total = getattr(found[0], _TOTAL) if found else await rows.count(session, values)
    return rows.page(found, total=total).with_headers(describe_numbered(params, total))


def _numbered_statement(rows: _Rows[Any]) -> Select[Any]:
    return (
        rows.selection.statement.add_columns(_count_of(rows.statement).scalar_subquery().label(_TOTAL))
        .order_by(*(key.clause for key in rows.keys))
        .limit(_LIMIT)
        .offset(_OFFSET)
    )


def _binding_of(params: CursorParams, names: list[list[Any]], dialect: Dialect) -> bytes:
    """Return bytes that are the same for the same list in every worker, and differ for every other list.

    Query parameters count by their parsed values, so a default that is sent makes no difference; the page size does not
    count. Parameters that the model does not declare, as in a plain view, count as they are.
    """
    known = params.model_dump(exclude=set(PLACE))
    operation: list[Any] = []
    if has_request_context():
        others = [pair for pair in request.args.items(multi=True) if pair[0] not in {*known, *PLACE}]
        operation = [request.endpoint, request.view_args, sorted(others)]
    return json.dumps([operation, known, dialect.name, names], default=_plain, sort_keys=True).encode()


def _plain(value: Any) -> Any:
    """Return a value as JSON, the same in every process."""
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


def _describe_keys(keys: Sequence[Key], dialect: Dialect) -> tuple[list[TypeEngine[Any]], list[list[Any]]]:
    """Return the types by which the values of keys are read and compared, and the names of the keys in a cursor."""
    return [comparable(key.expression.type, dialect) for key in keys], [_name_key(key, dialect) for key in keys]


def _name_key(key: Key, dialect: Dialect) -> list[Any]:
    expression = key.expression
    if isinstance(expression, Column) and isinstance(expression.table, Table):
        name = f"{expression.table.fullname}.{expression.name}"
    else:
        compiled = expression.compile(dialect=dialect)
        name = f"{compiled} {sorted(compiled.params.items())}"
    return [name, type(expression.type).__name__, key.descending, key.nullable and key.nulls_first]
