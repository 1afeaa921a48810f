"""Which statements can be paged, and what is said of those that cannot."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel
from quart import Quart
from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
    func,
    select,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, joinedload, mapped_column, selectinload

from ligand_async import CursorParams, Model, OffsetParams, paginate
from ligand_async.data import IntoNotPossible
from ligand_async.web.lists.order import Key, PageNotPossible, order_of
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


class Labelled(BaseModel):
    label: str | None
    size: int | None


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
another_box = aliased(Box)
grouped = (
    select(Thing.box_id, func.count().label("things"))
    .where(Thing.box_id.is_not(None))
    .group_by(Thing.box_id)
    .subquery()
)
numbers = select(Thing.number.label("rank")).where(Thing.number.is_not(None)).distinct().cte()
held = select(func.count()).where(Thing.box_id == Box.id).correlate(Box).scalar_subquery().label("things")

Case = tuple[Any, type[BaseModel]]

# A row is told apart by the primary key of the entity or table.
PLAIN: dict[str, Case] = {
    "a join": (select(Thing).join(Thing.box).order_by(Box.label), Ranked),
    "a join by name": (select(Thing).join(Box, Thing.box).order_by(Box.label), Ranked),
    "a join of some": (select(Thing).join(Thing.box.and_(Box.label == "a")).order_by(Box.label), Ranked),
    "a join from a named table": (select(Thing).select_from(Thing).join(Thing.box).order_by(Box.label), Ranked),
    "an outer join": (select(Thing).outerjoin(Thing.box).order_by(Box.label), Ranked),
    "an outer join, sorted down": (select(Thing).outerjoin(Thing.box).order_by(Box.label.desc()), InBox),
    "a join of an alias": (
        select(Thing).join(Thing.box.of_type(another_box)).order_by(another_box.label.desc()),
        Ranked,
    ),
    "conditions": (select(Thing).where(Thing.rank > 3).order_by(Thing.number, Thing.word.desc()), Ranked),
    "conditions on other tables": (select(Box).where(Box.things.any(Thing.rank > 3)), BoxRead),
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
    "columns": (select(Thing.rank, size).order_by(Thing.word), Sized),
    "columns of a table": (select(Thing.__table__.c.rank).order_by(Thing.__table__.c.word), Ranked),
    "an expression": (select(Thing).order_by(Thing.number % 2, -Thing.rank), Ranked),
    "the same column twice": (select(Thing).order_by(Thing.number, Thing.number.desc()), Ranked),
    "no order": (select(Thing), Ranked),
}

# Nothing is known to tell these rows apart: each has the columns that do.
NAMED: dict[str, tuple[Case, list[Any], str]] = {
    "tables side by side": (
        (select(Thing).where(Thing.box_id == Box.id).order_by(Box.label), Ranked),
        [Thing.id],
        "it reads box besides Thing without a join",
    ),
    "a join by a condition": (
        (select(Thing).join(Box, Box.id == Thing.box_id).order_by(Box.label), Ranked),
        [Thing.id],
        r"join\(box\) may repeat a row of Thing",
    ),
    "a join by foreign key": (
        (select(Thing).join(Box).order_by(Box.label), Ranked),
        [Thing.id],
        r"join\(box\) may repeat a row of Thing",
    ),
    "a full join": (
        (select(Thing.rank.label("size"), Box.label).outerjoin(Thing.box, full=True), Labelled),
        [Thing.id, Box.id],
        r"join\(Thing\.box\) may repeat a row of Thing",
    ),
    "a table with itself": (
        (select(Thing).join(other, other.rank == Thing.rank + 1).order_by(other.number), Ranked),
        [Thing.id],
        "may repeat a row of Thing",
    ),
    "a grouped subquery, joined": (
        (
            select(Box, grouped.c.things)
            .outerjoin(grouped, grouped.c.box_id == Box.id)
            .order_by(grouped.c.things.desc()),
            Counted,
        ),
        [Box.id],
        "may repeat a row of Box",
    ),
    "a grouped subquery, on its own": (
        (select(grouped.c.things.label("rank"), grouped.c.box_id.label("size")).order_by(grouped.c.things), Sized),
        [grouped.c.box_id],
        "the rows of a subquery or an alias have no primary key",
    ),
    "a subquery without repetition": (
        (select(numbers.c.rank).order_by(numbers.c.rank.desc()), Ranked),
        [numbers.c.rank],
        "the rows of a subquery or an alias have no primary key",
    ),
    "columns of an alias": (
        (select(other.rank).order_by(other.number), Ranked),
        [other.id],
        "the rows of a subquery or an alias have no primary key",
    ),
    "columns of two tables": (
        (select(Box.label, Thing.rank).join(Box.things).order_by(Box.label.desc()), Pair),
        [Thing.id],
        r"join\(Box\.things\) may repeat a row of Box",
    ),
    "a box for each of its things": (
        (select(Box).join(Box.things).order_by(Box.label), BoxRead),
        [Thing.id],
        r"join\(Box\.things\) may repeat a row of Box",
    ),
    "another table to begin with": (
        (select(Thing).select_from(Box).join(Box.things).order_by(Box.label), Ranked),
        [Thing.id],
        r"select_from\(\) names something other than Thing",
    ),
}
STATEMENTS: dict[str, tuple[Any, type[BaseModel], list[Any]]] = {
    **{name: (*case, []) for name, case in PLAIN.items()},
    **{name: (*case, unique) for name, (case, unique, _) in NAMED.items()},
}


@pytest.mark.parametrize("case", STATEMENTS)
@pytest.mark.extended
async def test_any_select_is_paged(app: Quart, case: str) -> None:
    """Page by page, by cursor and by number, it is what it is at once; and it is counted right."""
    statement, into, unique = STATEMENTS[case]
    async with db.read() as session:
        whole = await paginate(session, statement, CursorParams(limit=100), into=into, total="exact", unique=unique)
        walked = await Walk(session, statement, 2, into, unique=unique).read()
        numbered = [
            await paginate(session, statement, OffsetParams(page=number, page_size=2), into=into, unique=unique)
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


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize("case", NAMED)
@pytest.mark.parametrize("params", [CursorParams(), OffsetParams()], ids=["cursor", "number"])
async def test_rows_that_nothing_tells_apart_are_refused(app: Quart, case: str, params: Any) -> None:
    """Pages would overlap or lose rows: the error names the part of the statement and the remedy."""
    (statement, into), _, reason = NAMED[case]
    async with db.read() as session:
        with captured(session) as sent, pytest.raises(PageNotPossible, match=f"{reason}.*unique="):
            await paginate(session, statement, params, into=into)

    assert sent == []


async def test_a_table_without_a_primary_key_is_refused(app: Quart) -> None:
    """Its name is in the error."""
    heap = Table("heap", MetaData(), Column("rank", Integer))
    async with db.read() as session:
        with pytest.raises(PageNotPossible, match="heap has no primary key"):
            await paginate(session, select(heap.c.rank), CursorParams(), into=Ranked)


async def test_equal_rows_can_be_read_by_number(app: Quart) -> None:
    """A subquery may repeat rows: sorted by all of its columns, it does not matter which of two equal rows is read."""
    numbers = select(Thing.number.label("rank")).where(Thing.number.is_not(None)).subquery("numbers")
    async with db.read() as session:
        page = await paginate(session, select(numbers.c.rank), OffsetParams(), into=Ranked, unique=[numbers.c.rank])

    assert page.total == 9
    assert [item.rank for item in page.items] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


class Notes(Model, DeclarativeBase):
    """Tables with a primary key of two columns."""


class Room(Notes):
    """A room, by house and number; some have no name."""

    __tablename__ = "room"
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
        ([Room.floor, Room.code], ["floor", "code", "house", "number"]),
        ([Room.name], ["name NULLS LAST", "house", "number"]),
    ],
    ids=lambda value: ", ".join(map(str, value)),
)
def test_the_primary_key_is_appended(order: list[Any], keys: list[str]) -> None:
    """Those of its columns that the order lacks, in the direction of the last key before them."""
    assert clauses(order_of(select(Room).order_by(*order), {})) == keys


def test_columns_that_are_named_as_unique_replace_the_primary_key() -> None:
    """As many of them as the order lacks."""
    assert clauses(order_of(select(Room).order_by(Room.floor), {}, [Room.code])) == ["floor", "code"]
    assert clauses(order_of(select(Room).order_by(Room.code.desc()), {}, [Room.code])) == ["code DESC"]
    assert clauses(order_of(select(Room), {}, [Room.name])) == ["name NULLS LAST"]


def clauses(keys: tuple[Key, ...]) -> list[str]:
    return [str(key.clause).replace("room.", "").replace(" ASC", "") for key in keys]


def test_a_table_joined_by_its_key_adds_nothing_to_the_order() -> None:
    """There is one of its rows at most for each of the entity's; a subclass has the key of its parent."""
    in_a_box = order_of(select(Thing).outerjoin(Thing.box), {})
    inherited = order_of(select(Hall), {})

    assert [str(key.expression) for key in in_a_box] == ["thing.id"]
    assert [str(key.expression) for key in inherited] == ["room.house", "room.number"]


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
