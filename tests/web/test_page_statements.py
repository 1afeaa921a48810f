"""Which statements can be paged, and what is said of those that cannot."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel
from quart import Quart
from sqlalchemy import ForeignKeyConstraint, Index, String, UniqueConstraint, func, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, joinedload, mapped_column, selectinload

from ligand_async import CursorParams, Model, OffsetParams, paginate
from ligand_async.data.reading import IntoNotPossible
from ligand_async.web.lists.cursor import write_value
from ligand_async.web.lists.order import PageNotPossible, order_of
from tests.data.statements import captured
from tests.web.things import Box, Thing, Walk, db, make_things_app, running, store


class Ranked(BaseModel):
    rank: int


class Sized(BaseModel):
    rank: int
    size: int | None


class BoxRead(BaseModel):
    label: str


class InBox(BaseModel):
    rank: int
    box: BoxRead | None


class SizedInBox(InBox):
    size: int | None


class Placed(BaseModel):
    rank: int
    place: str | None


class Counted(BaseModel):
    label: str
    things: int | None


class Pair(BaseModel):
    label: str
    rank: int


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started app with twelve things, most of them in one of two boxes and with a word; a third box is empty."""
    app = make_things_app(database_url)
    async with running(app):
        boxes = [Box(id=number, label=label) for number, label in enumerate(("b", "a", "c"), 1)]
        words = ["x", "yy", None]
        things = [
            Thing(rank=n, word=words[n % 3], number=n % 4 or None, box=boxes[n % 2] if n % 5 else None)
            for n in range(12)
        ]
        await store(*boxes, *things)
        yield app


size = func.length(Thing.word).label("size")
other = aliased(Thing)
grouped = (
    select(Thing.box_id, func.count().label("things"))
    .where(Thing.box_id.is_not(None))
    .group_by(Thing.box_id)
    .subquery()
)
numbers = select(Thing.number.label("rank")).where(Thing.number.is_not(None)).distinct().cte()
held = select(func.count()).where(Thing.box_id == Box.id).correlate(Box).scalar_subquery().label("things")

STATEMENTS: dict[str, tuple[Any, type[BaseModel]]] = {
    "a join": (select(Thing).join(Thing.box).order_by(Box.label), Ranked),
    "an outer join": (select(Thing).outerjoin(Thing.box).order_by(Box.label), Ranked),
    "an outer join, sorted down": (select(Thing).outerjoin(Thing.box).order_by(Box.label.desc()), InBox),
    "tables side by side": (select(Thing).where(Thing.box_id == Box.id).order_by(Box.label), Ranked),
    "a table with itself": (select(Thing).join(other, other.rank == Thing.rank + 1).order_by(other.number), Ranked),
    "conditions": (select(Thing).where(Thing.rank > 3).order_by(Thing.number, Thing.word.desc()), Ranked),
    "nested schemas": (select(Thing).order_by(Thing.number), InBox),
    "options of its own": (select(Box).options(joinedload(Box.things), selectinload(Box.things)), BoxRead),
    "a collection that is joined": (select(Thing).options(joinedload(Thing.box).joinedload(Box.things)), InBox),
    "a label": (select(Thing, size).order_by("size"), Sized),
    "a label, down": (select(Thing, size).order_by(size.desc()), Sized),
    "a label that is not read": (select(Thing, size).order_by(size), Ranked),
    "a label and nested schemas": (select(Thing, size).order_by("size"), SizedInBox),
    "a label of another table": (
        select(Thing, Box.label.label("place")).outerjoin(Thing.box).order_by(Box.label.desc().nulls_last()),
        Placed,
    ),
    "a subquery in a label": (select(Box, held).order_by("things"), Counted),
    "a grouped subquery, joined": (
        select(Box, grouped.c.things).outerjoin(grouped, grouped.c.box_id == Box.id).order_by(grouped.c.things.desc()),
        Counted,
    ),
    "a grouped subquery, on its own": (
        select(grouped.c.things.label("rank"), grouped.c.box_id.label("size")).order_by(grouped.c.things),
        Sized,
    ),
    "a subquery without repetition": (select(numbers.c.rank).order_by(numbers.c.rank.desc()), Ranked),
    "columns": (select(Thing.rank, size).order_by(Thing.word), Sized),
    "columns of two tables": (select(Box.label, Thing.rank).join(Box.things).order_by(Box.label.desc()), Pair),
    "a box for each of its things": (select(Box).join(Box.things).order_by(Box.label), BoxRead),
    "an expression": (select(Thing).order_by(Thing.number % 2, -Thing.rank), Ranked),
    "the same column twice": (select(Thing).order_by(Thing.number, Thing.number.desc()), Ranked),
    "no order": (select(Thing), Ranked),
}


@pytest.mark.parametrize("case", STATEMENTS)
async def test_any_select_is_paged(app: Quart, case: str) -> None:
    """Page by page, by cursor and by number, it is what it is at once; and it is counted right."""
    statement, into = STATEMENTS[case]
    async with db.read() as session:
        whole = await paginate(session, statement, CursorParams(limit=100), into=into, total="exact")
        walked = await Walk(session, statement, 2, into).read()
        numbered = [
            await paginate(session, statement, OffsetParams(page=number, page_size=2), into=into)
            for number in range(1, len(whole.items) // 2 + 2)
        ]
        rows = len((await session.execute(statement)).unique().all()) if "join" in case else whole.total

    assert len(whole.items) == whole.total == rows
    assert len(whole.items) >= 2
    assert walked == whole.items
    assert [item for page in numbered for item in page.items] == whole.items
    assert {page.total for page in numbered} == {whole.total}


REFUSED: dict[str, tuple[Any, type[BaseModel], type[Exception], str]] = {
    "distinct": (select(Thing).distinct(), Ranked, IntoNotPossible, "DISTINCT and GROUP BY"),
    "group by": (select(Thing.rank).group_by(Thing.rank), Ranked, IntoNotPossible, "DISTINCT and GROUP BY"),
    "from_statement": (select(Thing).from_statement(text("SELECT 1")), Ranked, IntoNotPossible, "from_statement"),
    "two entities": (select(Thing, Box), Ranked, IntoNotPossible, "exactly one entity"),
    "an alias": (select(aliased(Thing)), Ranked, IntoNotPossible, "not aliased"),
    "a missing attribute": (select(Thing), Sized, IntoNotPossible, "Sized has fields that Thing lacks: size"),
    "a missing column": (select(Thing.rank), Sized, IntoNotPossible, "does not select: size"),
    "a limit": (select(Thing).limit(3), Ranked, PageNotPossible, "a limit or an offset of its own"),
    "an offset": (select(Thing).offset(3), Ranked, PageNotPossible, "a limit or an offset of its own"),
    "text": (select(Thing).order_by(text("rank DESC")), Ranked, PageNotPossible, "order by columns"),
    "an unknown label": (select(Thing).order_by("size"), Ranked, PageNotPossible, "names no label"),
    "a window": (
        select(Thing).order_by(func.row_number().over(order_by=Thing.rank)),
        Ranked,
        PageNotPossible,
        "window function",
    ),
}


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("params", [CursorParams(), OffsetParams()], ids=["cursor", "number"])
async def test_what_cannot_be_paged_says_why(app: Quart, case: str, params: Any) -> None:
    """By an error of its own, before anything is sent."""
    statement, into, error, reason = REFUSED[case]
    async with db.read() as session:
        with captured(session) as sent, pytest.raises(error, match=reason):
            await paginate(session, statement, params, into=into)

    assert sent == []


async def test_rows_that_nothing_tells_apart_have_no_cursor(app: Quart) -> None:
    """A subquery may repeat rows, of which a cursor would lose some: it can be read by number."""
    numbers = select(Thing.number.label("rank")).where(Thing.number.is_not(None)).subquery("numbers")
    statement = select(numbers.c.rank).order_by(numbers.c.rank)
    async with db.read() as session:
        with pytest.raises(PageNotPossible, match="nothing tells those of numbers apart"):
            await paginate(session, statement, CursorParams(), into=Ranked)

        assert (await paginate(session, statement, OffsetParams(), into=Ranked)).total == 9


class Notes(Model, DeclarativeBase):
    """Tables whose rows are unique in other ways."""


class Room(Notes):
    """A room, by house and number; every name is another, some have none; every code is another."""

    __tablename__ = "room"
    __table_args__: Any = (
        UniqueConstraint("name"),
        Index("ux_room_code", "code", unique=True),
        Index(
            "ux_room_floor", "floor", unique=True, postgresql_where=text("floor > 0"), sqlite_where=text("floor > 0")
        ),
    )

    house: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    code: Mapped[str]
    floor: Mapped[int]


class Hall(Room):
    """A room with a stage; its other columns are in another table."""

    __tablename__ = "hall"
    __table_args__: Any = (ForeignKeyConstraint(["house", "number"], ["room.house", "room.number"]),)

    house: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    stage: Mapped[str] = mapped_column(String(20))


@pytest.mark.parametrize(
    ("order", "keys"),
    [
        ([], ["house", "number"]),
        ([Room.floor], ["floor", "house", "number"]),
        ([Room.floor.desc()], ["floor DESC", "house DESC", "number DESC"]),
        ([Room.number], ["number", "house"]),
        ([Room.number.desc(), Room.house], ["number DESC", "house"]),
        ([Room.floor, Room.code], ["floor", "code"]),
        ([Room.name], ["name NULLS LAST", "house", "number"]),
    ],
    ids=lambda value: ", ".join(map(str, value)),
)
def test_the_primary_key_is_appended_unless_rows_differ_already(order: list[Any], keys: list[str]) -> None:
    """By what of it is missing; a unique column suffices where it is never null, a partial index does not."""
    order_ = order_of(select(Room).order_by(*order), {})

    assert [str(key.clause).replace("room.", "").replace(" ASC", "") for key in order_.keys] == keys


def test_a_table_joined_by_its_key_tells_nothing_apart() -> None:
    """It has one row for each of the others': neither its key nor that of a parent's table is appended."""
    in_a_box = order_of(select(Thing).outerjoin(Thing.box), {})
    inherited = order_of(select(Hall), {})

    assert [str(key.expression) for key in in_a_box.keys] == ["thing.id"]
    assert [str(key.expression) for key in inherited.keys] == ["room.house", "room.number"]


async def test_keys_of_several_columns_and_inherited_ones(database_url: str) -> None:
    """Are walked like any other."""
    app = make_things_app(database_url)

    class Numbered(BaseModel):
        house: int
        number: int

    async with running(app):
        async with db.transaction() as session:
            await (await session.connection()).run_sync(Notes.metadata.create_all)
            session.add_all(
                [
                    Hall(house=n % 3, number=n, name=None, code=str(n), floor=-(n % 2), stage=str(n % 2))
                    for n in range(9)
                ]
            )
        async with db.read() as session:
            for order in (Hall.stage, Room.number.desc(), Room.floor):
                found = await Walk(session, select(Hall).order_by(order), 2, Numbered).read()
                assert sorted(room.number for room in found) == list(range(9))


async def test_a_cursor_that_nobody_could_send_back_is_not_made(database_url: str) -> None:
    """A target has 8 KiB for everything: an error names the remedy, rather than a page without a next one."""
    app = make_things_app(database_url)
    async with running(app):
        await store(*[Thing(word="ä" * 1000) for _ in range(3)])
        async with db.read() as session:
            with pytest.raises(PageNotPossible, match="longer than 2048 characters; sort by shorter columns"):
                await Walk(session, select(Thing).order_by(Thing.word), 2).page()


def test_a_value_that_no_text_brings_back_is_not_sorted_by() -> None:
    """Of a class that nobody knows to compare."""
    with pytest.raises(PageNotPossible, match="cannot hold a dict; sort by something else"):
        write_value({})
