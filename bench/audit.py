"""What the audit trail costs a write: `python -m bench.audit [URL]`.

Two services on one kind of database, with a trail and without, take turns: one transaction that inserts pets, by
`db.transaction()`. The ratio is with to without; the difference is what a row of the trail costs. Without a URL it is a
SQLite file in a temporary directory; a PostgreSQL database of one's own is filled and left empty.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from quart import Quart
from sqlalchemy import String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ligand_async import AuditTrail, Database, Identified, Model, Settings, Timestamped, Versioned, create_app

ROUNDS = 40
SIZES = {1: 25, 100: 2}  # pets of a transaction: transactions of a round


def make_service(kind: str, url: str, audit: AuditTrail | None) -> tuple[Quart, Database, type[Any]]:
    """Make a service with a table of its own."""

    class Base(Model, DeclarativeBase):
        """Its tables."""

    class Pet(Identified, Timestamped, Versioned, Base):
        """A pet as in the petstore."""

        __tablename__ = f"bench_pet_{kind}"
        name: Mapped[str] = mapped_column(String(255), index=True)
        description: Mapped[str] = mapped_column(Text, default="")

    database = Database(Base, audit=audit)
    settings = Settings.load("testing", database_url=url)
    return create_app(__name__, title=kind, version="1", settings=settings, database=database), database, Pet


@asynccontextmanager
async def running(app: Quart, database: Database) -> AsyncIterator[None]:
    """Start a service with its tables, and drop them in the end."""
    async with app.test_app(), app.app_context():
        await database.create_tables()
        try:
            yield
        finally:
            async with database.engines().write.begin() as connection:
                await connection.run_sync(database.metadata.drop_all)


async def insert(app: Quart, database: Database, pet: type[Any], size: int, times: int) -> float:
    """Return the microseconds of one pet."""
    async with app.app_context():
        began = time.perf_counter()
        for _ in range(times):
            async with database.transaction() as session:
                session.add_all([pet(name="Rex", description="A good dog.") for _ in range(size)])
        return (time.perf_counter() - began) / (size * times) * 1e6


async def measure(urls: dict[str, str]) -> None:
    """Measure and print."""
    services = {name: make_service(name, url, AuditTrail() if name == "with" else None) for name, url in urls.items()}
    async with running(*services["without"][:2]), running(*services["with"][:2]):
        print(f"{'pets each':>9} {'without':>12} {'with':>12} {'ratio':>6}")
        for size, times in SIZES.items():
            taken: dict[str, list[float]] = {name: [] for name in services}
            for number in range(ROUNDS):
                # In turns, and each goes first as often as the other.
                for name in sorted(services, reverse=number % 2 == 0):
                    taken[name].append(await insert(*services[name], size, times))
            without, with_trail = (statistics.median(taken[name]) for name in ("without", "with"))
            print(f"{size:>9} {without:>9,.0f} µs {with_trail:>9,.0f} µs {with_trail / without:>6.2f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        given = sys.argv[1:2]
        asyncio.run(
            measure(
                {
                    name: given[0] if given else f"sqlite+aiosqlite:///{Path(place) / name}.db"
                    for name in ("without", "with")
                }
            )
        )
