"""How cost grows with rows, connections and workers: `make bench-growth`, or `python -m bench.growth [PART ...]`.

- `pages`: first and last pages of 10,000, 100,000 and 1,000,000 rows, by cursor and by number, with and without totals;
- `tables`: a write without features, with an audit trail and with an idempotency key, while the tables of these are
  empty and when they have a million rows;
- `connections`: `ligand serve` and FastAPI with 1, 32, 256 and 1,024 connections;
- `workers`: `ligand serve` with one and two workers, not pinned. Where load generator and PostgreSQL have no cores of
  their own beside two for the workers, the ratio says little.
"""

import argparse
import asyncio
import os
import statistics
import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

from quart import Blueprint, Quart
from sqlalchemy import String
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench import pages
from bench.counting import answer, request
from bench.results import REFERENCE, Turn
from bench.suite import FIRST_PORT, LOAD_CORE, STACKS, Server, Stack, prepare, run_load, surroundings
from ligand_async import (
    AuditTrail,
    Database,
    Identified,
    Model,
    Settings,
    create_app,
    idempotent,
    operation,
    public,
)
from ligand_async.testing import ThrowawayPostgres

SIZES = (10_000, 100_000, 1_000_000)
ROWS = 1_000_000  # of the tables of features
CONNECTIONS = (1, 32, 256, 1024)
SERVE = "ligand serve"
PARTS = ("pages", "tables", "connections", "workers")

FILL_AUDIT = """
INSERT INTO audit_event (at, id, subject, action, entity, key, new)
SELECT now() - n * interval '1 second', gen_random_uuid(), 'alice', 'insert', 'pet', md5(n::text), '{{"name": "Rex"}}'
FROM generate_series(1, {rows}) n
"""
FILL_KEYS = """
INSERT INTO idempotency_key (key, request, status, headers, body, expires_at)
SELECT md5(n::text) || md5((-n)::text), md5(n::text), 201, '[]', '{{}}', now() + interval '1 day'
FROM generate_series(1, {rows}) n
"""


def measure_pages(sizes: tuple[int, ...] = SIZES, repeat: int = pages.REPEAT) -> dict[str, list[float]]:
    """Return the milliseconds of each kind of page, for each number of rows."""
    found: dict[str, list[float]] = {}
    for rows in sizes:
        with ThrowawayPostgres() as postgres:
            for name, milliseconds in asyncio.run(pages.measure(postgres.url(), rows, repeat)).items():
                found.setdefault(name, []).append(milliseconds)
    return found


def make_service(url: str, *, audit: bool = False, keys: bool = False) -> tuple[Quart, Database]:
    """Make a service that registers pets, with a feature or without."""

    class Base(Model, DeclarativeBase):
        """Its tables."""

    class Pet(Identified, Base):
        """A pet."""

        __tablename__ = f"pet_{'audit' if audit else 'keys' if keys else 'plain'}"
        name: Mapped[str] = mapped_column(String(50))

    async def create(session: AsyncSession) -> None:
        """Register a pet."""
        session.add(Pet(name="Rex"))

    database = Database(Base, audit=AuditTrail() if audit else None, idempotency=keys)
    routes = public(Blueprint("routes", __name__))
    view = operation(status=204)(create)
    routes.post("/")(idempotent(view) if keys else view)
    settings = Settings.load("testing", database_url=url)
    return create_app(
        __name__, title="Growth", version="1", settings=settings, database=database, blueprints=[routes]
    ), database


async def measure_tables(url: str, rows: int = ROWS, rounds: int = 40) -> dict[str, list[float]]:
    """Return the milliseconds of a write, for each feature, with empty tables and with full ones."""
    services = {
        "without": make_service(url),
        "audit trail": make_service(url, audit=True),
        "idempotency key": make_service(url, keys=True),
    }
    found: dict[str, list[float]] = {name: [] for name in services}
    for app, database in services.values():
        async with app.test_app(), app.app_context():
            await database.create_tables()
    for full in (False, True):
        if full:
            engine = create_async_engine(url)
            async with engine.begin() as connection:
                for statement in (FILL_AUDIT, FILL_KEYS):
                    await connection.exec_driver_sql(statement.format(rows=rows))
                await connection.exec_driver_sql("ANALYZE")
            await engine.dispose()
        for name, (app, _) in services.items():
            async with app.test_app():
                found[name].append(await _median_write(app, rounds))
    return found


async def _median_write(app: Quart, rounds: int) -> float:
    took = []
    for _ in range(rounds + 10):
        scope, body = request("POST", "/")
        scope["headers"].append((b"idempotency-key", uuid4().hex.encode()))
        began = time.perf_counter()
        await answer(app, scope, body)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took[10:])


def measure_connections(seconds: int, numbers: tuple[int, ...] = CONNECTIONS) -> dict[str, list[Turn]]:
    """Return what a service does on reading one row, for each number of connections."""
    prepare([SERVE, REFERENCE])
    found = {}
    with surroundings() as around:
        for name in (SERVE, REFERENCE):
            server = Server(name, around.variables, around.directory, FIRST_PORT)
            try:
                run_load(server, around.loads["one"], around.directory, seconds=1, connections=32)
                found[name] = [
                    run_load(server, around.loads["one"], around.directory, seconds=seconds, connections=number)
                    for number in numbers
                ]
            finally:
                server.stop()
    return found


def measure_workers(seconds: int) -> dict[int, float]:
    """Return the requests per second of `/me` with one and with two workers."""
    prepare([SERVE])
    found = {}
    with surroundings() as around:
        for workers in (1, 2):
            stack = STACKS[SERVE]
            STACKS["workers"] = _with_workers(stack, workers)
            server = Server(
                "workers", around.variables, around.directory, FIRST_PORT, cores=f"0-{(os.cpu_count() or 1) - 1}"
            )
            try:
                run_load(server, around.loads["me"], around.directory, seconds=1, connections=64)
                turn = run_load(server, around.loads["me"], around.directory, seconds=seconds, connections=64)
                found[workers] = turn.requests_per_second
            finally:
                server.stop()
    return found


def _with_workers(stack: Stack, workers: int) -> Stack:
    return replace(stack, server=f"{stack.server} --workers {workers}")


def format_rows(head: list[str], rows: dict[str, list[Any]]) -> str:
    """Return a table of figures with two decimals."""
    lines = [f"{head[0]:<26}" + "".join(f"{name:>14}" for name in head[1:])]
    lines += [f"{name:<26}" + "".join(f"{cell:>14,.2f}" for cell in cells) for name, cells in rows.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the parts that are asked for, and print them."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description="Measure how cost grows.")
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="all of them, if none is named")
    parser.add_argument("--seconds", type=int, default=5, help="of load for each number of connections or workers")
    options = parser.parse_args()
    asked = options.part or PARTS
    if "pages" in asked:
        print(format_rows(["page, ms", *(f"{size:,} rows" for size in SIZES)], dict(measure_pages())))
    if "tables" in asked:
        with ThrowawayPostgres() as postgres:
            written = asyncio.run(measure_tables(postgres.url()))
        print(format_rows(["write, ms", "empty", f"{ROWS:,} rows"], dict(written)))
    if "workers" in asked:
        one, two = measure_workers(options.seconds).values()
        rows = {"ligand serve, /me": [one, two, two / one]}
        print(format_rows([f"requests/s, {os.cpu_count()} cores", "1 worker", "2 workers", "ratio"], rows))
    if "connections" in asked:
        os.sched_setaffinity(0, {LOAD_CORE})
        for name, turns in measure_connections(options.seconds).items():
            figures: dict[str, list[Any]] = {
                label: [getattr(turn, field) for turn in turns]
                for label, field in {
                    "requests/s": "requests_per_second",
                    "p50, ms": "p50",
                    "p99, ms": "p99",
                    "CPU, µs": "cpu",
                    "errors": "errors",
                }.items()
            }
            print(format_rows([f"{name}, one row", *map(str, CONNECTIONS)], figures))


if __name__ == "__main__":
    main()
