"""Lists read past SQLAlchemy's session: for any schema, filter, order, page and total, what the session reads."""

import types
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quart import Quart
from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import OffsetParams, Problem, ReadSchema, paginate
from tests.data.statements import captured
from tests.web.test_paginate_cursors import ORDER, SIZE, THINGS, Order, Values, fill, looping
from tests.web.things import Box, Thing, ThingRead, Walk, db, make_things_app, running, store

FIELDS = ("id", "rank", "word", "number", "price", "flag", "day", "moment", "span", "key", "blob", "mood", "created_at")
Filters = list[Callable[[], Any]]


def filters() -> st.SearchStrategy[Filters]:
    numbers, texts = st.integers(0, 3), st.sampled_from(["", "a", "%", "ä"])
    one = st.one_of(
        numbers.map(lambda value: lambda: Thing.rank == value),
        st.lists(numbers, max_size=3).map(lambda values: lambda: Thing.rank.in_(values)),
        texts.map(lambda value: lambda: Thing.word.contains(value, autoescape=True)),
        st.just(lambda: Thing.number.is_(None)),
        st.tuples(numbers, texts).map(lambda both: lambda: or_(Thing.rank < both[0], Thing.word != both[1])),
        numbers.map(lambda value: lambda: func.coalesce(Thing.number, value) > 0),
        numbers.map(lambda value: lambda: Thing.box.has(Box.id > value)),
    )
    return st.lists(one, max_size=2)


@cache
def schema_of(names: frozenset[str]) -> type[ReadSchema]:
    """Make a schema of some columns."""
    return types.new_class("SomeRead", (ReadSchema,), {"model": Thing, "include": {"id", *names}})


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started app with nine things of three ranks, in whose context the test runs."""
    app = make_things_app(database_url)
    async with running(app):
        await store(*[Thing(rank=number % 3, word=f"w{number}", number=number) for number in range(9)])
        yield app


@contextmanager
def counted(session: AsyncSession) -> Iterator[list[str]]:
    """Collect what is sent, and check that SQLAlchemy's own session was not made for it."""
    with captured(session) as sent:
        yield sent
    assert not session.is_used  # type: ignore[attr-defined]  # a unit's session


def test_pages_are_those_of_the_session(database_url: str, figure: Callable[[int, int], int]) -> None:
    """Whoever reads, the items, their order, the cursors, the links and the totals are the same."""
    with looping(make_things_app(database_url)) as run:

        async def check(things: Values, names: frozenset[str], some: Filters, order: Order, limit: int) -> None:
            await fill(things)
            schema = schema_of(names)

            def statement() -> Any:
                return select(Thing).where(*(make() for make in some)).order_by(*(make() for make in order))

            async with db.read() as session:
                with counted(session):
                    direct = await _read_all(session, statement, schema, limit)
            async with db.read() as session:
                await session.connection()
                by_session = await _read_all(session, statement, schema, limit)
                entities = [schema.model_validate(entity) for entity in await session.scalars(statement())]

            assert direct == by_session
            pages, numbered = direct
            expected = sorted(entity.model_dump_json() for entity in entities)
            for kind in (pages, numbered):
                assert sorted(item for page in kind for item in page[0]) == expected
            assert {page[2] for page in (*pages, *numbered)} == {len(entities)}

        @settings(max_examples=figure(15, 1_000), deadline=None, database=None)
        @given(THINGS, st.frozensets(st.sampled_from(FIELDS)), filters(), ORDER, SIZE)
        def any_list(things: Values, names: frozenset[str], some: Filters, order: Order, limit: int) -> None:
            run(check(things, names, some, order, limit))

        any_list()


async def _read_all(
    session: AsyncSession, statement: Callable[[], Any], schema: type[ReadSchema], limit: int
) -> tuple[list[Any], list[Any]]:
    """Read all pages forward by cursor and by number, each with its items, its links and its total."""
    pages: list[Any] = []
    numbered: list[Any] = []
    cursor: str | None = None
    while not pages or cursor is not None:
        page = await Walk(session, statement(), limit, into=schema).page(cursor, total="exact")
        cursor = page.next_cursor
        pages.append(([item.model_dump_json() for item in page.items], dict(page.headers), page.total))
    for number in range(1, len(pages) + 1):
        params = OffsetParams(page=number, page_size=limit)
        listed = await paginate(session, statement(), params, into=schema)
        numbered.append(([item.model_dump_json() for item in listed.items], dict(listed.headers), listed.total))
    return pages, numbered


async def test_a_list_makes_no_session(app: Quart) -> None:
    """A page by number or by cursor, with its total and past its end, is read by the engine."""
    async with db.read() as session:
        with counted(session) as sent:
            for page, found in ((1, 5), (9, 0)):
                params = OffsetParams(page=page, page_size=5)
                listed = await paginate(session, select(Thing), params, into=ThingRead)
                assert (len(listed.items), listed.total) == (found, 9)
            assert len(await Walk(session, select(Thing), 4).forward()) == 9
            assert len(await Walk(session, select(Thing.id), 4, unique=[Thing.id]).forward()) == 9
        assert len(sent) == 3 + 3 + 3


async def test_lists_of_a_shape_keep_their_values_apart(app: Quart) -> None:
    """A list with other values has other rows, other totals and other cursors."""
    async with db.read() as session:
        walks = [Walk(session, select(Thing).where(Thing.rank == rank).order_by(Thing.number), 1) for rank in range(3)]
        assert len({one for walk in walks for one in await walk.forward()}) == 9
        totals = [
            (await paginate(session, select(Thing).where(Thing.number < n), OffsetParams(page_size=1), into=ThingRead))
            for n in (4, 6, 4)
        ]
        assert [page.total for page in totals] == [4, 6, 4]


async def test_cursors_of_an_order_with_values_belong_to_these_values(app: Quart) -> None:
    """Two orders that differ in a value alone are two orders: a cursor of one is refused by the other."""
    async with db.read() as session:

        def walk(value: int) -> Walk:
            return Walk(session, select(Thing).order_by(func.abs(Thing.number - value)), 2)

        cursors = [(await walk(value).page()).next_cursor for value in (1, 7)]
        for value, cursor in zip((1, 7), cursors, strict=True):
            assert len((await walk(value).page(cursor)).items) == 2
        with pytest.raises(Problem):
            await walk(1).page(cursors[1])
        firsts = [(await walk(value).page()).items for value in (1, 7)]
        assert firsts[0] != firsts[1]


async def test_a_schema_may_say_how_it_is_made(app: Quart) -> None:
    """`model_validate` of a schema of the service's own is called for each row."""

    class Own(ThingRead):
        @classmethod
        def model_validate(cls, obj: Any, **options: Any) -> "Own":
            made = super().model_validate(obj, **options)
            return cls.model_construct(id=UUID(int=made.id.int % 1_000))

    async with db.read() as session:
        page = await paginate(session, select(Thing), OffsetParams(), into=Own)
    assert all(item.id.int < 1_000 for item in page.items)


async def test_sessions_that_write_see_what_they_wrote(app: Quart) -> None:
    """A list in a transaction flushes first, as every statement of a session does."""
    async with db.transaction() as session:
        session.add(Thing(rank=7))
        page = await paginate(session, select(Thing).where(Thing.rank == 7), OffsetParams(), into=ThingRead)
        assert page.total == 1
