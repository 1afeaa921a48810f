"""Aggregates: whoever changes a row changes the version of the root that it belongs to, by whatever route."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel
from quart import Quart
from sqlalchemy import (
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Table,
    bindparam,
    delete,
    insert,
    inspect,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, load_only, mapped_column, relationship, selectinload

from ligand_async import (
    Database,
    Identified,
    Model,
    ReadSchema,
    Timestamped,
    Versioned,
    check_preconditions,
    conditional,
    get_or_404,
    operation,
)
from ligand_async.data import AggregateError, touch
from tests.services import make_app, routes


class Base(Model, DeclarativeBase):
    """The tables of these tests."""


tagging = Table(
    "tagging",
    Base.metadata,
    Column("invoice_id", ForeignKey("invoice.id"), primary_key=True),
    Column("label_id", ForeignKey("label.id"), primary_key=True),
)


class Invoice(Identified, Timestamped, Versioned, Base):
    """A root, with rows on two levels and rows of a secondary table."""

    __tablename__ = "invoice"
    __belongs__: ClassVar = ("lines", "lines.discounts", "labels")
    note: Mapped[str] = mapped_column(default="")
    payer_id: Mapped[UUID | None] = mapped_column(ForeignKey("payer.id"))
    payer: Mapped["Payer | None"] = relationship()
    lines: Mapped[list["Line"]] = relationship(back_populates="invoice", cascade="all, delete-orphan")
    labels: Mapped[list["Label"]] = relationship(secondary=tagging)


class Payer(Identified, Base):
    """An invoice refers to it."""

    __tablename__ = "payer"


class Line(Identified, Base):
    """Belongs to an invoice."""

    __tablename__ = "line"
    name: Mapped[str]
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"), index=True)
    invoice: Mapped[Invoice] = relationship(back_populates="lines")
    discounts: Mapped[list["Discount"]] = relationship(cascade="all, delete-orphan")


class Discount(Identified, Base):
    """Belongs to a line, and so to an invoice."""

    __tablename__ = "discount"
    percent: Mapped[int]
    line_id: Mapped[UUID] = mapped_column(ForeignKey("line.id"), index=True)


class Label(Identified, Base):
    """Shared by invoices: which ones have it belongs to them, its own text does not."""

    __tablename__ = "label"
    text: Mapped[str] = mapped_column(default="")


class Room(Versioned, Base):
    """A root with a key of two columns."""

    __tablename__ = "room"
    __belongs__: ClassVar = ("things",)
    house: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    things: Mapped[list["Thing"]] = relationship(cascade="all, delete-orphan")


class Thing(Identified, Base):
    """Belongs to a room; of one kind or another."""

    __tablename__ = "thing"
    __table_args__ = (ForeignKeyConstraint(["house", "number"], ["room.house", "room.number"]),)
    house: Mapped[str]
    number: Mapped[int]
    kind: Mapped[str]
    __mapper_args__: Any = {"polymorphic_on": "kind", "polymorphic_identity": "thing"}  # noqa: RUF012  (the base has it so)


class Lamp(Thing):
    """A thing with a table of its own."""

    __tablename__ = "lamp"
    id: Mapped[UUID] = mapped_column(ForeignKey("thing.id"), primary_key=True)
    watts: Mapped[int]
    __mapper_args__: Any = {"polymorphic_identity": "lamp"}  # noqa: RUF012  (the same)


class Folder(Identified, Versioned, Base):
    """A root that may belong to another of its own kind."""

    __tablename__ = "folder"
    __belongs__: ClassVar = ("folders",)
    name: Mapped[str] = mapped_column(default="")
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("folder.id"))
    folders: Mapped[list["Folder"]] = relationship()


db = Database(Base)


def table_of(entity: type[Base]) -> Table:
    return Base.metadata.tables[entity.__tablename__]


@asynccontextmanager
async def running(app: Quart) -> AsyncIterator[Any]:
    async with app.test_app(), app.app_context():
        await db.create_tables()
        yield app.test_client()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[None]:
    async with running(make_app(database_url, database=db)):
        yield


@dataclass
class World:
    """Two invoices with two lines each; the first line of each has a discount."""

    one: UUID
    two: UUID
    labels: list[UUID]


async def make_world() -> World:
    async with db.transaction() as session:
        labels = [Label(), Label()]
        invoices = [
            Invoice(lines=[Line(name="a", discounts=[Discount(percent=1)]), Line(name="b")], labels=labels[:1])
            for _ in range(2)
        ]
        session.add_all([*labels, *invoices])
        await session.flush()
        return World(invoices[0].id, invoices[1].id, [label.id for label in labels])


async def load(session: AsyncSession, one: UUID) -> Invoice:
    options = (selectinload(Invoice.lines).selectinload(Line.discounts), selectinload(Invoice.labels))
    found = select(Invoice).options(*options).where(Invoice.id == one).execution_options(populate_existing=True)
    return (await session.scalars(found)).one()


async def line_of(session: AsyncSession, one: UUID, name: str = "a") -> Line:
    return (await session.scalars(select(Line).where(Line.invoice_id == one, Line.name == name))).one()


Route = Callable[[AsyncSession, World], Awaitable[None]]
ROUTES: dict[str, tuple[Route, int, int]] = {}


def raising(one: int, two: int) -> Callable[[Route], Route]:
    """Collect a way to change something, and by how much it raises the versions of the two invoices."""

    def collect(route: Route) -> Route:
        ROUTES[route.__name__] = (route, one, two)
        return route

    return collect


@raising(1, 0)
async def append_a_line(session: AsyncSession, world: World) -> None:
    (await load(session, world.one)).lines.append(Line(name="c"))


@raising(1, 0)
async def add_a_line_by_its_foreign_key(session: AsyncSession, world: World) -> None:
    session.add(Line(name="c", invoice_id=world.one))


@raising(1, 0)
async def add_a_line_by_its_parent(session: AsyncSession, world: World) -> None:
    session.add(Line(name="c", invoice=await session.get_one(Invoice, world.one)))


@raising(1, 0)
async def change_a_line_whose_root_is_not_loaded(session: AsyncSession, world: World) -> None:
    (await line_of(session, world.one)).name = "x"


@raising(1, 0)
async def change_a_line_whose_key_is_not_loaded(session: AsyncSession, world: World) -> None:

    line = (
        await session.scalars(select(Line).options(load_only(Line.name)).where(Line.invoice_id == world.one))
    ).first()
    assert line is not None
    line.name = "x"


@raising(1, 0)
async def delete_a_line(session: AsyncSession, world: World) -> None:
    line = await session.scalar(
        select(Line).options(selectinload(Line.discounts)).where(Line.invoice_id == world.one, Line.name == "a")
    )
    await session.delete(line)


@raising(1, 0)
async def let_a_line_become_an_orphan(session: AsyncSession, world: World) -> None:
    (await load(session, world.one)).lines.pop()


@raising(1, 0)
async def replace_all_lines(session: AsyncSession, world: World) -> None:
    (await load(session, world.one)).lines = [Line(name="n")]


@raising(1, 1)
async def move_a_line_by_its_foreign_key(session: AsyncSession, world: World) -> None:
    (await line_of(session, world.one)).invoice_id = world.two


@raising(1, 1)
async def move_a_line_by_its_parent(session: AsyncSession, world: World) -> None:
    line = await line_of(session, world.one)
    line.invoice = await session.get_one(Invoice, world.two)


@raising(1, 1)
async def move_a_line_from_one_collection_to_the_other(session: AsyncSession, world: World) -> None:
    one, two = await load(session, world.one), await load(session, world.two)
    two.lines.append(one.lines[0])


@raising(1, 0)
async def append_a_discount(session: AsyncSession, world: World) -> None:
    next(line for line in (await load(session, world.one)).lines).discounts.append(Discount(percent=5))


@raising(1, 0)
async def change_a_discount_with_nothing_else_loaded(session: AsyncSession, world: World) -> None:
    found = select(Discount).join(Line, Discount.line_id == Line.id).where(Line.invoice_id == world.one)
    (await session.scalars(found)).one().percent = 9


@raising(1, 1)
async def move_a_discount(session: AsyncSession, world: World) -> None:
    found = select(Discount).join(Line, Discount.line_id == Line.id).where(Line.invoice_id == world.one)
    (await session.scalars(found)).one().line_id = (await line_of(session, world.two)).id


@raising(1, 0)
async def add_a_label(session: AsyncSession, world: World) -> None:
    (await load(session, world.one)).labels.append(await session.get_one(Label, world.labels[1]))


@raising(1, 0)
async def remove_a_label(session: AsyncSession, world: World) -> None:
    (await load(session, world.one)).labels.clear()


@raising(1, 0)
async def insert_into_the_secondary_table(session: AsyncSession, world: World) -> None:
    await session.execute(insert(tagging).values(invoice_id=world.one, label_id=world.labels[1]))


@raising(1, 1)
async def delete_in_bulk(session: AsyncSession, world: World) -> None:
    await session.execute(delete(Discount).where(Discount.percent == 1))


@raising(1, 0)
async def update_the_table(session: AsyncSession, world: World) -> None:
    await session.execute(update(table_of(Line)).where(Line.invoice_id == world.one).values(name="z"))


@raising(1, 1)
async def move_in_bulk(session: AsyncSession, world: World) -> None:
    statement = update(Line).where(Line.invoice_id == world.one, Line.name == "b").values(invoice_id=world.two)
    await session.execute(statement.execution_options(synchronize_session=False))


@raising(1, 1)
async def move_in_bulk_by_an_expression(session: AsyncSession, world: World) -> None:
    target = select(Invoice.id).where(Invoice.id == world.two).scalar_subquery()
    statement = update(Line).where(Line.invoice_id == world.one, Line.name == "b").values({Line.invoice_id: target})
    await session.execute(statement.execution_options(synchronize_session=False))


@raising(1, 1)
async def insert_in_bulk(session: AsyncSession, world: World) -> None:
    await session.execute(
        insert(Line), [{"name": "i", "invoice_id": world.one}, {"name": "i", "invoice_id": world.two}]
    )


@raising(1, 1)
async def insert_several_values(session: AsyncSession, world: World) -> None:
    rows = [{"name": "i", "invoice_id": world.one}, {"name": "i", "invoice_id": world.two}]
    await session.execute(insert(Line).values(rows))


@raising(1, 0)
async def insert_one_value(session: AsyncSession, world: World) -> None:
    await session.execute(insert(table_of(Line)).values(id=uuid4(), name="i", invoice_id=world.one))


@raising(1, 0)
async def insert_an_expression(session: AsyncSession, world: World) -> None:
    target = select(Invoice.id).where(Invoice.id == world.one).scalar_subquery()
    await session.execute(insert(table_of(Line)).values(id=uuid4(), name="i", invoice_id=target))


@raising(1, 0)
async def insert_or_update(session: AsyncSession, world: World) -> None:
    line = await line_of(session, world.one)
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table_of(Line)).values(id=line.id, name="u", invoice_id=world.one)
    await session.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"name": "u"}))


@raising(1, 0)
async def update_in_bulk_by_key(session: AsyncSession, world: World) -> None:
    await session.execute(update(Line), [{"id": (await line_of(session, world.one)).id, "name": "k"}])


@raising(1, 1)
async def insert_from_a_select(session: AsyncSession, world: World) -> None:
    for one in (world.one, world.two):
        copied = select(literal(uuid4(), Line.id.type), Line.name, Line.invoice_id)
        copied = copied.where(Line.invoice_id == one, Line.name == "a")
        await session.execute(insert(table_of(Line)).from_select(["id", "name", "invoice_id"], copied))


@raising(1, 0)
async def use_the_connection(session: AsyncSession, world: World) -> None:
    connection = await session.connection()
    await connection.execute(delete(table_of(Line)).where(Line.invoice_id == world.one, Line.name == "b"))


@raising(1, 0)
async def use_a_bound_parameter(session: AsyncSession, world: World) -> None:
    connection = await session.connection()
    statement = update(table_of(Line)).where(Line.invoice_id == bindparam("wanted")).values(name="p")
    await connection.execute(statement, [{"wanted": world.one}])


@raising(1, 0)
async def write_text_and_touch(session: AsyncSession, world: World) -> None:
    invoice = await session.get_one(Invoice, world.one)
    await session.execute(text("UPDATE line SET name = 't' WHERE name = 'b'"))
    await touch(session, invoice)


@raising(1, 0)
async def change_the_root_and_a_line(session: AsyncSession, world: World) -> None:
    invoice = await load(session, world.one)
    invoice.note = "n"
    invoice.lines[0].name = "n"


@raising(1, 0)
async def change_a_line_in_a_flush_of_its_own(session: AsyncSession, world: World) -> None:
    """However many flushes there are, one unit raises a root once."""
    for number in range(3):
        session.add(Line(name=str(number), invoice_id=world.one))
        await session.flush()


@raising(1, 0)
async def refer_to_another_row(session: AsyncSession, world: World) -> None:
    """The flush itself writes the foreign key of the root, and counts once with the line that changes, too."""
    invoice = await load(session, world.one)
    invoice.payer = Payer()
    invoice.lines[0].name = "x"
    await session.flush()
    session.add(Line(name="c", invoice_id=world.one))


@raising(1, 0)
async def refer_to_the_same_row(session: AsyncSession, world: World) -> None:
    """The root's own row does not change, so the line counts."""
    invoice = await load(session, world.one)
    if invoice.payer_id is None:
        invoice.payer = None
    invoice.lines[0].name = "x"


@raising(0, 0)
async def change_nothing(session: AsyncSession, world: World) -> None:
    line = await line_of(session, world.one)
    line.name = str(line.name)


@raising(0, 0)
async def change_the_text_of_a_label(session: AsyncSession, world: World) -> None:
    (await session.get_one(Label, world.labels[0])).text = "shared"


@raising(0, 0)
async def undo_with_a_savepoint(session: AsyncSession, world: World) -> None:
    invoice = await load(session, world.one)
    savepoint = await session.begin_nested()
    session.add(Line(name="s", invoice_id=world.one))
    await session.flush()
    assert invoice.version == 2
    await savepoint.rollback()
    assert invoice.version == 1


@raising(1, 0)
async def change_again_after_a_savepoint(session: AsyncSession, world: World) -> None:
    savepoint = await session.begin_nested()
    session.add(Line(name="s", invoice_id=world.one))
    await session.flush()
    await savepoint.rollback()
    session.add(Line(name="t", invoice_id=world.one))


async def versions(*ids: UUID) -> list[int]:
    async with db.read() as session:
        return [(await session.get_one(Invoice, one)).version for one in ids]


async def test_every_route_raises_the_root(database: None) -> None:
    """By exactly one in a unit, and an entity in hand shows the version and the time that are stored."""
    wrong = {}
    for name, (route, one, two) in ROUTES.items():
        world = await make_world()
        async with db.transaction() as session:
            kept = [await session.get_one(Invoice, one) for one in (world.one, world.two)]
            await route(session, world)
            await session.flush()
            shown = [(invoice.version, invoice.updated_at) for invoice in kept]
        async with db.read() as session:
            found = [await session.get_one(Invoice, invoice.id) for invoice in kept]
            stored = [(invoice.version, invoice.updated_at) for invoice in found]
        if [invoice.version for invoice in found] != [1 + one, 1 + two] or shown != stored:
            wrong[name] = (shown, stored)
    assert wrong == {}


async def test_a_root_that_refers_to_no_row_any_more_counts_once(database: None) -> None:
    """The flush writes the foreign key of the root itself; a line that changes with it does not count again."""
    async with db.transaction() as session:
        session.add(Invoice(payer=Payer(), lines=[Line(name="a")]))
    async with db.transaction() as session:
        invoice = (await session.scalars(select(Invoice).options(selectinload("*")))).one()
        invoice.payer = None
        invoice.lines[0].name = "x"
    async with db.read() as session:
        assert list(await session.scalars(select(Invoice.version))) == [2]


async def test_roots_that_go_are_not_raised(database: None) -> None:
    """A deleted root takes its rows along; a new one begins at one."""
    world = await make_world()
    async with db.transaction() as session:
        await session.delete(await load(session, world.one))
        session.add(Invoice(lines=[Line(name="new")]))
    async with db.read() as session:
        assert Counter(await session.scalars(select(Invoice.version))) == {1: 2}


async def test_keys_of_several_columns_and_joined_tables(database: None) -> None:
    """A foreign key of two columns is followed, and so is the row of a subclass in a table of its own."""

    async def version() -> int:
        async with db.read() as session:
            return (await session.get_one(Room, ("h", 1))).version

    async with db.transaction() as session:
        session.add(Room(house="h", number=1, things=[Lamp(watts=5)]))
    async with db.transaction() as session:
        (await session.scalars(select(Lamp))).one().watts = 7
    assert await version() == 2
    async with db.transaction() as session:
        await session.execute(update(table_of(Lamp)).values(watts=9))
    assert await version() == 3
    async with db.transaction() as session:
        await session.execute(update(table_of(Thing)).values(house="h", number=1))
        await session.execute(delete(table_of(Lamp)))
    assert await version() == 4


async def test_a_root_may_belong_to_its_own_kind(database: None) -> None:
    """A change goes up to the top, and a circle of rows ends."""
    async with db.transaction() as session:
        top, middle, leaf = Folder(), Folder(), Folder()
        top.folders, middle.folders = [middle], [leaf]
        session.add(top)
    async with db.transaction() as session:
        (await session.get_one(Folder, leaf.id)).name = "leaf"
    async with db.read() as session:
        found = [(await session.get_one(Folder, one.id)).version for one in (top, middle, leaf)]
    assert found == [2, 2, 2]
    async with db.transaction() as session:
        await session.execute(update(table_of(Folder)).where(Folder.id == top.id).values(parent_id=leaf.id))


class LinesBody(BaseModel):
    """What a PUT replaces."""

    names: list[str]


@conditional
@operation
async def put_lines(invoice_id: UUID, data: LinesBody, session: AsyncSession) -> None:
    invoice = await load(session, invoice_id)
    check_preconditions(invoice)
    invoice.lines = [Line(name=name) for name in data.names]


@operation(status=201)
async def post_line(invoice_id: UUID, data: LinesBody, session: AsyncSession) -> None:
    for name in data.names:
        session.add(Line(name=name, invoice_id=invoice_id))


class InvoiceRead(ReadSchema, model=Invoice):
    """Every column of an invoice."""


@conditional
@operation
async def read_invoice(invoice_id: UUID, session: AsyncSession) -> InvoiceRead:
    return InvoiceRead.model_validate(await get_or_404(session, Invoice, invoice_id))


async def tag_of(client: Any, one: UUID) -> str:
    response = await client.get(f"/{one}")
    etag: str = response.headers["ETag"]
    return etag


def service(url: str) -> Quart:
    blueprint = routes(
        ("PUT", "/<uuid:invoice_id>/lines", put_lines),
        ("POST", "/<uuid:invoice_id>/lines", post_line),
        ("GET", "/<uuid:invoice_id>", read_invoice),
    )
    return make_app(url, blueprint, database=db)


async def test_of_eight_that_saw_one_version_one_writes(database_url: str) -> None:
    """Eight PUTs with one tag: one 2xx, seven 412, and the lines of one client."""
    async with running(service(database_url)) as client:
        for _ in range(3):
            world = await make_world()
            tag = await tag_of(client, world.one)
            requests = [
                client.put(f"/{world.one}/lines", json={"names": [str(n)] * 2}, headers={"If-Match": tag})
                for n in range(8)
            ]
            statuses = Counter([response.status_code for response in await asyncio.gather(*requests)])
            assert statuses == {204: 1, 412: 7}
            async with db.read() as session:
                lines = list(await session.scalars(select(Line.name).where(Line.invoice_id == world.one)))
            assert (len(lines), len(set(lines))) == (2, 1)
            assert await tag_of(client, world.one) != tag


async def test_additions_without_a_tag_do_not_conflict(database_url: str) -> None:
    """Eight POSTs at once: eight 201, no deadlock, and a tag from before is refused."""
    async with running(service(database_url)) as client:
        world = await make_world()
        tag = await tag_of(client, world.one)
        requests = [client.post(f"/{world.one}/lines", json={"names": [str(n)]}) for n in range(8)]
        assert {response.status_code for response in await asyncio.gather(*requests)} == {201}
        assert await versions(world.one) == [9]
        stale = await client.put(f"/{world.one}/lines", json={"names": []}, headers={"If-Match": tag})
        assert stale.status_code == 412


async def test_units_that_go_both_ways_do_not_deadlock(postgres_url: str) -> None:
    """From a root to its rows and from rows to their roots, over two invoices, at once."""
    async with running(make_app(postgres_url, database=db)):
        world = await make_world()

        async def work(number: int) -> None:
            here, there = (world.one, world.two) if number % 2 else (world.two, world.one)
            async with db.transaction() as session:
                one, two = await load(session, here), await load(session, there)
                if number % 3:
                    two.lines.append(Line(name=str(number)))
                    one.lines.append(Line(name=str(number)))
                else:
                    session.add(Line(name=str(number), invoice_id=here))
                    session.add(Discount(percent=number, line_id=two.lines[0].id))

        await asyncio.gather(*(work(number) for number in range(30)))
        assert await versions(world.one, world.two) == [31, 31]


async def start(base: type[DeclarativeBase], sqlite_url: str) -> str:
    app = make_app(sqlite_url, database=Database(base))
    with pytest.raises(AggregateError) as caught:
        await app.startup()
    return str(caught.value)


@pytest.mark.parametrize(
    ("belongs", "versioned", "words"),
    [
        (("lins",), True, "Own.__belongs__: Own has no relationship 'lins'"),
        (("rows.nothing",), True, "Own.__belongs__: Row has no relationship 'nothing'"),
        ("rows", True, "a tuple of names of relationships"),
        (("rows",), False, "derive it from Versioned"),
        (("other",), True, "leads to one row that many share"),
    ],
)
async def test_what_cannot_belong_keeps_the_app_from_starting(
    sqlite_url: str, belongs: Any, versioned: bool, words: str
) -> None:
    """By the name of the class and of the relationship, with the remedy."""

    class Mine(Model, DeclarativeBase):
        pass

    class Other(Identified, Mine):
        __tablename__ = "other"

    class Row(Identified, Mine):
        __tablename__ = "row"
        own_id: Mapped[UUID] = mapped_column(ForeignKey("own.id"))

    bases: Any = (Identified, Versioned, Mine) if versioned else (Identified, Mine)
    body = {
        "__tablename__": "own",
        "__belongs__": belongs,
        "__annotations__": {"other_id": Mapped[UUID], "other": Mapped[Other], "rows": Mapped[list[Row]]},
        "other_id": mapped_column(ForeignKey("other.id")),
        "other": relationship(Other),
        "rows": relationship(Row),
    }
    make_class: Any = type(Mine)
    make_class("Own", bases, body)

    assert words in await start(Mine, sqlite_url)


async def test_touch_takes_roots_only(database: None) -> None:
    """Every other entity is an error by name."""
    await make_world()
    async with db.transaction() as session:
        line = (await session.scalars(select(Line))).first()
        with pytest.raises(TypeError, match="not Line"):
            await touch(session, line)
    assert inspect(Invoice).version_id_col is not None


async def test_more_roots_than_a_statement_has_parameters(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are sent in parts: a change of the rows of any number of roots raises each once."""
    monkeypatch.setattr("ligand_async.data.aggregates._KEYS_AT_ONCE", 3)
    async with db.transaction() as session:
        session.add_all(Invoice(lines=[Line(name="a", discounts=[Discount(percent=1)])]) for _ in range(8))
    async with db.transaction() as session:
        await session.execute(update(table_of(Discount)).values(percent=2))
    async with db.read() as session:
        assert Counter(await session.scalars(select(Invoice.version))) == {2: 8}


async def test_a_flush_that_fails_leaves_no_root_behind(database: None) -> None:
    """A change after a savepoint whose flush failed raises the root: the failed flush has changed nothing."""
    world = await make_world()
    async with db.transaction() as session:
        invoice = await load(session, world.one)
        with pytest.raises(IntegrityError):
            async with session.begin_nested():
                invoice.note = "of the flush that fails"
                session.add(Discount(percent=1, line_id=uuid4()))
                await session.flush()
        statement = update(table_of(Line)).where(Line.invoice_id == world.one).values(name="z")
        await (await session.connection()).execute(statement)
    async with db.read() as session:
        assert (await session.get_one(Invoice, world.one)).version == 2
