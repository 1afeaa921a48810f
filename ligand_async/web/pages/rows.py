"""What pages are made of: a statement's rows, what a schema needs of them, and their order."""

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import Row, Select
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.data.reading import Selection, select_into
from ligand_async.web.pages.order import Order, PageNotPossible, order_of
from ligand_async.web.pages.page import Page

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Rows(Generic[S]):
    """The rows of all pages.

    Attributes:
        statement: What selects them, in no order.
        selection: The same, of what the schema needs.
        order: How they follow each other.
        schema: What is made of each.
    """

    statement: Select[Any]
    selection: Selection[S]
    order: Order
    schema: type[S]

    @classmethod
    def of(cls, statement: Select[Any], schema: type[S]) -> "Rows[S]":
        """Take a statement apart.

        Raises:
            IntoNotPossible: The schema cannot be made of what the statement selects.
            PageNotPossible: The statement is limited already, or sorted by what cannot be compared.
        """
        selection = select_into(statement, schema)
        if statement._has_row_limiting_clause:  # no public accessor in SQLAlchemy 2.1
            raise PageNotPossible("the statement has a limit or an offset of its own; paginate() sets both")
        order = order_of(selection.rows, selection.named)
        unsorted = replace(selection, statement=selection.statement.order_by(None))
        return cls(selection.rows.order_by(None), unsorted, order, schema)

    async def read(self, session: AsyncSession, statement: Select[Any]) -> list[Row[Any]]:
        """Read the rows of a statement that was made of the selection's."""
        result = await session.execute(statement)
        return list((result.unique() if self.selection.entities else result).all())

    def page(self, rows: list[Row[Any]], *, next_cursor: str | None = None, total: int | None = None) -> Page[S]:
        """Make a page of some rows."""
        items = [self.selection.build(row) for row in rows]
        return Page[self.schema](items=items, next_cursor=next_cursor, total=total)  # type: ignore[name-defined]  # a value
