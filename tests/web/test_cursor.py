"""What is asked of the database for a page by cursor."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel
from quart import Quart
from sqlalchemy import (
    Column,
    ColumnElement,
    Dialect,
    Enum,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    event,
    func,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import TypeDecorator

from ligand_async import CursorParams, OffsetParams, paginate
from ligand_async.web.lists import PageNotPossible
from ligand_async.web.lists.cursor import read_value, write_value
from tests.data.statements import captured
from tests.web.things import Box, Mood, Thing, Walk, db, make_things_app, running, store


class Word(BaseModel):
    word: str | None


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started app with twelve things: some in boxes of which one is empty, most with a word."""
    app = make_things_app(database_url)
    async with running(app):
        boxes = [Box(id=number, label=label) for number, label in enumerate(("b", "a", "c"), 1)]
        words = ["x", "yy", None]
        await store(
            *boxes,
            *[
                Thing(
                    rank=n, word=words[n % 3], number=n % 4 or None, box=boxes[n % 2] if n % 5 else None, mood=Mood.BAD
                )
                for n in range(12)
            ],
        )
        yield app


async def sent_for(session: AsyncSession, *order: Any, limit: int = 3) -> list[str]:
    """Return the statements of the second page in an order."""
    walk = Walk(session, select(Thing).order_by(*order), limit)
    first = await walk.page()
    with captured(session) as sent:
        await walk.page(first.next_cursor)
    return sent


def where_of(statement: str) -> str:
    """Return what follows WHERE, without table and parameters' names."""
    return statement.partition("WHERE ")[2].replace("thing.", "").partition(" \n LIMIT")[0].replace("\n", "")


@pytest.mark.ligand_database("postgresql")
@pytest.mark.parametrize(
    ("order", "comparison"),
    [
        ([Thing.rank, Thing.created_at], "(rank, created_at, id) > ($1"),
        ([Thing.rank.desc()], "(rank, id) < ($1"),
        ([], "id > $1"),
    ],
    ids=["up", "down", "by the key alone"],
)
async def test_one_direction_and_no_nulls_are_one_comparison(app: Quart, order: list[Any], comparison: str) -> None:
    """Of rows, as an index over the same columns is walked; the primary key goes the same way."""
    async with db.read() as session:
        (statement,) = await sent_for(session, *order)

    assert where_of(statement).startswith(comparison)
    assert " OR " not in statement
    assert "NULLS" not in statement


@pytest.mark.ligand_database("postgresql")
async def test_mixed_directions_have_a_bound(app: Quart) -> None:
    """It follows from the rest; without it an index could not begin anywhere but at the first row."""
    async with db.read() as session:
        (statement,) = await sent_for(session, Thing.rank, Thing.created_at.desc())

    assert where_of(statement).startswith("rank >= $1")
    assert " OR " in statement


async def test_nulls_are_read_by_themselves(app: Quart) -> None:
    """A page is one statement, but for the one where the values end: the rest comes by a second."""
    async with db.read() as session:
        counts = []
        walk = Walk(session, select(Thing).order_by(Thing.word), 3)
        cursor = (await walk.page()).next_cursor
        while cursor is not None:
            with captured(session) as sent:
                cursor = (await walk.page(cursor)).next_cursor
            counts.append(len(sent))

    assert counts == [1, 2, 1]


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (Thing.word, ["x", "yy", None]),
        (Thing.word.desc(), [None, "yy", "x"]),
        (Thing.word.nulls_first(), [None, "x", "yy"]),
        (Thing.word.desc().nulls_last(), ["yy", "x", None]),
    ],
    ids=str,
)
@pytest.mark.parametrize("params", [CursorParams(limit=100), OffsetParams(page_size=100)], ids=["cursor", "number"])
async def test_nulls_are_where_they_are_said_to_be(app: Quart, order: Any, words: list[Any], params: Any) -> None:
    """On both databases; by default they are larger than everything, as PostgreSQL has them."""
    async with db.read() as session:
        page = await paginate(session, select(Thing).order_by(order), params, into=Word)

    assert list(dict.fromkeys(item.word for item in page.items)) == words


INDEXES: dict[str, tuple[list[Any], str]] = {
    "one direction": ([Thing.rank, Thing.created_at], "ix_rank_created"),
    "the other": ([Thing.rank.desc(), Thing.created_at.desc()], "ix_rank_created"),
    "mixed": ([Thing.rank, Thing.created_at.desc()], "ix_rank_down"),
    "nulls last": ([Thing.number], "ix_number"),
    "nulls first": ([Thing.number.desc()], "ix_number"),
    "an index over the first alone": ([Thing.day], "ix_day"),
    "an expression": ([func.length(Thing.word)], "ix_length"),
}


@pytest.fixture
async def full(postgres_url: str) -> AsyncIterator[Quart]:
    """An app with 20,000 things, indexes, and what the planner wants to know of them."""
    app = make_things_app(postgres_url)
    async with running(app):
        async with db.transaction() as session:
            connection = await session.connection()
            for statement in (
                """INSERT INTO thing (id, rank, number, word, day, created_at)
                SELECT gen_random_uuid(), n % 100, nullif(n % 1000, 7), md5(n::text), date '2020-01-01' + n % 500,
                       now() + n * interval '1 second'
                FROM generate_series(1, 20000) n""",
                "CREATE INDEX ix_rank_created ON thing (rank, created_at, id)",
                "CREATE INDEX ix_rank_down ON thing (rank, created_at DESC, id DESC)",
                "CREATE INDEX ix_number ON thing (number, id)",
                "CREATE INDEX ix_day ON thing (day)",
                "CREATE INDEX ix_length ON thing (length(word), id)",
                "ANALYZE thing",
            ):
                await connection.exec_driver_sql(statement)
        yield app


async def test_an_index_is_used_at_every_depth(full: Quart) -> None:
    """PostgreSQL begins in the index where the page begins, and looks at no more rows than it needs.

    In the middle of 20,000, both ways, whatever the directions and wherever nulls are. With mixed directions these are
    all that share the first column's value: here 200.
    """
    for name, (order, index) in INDEXES.items():
        async with db.read() as session:
            walk = Walk(session, select(Thing).order_by(*order), 10)
            cursor = await cursor_in_the_middle(walk)
            previous = walk.links(await walk.page(cursor))["prev"]
            plans = [await plan_of(walk, cursor), await plan_of(walk, previous)]

        for plan in plans:
            scans = [node for node in nodes_of(plan) if "Scan" in node["Node Type"]]
            assert {scan.get("Index Name") for scan in scans} == {index}, (name, plan)
            assert sum(looked_at(scan) for scan in scans) < (300 if name == "mixed" else 100), (name, plan)


async def cursor_in_the_middle(walk: Walk) -> str:
    """Return a cursor behind the 10,000th row: a position is the same whatever else is listed."""
    around = select(walk.statement.offset(9_999).limit(2).subquery().c.id)
    near = Walk(walk.session, walk.statement.where(Thing.id.in_(around)), 1)
    cursor = (await near.page()).next_cursor
    assert cursor is not None
    return cursor


async def plan_of(walk: Walk, cursor: str | None) -> dict[str, Any]:
    """Return how PostgreSQL reads a page, and what it found on the way."""
    sent: list[tuple[str, Any]] = []
    engine = walk.session.get_bind()

    def keep(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", keep)
    await walk.page(cursor)
    event.remove(engine, "before_cursor_execute", keep)
    ((statement, parameters),) = sent
    connection = await walk.session.connection()
    found = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
    plan: dict[str, Any] = found.scalar_one()[0]["Plan"]
    return plan


def nodes_of(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes of a plan."""
    return [plan, *(node for part in plan.get("Plans", []) for node in nodes_of(part))]


def looked_at(scan: dict[str, Any]) -> int:
    """Return how many rows a scan met."""
    return int(scan["Actual Rows"]) + int(scan.get("Rows Removed by Filter", 0))


class Backwards(TypeDecorator[str]):
    """Text that is stored from its end."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002  (its signature)
        return None if value is None else value[::-1]

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002  (the same)
        return None if value is None else value[::-1]


LOSSY: dict[str, tuple[Any, Any]] = {
    "a decorated type": (Backwards(), ["ab", "ba", "ca", "ac"]),
    "digits beyond a float's": (Numeric(30, 10), [Decimal(f"1234567890123456.{n:04}") for n in range(4)]),
    "digits beyond those that are declared": (Numeric(30, 2), [Decimal("0.01"), Decimal("0.02"), Decimal("0.04")]),
}


@pytest.mark.parametrize("case", LOSSY)
async def test_positions_lose_nothing(database_url: str, case: str) -> None:
    """What Python makes of a value is not what the database sorts by: each row is seen once all the same."""
    type_, values = LOSSY[case]
    things = Table("lossy", MetaData(), Column("id", Integer, primary_key=True), Column("value", type_))
    app = make_things_app(database_url)

    class Lossy(BaseModel):
        id: int

    async with running(app):
        async with db.transaction() as session:
            await (await session.connection()).run_sync(things.metadata.create_all)
            await session.execute(things.insert(), [{"value": value} for value in values * 2])
        third: ColumnElement[Any] = things.c.value / 3 if isinstance(type_, Numeric) else things.c.value
        async with db.read() as session:
            found = await Walk(session, select(things.c.id).order_by(third), 1, Lossy).read()

    assert sorted(item.id for item in found) == list(range(1, 2 * len(values) + 1))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -(2**63),
        "ä",
        1.5,
        float("inf"),
        b"\xff\0",
        Decimal("1.10"),
        Decimal("NaN"),
        datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
        datetime(2026, 1, 2, 3, 4, 5, 6, timezone(timedelta(hours=-3))),
        date(2026, 1, 2),
        time(3, 4, 5, 6),
        timedelta(days=-1, microseconds=1),
        UUID(int=2**128 - 1),
        Mood.BAD,
    ],
    ids=repr,
)
def test_values_come_back_the_same(value: Any) -> None:
    """By way of JSON, and of the same class."""
    back = read_value(json.loads(json.dumps(write_value(value))), Enum(Mood))

    assert (type(back), repr(back)) == (type(value), repr(value))


def test_a_value_that_no_text_brings_back_is_not_sorted_by() -> None:
    """Of a class that nobody knows to compare."""
    with pytest.raises(PageNotPossible, match="cannot hold a dict; sort by something else"):
        write_value({})
