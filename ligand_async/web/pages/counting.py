"""How many rows there are on all pages: counted, or guessed by the database's planner."""

import json
from typing import Any, Literal

from sqlalchemy import Executable, Select, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement

Total = Literal["exact", "estimate"]


class explain(Executable, ClauseElement):  # noqa: N801  (an SQL statement, written as one)
    """PostgreSQL's plan of a statement, as JSON."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(explain, "postgresql")
def _explain(element: explain, compiler: Any, **options: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **options)}"


def rows_of(statement: Select[Any]) -> Select[Any]:
    """Return a statement of the same rows, in no order and with nothing in them."""
    return statement.with_only_columns(literal_column("1").label("one"), maintain_column_froms=True).order_by(None)


def count_of(statement: Select[Any]) -> Select[int]:
    """Return the statement that counts another's rows."""
    return select(func.count()).select_from(rows_of(statement).subquery())


async def estimate(session: AsyncSession, statement: Select[Any]) -> int:
    """Return how many rows PostgreSQL's planner expects: it looks at statistics, and at no row.

    SQLite has no such statistics: there they are counted.
    """
    if session.get_bind().dialect.name != "postgresql":
        return await session.scalar(count_of(statement)) or 0
    plan = await session.scalar(explain(rows_of(statement)))
    return int((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]["Plan Rows"])
