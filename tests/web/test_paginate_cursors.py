"""Pages by cursor: whatever the rows, the order and the page size, each row is seen once."""

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import CursorParams, Page, Problem, operation, paginate
from tests.services import routes
from tests.web.things import SORTABLE, Mood, Thing, ThingRead, Walk, db, directions, make_things_app, running, store

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Values = list[dict[str, Any]]
Order = list[Callable[[], Any]]

TEXTS = st.sampled_from(["", "a", "A", "ä", "ß", "ﬁ", "%", "_", "𝄞"]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3
)
VALUES = {
    "rank": st.integers(0, 2),
    "word": st.none() | TEXTS,
    "number": st.none() | st.integers(0, 1) | st.integers(-(2**31), 2**31 - 1),
    "price": st.none() | st.decimals(-(10**11), 10**11, places=12),
    "ratio": st.none() | st.floats(),
    "flag": st.none() | st.booleans(),
    "day": st.none() | st.dates(date(1, 1, 2)),
    "moment": st.none() | st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 28), timezones=st.just(UTC)),  # noqa: DTZ001  (bounds are naive)
    "span": st.none() | st.timedeltas(timedelta(days=-1000), timedelta(days=1000)),
    "key": st.none() | st.uuids(),
    "blob": st.none() | st.binary(max_size=3),
    "mood": st.none() | st.sampled_from(list(Mood)),
}
THINGS = st.lists(st.fixed_dictionaries(VALUES), max_size=9)
ORDER = st.lists(st.sampled_from(SORTABLE).flatmap(lambda column: st.sampled_from(directions(column))), max_size=3)
SIZE = st.integers(1, 4)


@operation
async def list_things(query_args: CursorParams, session: AsyncSession) -> Page[ThingRead]:
    return await paginate(session, select(Thing).order_by(Thing.rank), query_args, into=ThingRead)


@operation
async def list_others(query_args: CursorParams, session: AsyncSession) -> Page[ThingRead]:
    return await paginate(session, select(Thing).order_by(Thing.rank), query_args, into=ThingRead)


@operation
async def list_in_box(box: str, query_args: CursorParams, session: AsyncSession, flag: bool = True) -> Page[ThingRead]:
    return await paginate(session, select(Thing).order_by(Thing.rank), query_args, into=ThingRead)


def make_app(database_url: str, **more: Any) -> Quart:
    views = routes(
        ("GET", "/things", list_things), ("GET", "/others", list_others), ("GET", "/boxes/<box>", list_in_box)
    )
    return make_things_app(database_url, views, **more)


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    """A client of 25 things of three ranks."""
    async with running(make_app(database_url)) as client:
        await store(*[Thing(rank=number % 3) for number in range(25)])
        yield client


@contextmanager
def looping(app: Quart) -> Iterator[Run]:
    """Run an app in a loop of its own, for many examples of one test."""
    with asyncio.Runner() as runner:
        context = running(app)
        runner.run(context.__aenter__())
        try:
            yield runner.run
        finally:
            runner.run(context.__aexit__(None, None, None))


async def fill(things: Values) -> set[UUID]:
    """Store these things and no others."""
    async with db.transaction() as session:
        await session.execute(delete(Thing))
        stored = [Thing(**thing) for thing in things]
        session.add_all(stored)
    return {thing.id for thing in stored}


def test_every_row_is_seen_once_both_ways(database_url: str, figure: Callable[[int, int], int]) -> None:
    """For any values, order and page size, in the same order forward and backward.

    Ties, nulls wherever they are put, texts of any script, several columns in several directions.
    """
    with looping(make_app(database_url)) as run:

        async def check(things: Values, order: Order, limit: int) -> None:
            every = await fill(things)
            async with db.read() as session:
                walk = Walk(session, select(Thing).order_by(*(make() for make in order)), limit)
                forward, backward = await walk.forward(), await walk.backward()

            assert len(forward) == len(every)
            assert set(forward) == every
            assert backward == forward[::-1]

        @settings(max_examples=figure(15, 1_000), deadline=None, database=None)
        @given(THINGS, ORDER, SIZE)
        def any_data(things: Values, order: Order, limit: int) -> None:
            run(check(things, order, limit))

        any_data()


def test_rows_that_stay_are_seen_once_while_others_come_and_go(
    database_url: str, figure: Callable[[int, int], int]
) -> None:
    """What is there from the first page to the last is seen exactly once, both ways.

    Others are stored and deleted between any two pages, also the very one that a cursor was made of.
    """
    with looping(make_app(database_url)) as run:

        async def check(things: Values, others: Values, order: Order, limit: int) -> None:
            staying = await fill(things)
            coming, stored = list(others), [Thing(**other) for other in others[::2]]
            await store(*stored)

            async def come_and_go() -> None:
                async with db.transaction() as session:
                    if stored:
                        await session.execute(delete(Thing).where(Thing.id == stored.pop().id))
                    if coming:
                        session.add(Thing(**coming.pop()))

            async with db.read() as session:
                walk = Walk(session, select(Thing).order_by(*(make() for make in order)), limit, meanwhile=come_and_go)
                for found in (await walk.forward(), await walk.backward()):
                    assert sorted(one for one in found if one in staying) == sorted(staying)

        @settings(max_examples=figure(10, 500), deadline=None, database=None)
        @given(THINGS, THINGS, ORDER, SIZE)
        def any_data(things: Values, others: Values, order: Order, limit: int) -> None:
            run(check(things, others, order, limit))

        any_data()


async def get(client: Client, path: str) -> Any:
    response = await client.get(path)
    assert response.status_code == 200
    return await response.get_json()


async def test_a_page_has_items_and_the_next_cursor(client: Client) -> None:
    """Ten items by default; nobody counts; the last page has no next one."""
    first = await get(client, "/things")
    last = await get(client, f"/things?limit=100&cursor={first['next_cursor']}")

    assert (first.keys(), len(first["items"]), first["total"]) == ({"items", "next_cursor", "total"}, 10, None)
    assert (len(last["items"]), last["next_cursor"]) == (15, None)


async def test_no_rows_are_one_empty_page(database_url: str) -> None:
    """Nothing comes next."""
    async with running(make_app(database_url)) as client:
        assert await get(client, "/things") == {"items": [], "next_cursor": None, "total": None}


async def test_a_cursor_is_short_and_needs_no_escape(client: Client) -> None:
    """It stands in an address as it is: letters, digits, `-` and `_`."""
    cursor = (await get(client, "/things"))["next_cursor"]

    assert len(cursor) < 100
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert cursor.isascii()


async def refused(client: Client, path: str) -> list[tuple[str, str]]:
    response = await client.get(path)
    assert response.status_code == 422
    return [(part["parameter"], part["code"]) for part in (await response.get_json())["errors"]]


def flip(cursor: str, position: int) -> str:
    """Change one bit of what a cursor says."""
    raw = bytearray(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[position] ^= 1
    return urlsafe_b64encode(bytes(raw)).decode().rstrip("=")


FORGED: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "garbage": lambda _: "garbage",
    "not base64": lambda cursor: cursor[:-2] + "*%C3%A9",
    "between the lines": lambda cursor: cursor[:8] + "." + cursor[8:],
    "cut": lambda cursor: cursor[:-4],
    "only signed": lambda cursor: cursor[:20],
    "longer": lambda cursor: cursor + "AAAA",
    "another tag": lambda cursor: flip(cursor, 0),
    "the other way": lambda cursor: flip(cursor, 17),
    "another value": lambda cursor: flip(cursor, -3),
    "twice": lambda cursor: cursor + cursor,
}


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
async def test_a_forged_cursor_is_422(client: Client, forge: Callable[[str], str]) -> None:
    """Not one bit of it may be another."""
    cursor = (await get(client, "/things"))["next_cursor"]

    assert await refused(client, f"/things?cursor={forge(cursor)}") == [("cursor", "cursor_invalid")]


@pytest.mark.ligand_database("sqlite")
async def test_a_cursor_that_is_too_long_is_422(client: Client) -> None:
    """We make none of that length."""
    assert await refused(client, f"/things?cursor={'A' * 2049}") == [("cursor", "string_too_long")]


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize("foreign", ["/others?", "/boxes/2?", "/boxes/1?flag=false&"])
async def test_a_cursor_of_another_list_is_422(client: Client, foreign: str) -> None:
    """Of another operation, another path or another filter, although rows and order are the same."""
    cursor = (await get(client, "/boxes/1"))["next_cursor"]
    assert (await client.get(f"/boxes/1?cursor={cursor}")).status_code == 200
    assert (await client.get(f"/boxes/1?flag=1&cursor={cursor}")).status_code == 200  # the default, sent

    assert await refused(client, f"{foreign}cursor={cursor}") == [("cursor", "cursor_invalid")]


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize("column", [Thing.rank, Thing.number.desc(), Thing.number.nulls_first(), Thing.word], ids=str)
async def test_a_cursor_of_another_order_is_422(client: Client, column: Any) -> None:
    """Another column, another direction, nulls elsewhere."""
    async with db.read() as session:
        page = await Walk(session, select(Thing).order_by(Thing.rank, Thing.number)).page()
        with pytest.raises(Problem) as caught:
            await Walk(session, select(Thing).order_by(Thing.rank, column)).page(page.next_cursor)

    assert [part.code for part in caught.value.errors] == ["cursor_invalid"]


@pytest.mark.ligand_database("sqlite")
async def test_a_cursor_outlives_its_process_but_not_its_secret(database_url: str) -> None:
    """Every worker reads it; with another secret key nobody does."""
    cursors = {}
    for secret in ("a" * 32, "b" * 32):
        async with running(make_app(database_url, settings={"secret_key": secret})) as client:
            await store(*[Thing() for _ in range(11)])
            cursors[secret] = (await get(client, "/things"))["next_cursor"]
    async with running(make_app(database_url, settings={"secret_key": "a" * 32})) as client:
        assert (await client.get(f"/things?cursor={cursors['a' * 32]}")).status_code == 200
        assert await refused(client, f"/things?cursor={cursors['b' * 32]}") == [("cursor", "cursor_invalid")]


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("limit=0", ("limit", "greater_than_equal")),
        ("limit=101", ("limit", "less_than_equal")),
        ("limit=ten", ("limit", "int_parsing")),
        ("page=1", ("page", "extra_forbidden")),
        ("cursor=a&cursor=b", ("cursor", "string_type")),
    ],
)
async def test_bounds_are_422(client: Client, query: str, error: tuple[str, str]) -> None:
    """By the parameter's name."""
    assert await refused(client, f"/things?{query}") == [error]


async def test_rows_around_a_position_may_all_be_gone(client: Client) -> None:
    """A page that has become empty still leads back: behind the last row to the end, before the first to the start."""
    async with db.read() as session:
        walk = Walk(session, select(Thing).order_by(Thing.rank), 5)
        first = await walk.page()
        second = await walk.page(first.next_cursor)
        await fill([])
        ahead, behind = await walk.page(first.next_cursor), await walk.page(walk.links(second)["prev"])
        await store(kept := Thing())

        assert (ahead.items, ahead.next_cursor, behind.items) == ([], None, [])
        for cursor in (walk.links(ahead)["prev"], behind.next_cursor):
            assert [item.id for item in (await walk.page(cursor)).items] == [kept.id]


@pytest.mark.parametrize("total", ["exact", None])
async def test_rows_are_counted_when_asked(client: Client, total: Any) -> None:
    """All of them, on every page, also where none is left on it."""
    async with db.read() as session:
        walk = Walk(session, select(Thing).where(Thing.rank > 0))
        first = await walk.page(total=total)
        second = await walk.page(first.next_cursor, total=total)
        nothing = await Walk(session, select(Thing).where(Thing.rank > 9)).page(total=total)

    assert [page.total for page in (first, second, nothing)] == ([16, 16, 0] if total else [None] * 3)
