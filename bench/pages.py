"""What a page costs at the beginning and at the end of a long list: `python -m bench.pages`.

A million rows on a throw-away PostgreSQL, sorted by time, a hundred to a page. By cursor the last page costs what the
first costs; by number the database counts all rows and walks over those before the page.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import Index, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped

from ligand_async import (
    CursorParams,
    Database,
    Identified,
    Model,
    OffsetParams,
    Settings,
    Timestamped,
    create_app,
    paginate,
)
from ligand_async.testing import ThrowawayPostgres

ROWS = 1_000_000
LIMIT = 100
REPEAT = 41  # for each measurement; the median counts


class Base(Model, DeclarativeBase):
    """The table of the benchmark."""


class Event(Identified, Timestamped, Base):
    """Something that happened."""

    __tablename__ = "event"
    __table_args__ = (Index(None, "created_at", "id"),)

    name: Mapped[str]


class EventRead(BaseModel):
    """What is read of it."""

    id: UUID
    name: str
    created_at: datetime


FILL = """
INSERT INTO event (id, name, created_at, updated_at)
SELECT gen_random_uuid(), md5(n::text), timestamptz '2026-01-01' + n / 3 * interval '1 second', now()
FROM generate_series(1, {rows}) n
"""

db = Database(Base)


async def measure(url: str, rows: int = ROWS, repeat: int = REPEAT) -> dict[str, float]:
    """Fill a database and return what pages cost: the milliseconds of one, by its name."""
    app = create_app(
        __name__,
        title="Events",
        version="1",
        settings=Settings.load(
            "testing", database_url=url, database_statement_timeout=300, database_command_timeout=300
        ),
        database=db,
    )
    async with app.test_app(), app.app_context():
        await db.create_tables()
        async with db.transaction() as session:
            await (await session.connection()).exec_driver_sql(FILL.format(rows=rows))
        async with db.transaction() as session:
            await (await session.connection()).exec_driver_sql("ANALYZE event")
        async with db.read() as session:
            return {name: await median(page, repeat) for name, page in (await pages(session, rows)).items()}


async def pages(session: AsyncSession, rows: int) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return what is measured."""
    statement = select(Event).order_by(Event.created_at)
    # A position is the same whatever else is listed: this one is a page before the end.
    near_the_end = select(Event).order_by(Event.created_at, Event.id).offset(rows - LIMIT - 1).limit(2).subquery()
    last = await paginate(
        session, statement.where(Event.id.in_(select(near_the_end.c.id))), CursorParams(limit=1), into=EventRead
    )
    number = -(-rows // LIMIT)
    return {
        "cursor, first": lambda: paginate(session, statement, CursorParams(limit=LIMIT), into=EventRead),
        "cursor, last": lambda: paginate(
            session, statement, CursorParams(limit=LIMIT, cursor=last.next_cursor), into=EventRead
        ),
        "cursor, first, counted": lambda: paginate(
            session, statement, CursorParams(limit=LIMIT), into=EventRead, total="exact"
        ),
        "number, first": lambda: paginate(session, statement, OffsetParams(page_size=LIMIT), into=EventRead),
        "number, last": lambda: paginate(
            session, statement, OffsetParams(page=number, page_size=LIMIT), into=EventRead
        ),
    }


async def median(page: Callable[[], Awaitable[object]], repeat: int) -> float:
    """Return the milliseconds of one page, after some that nobody measures."""
    took = []
    for _ in range(repeat + 5):
        start = time.perf_counter()
        await page()
        took.append((time.perf_counter() - start) * 1000)
    return statistics.median(took[5:])


if __name__ == "__main__":
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with ThrowawayPostgres() as server:
        figures = asyncio.run(measure(server.url(), rows))
    print(f"{rows:,} rows, {LIMIT} on a page, median of {REPEAT}")
    for name, milliseconds in figures.items():
        print(f"{name:<26} {milliseconds:>9.2f} ms")
    print(f"last to first, by cursor   {figures['cursor, last'] / figures['cursor, first']:>9.2f}")
