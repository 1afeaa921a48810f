"""Reading past SQLAlchemy's session: the same rows, and never past anybody who takes part in what sessions do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, model_validator
from quart import Quart
from sqlalchemy import Connection, String, TypeDecorator, event, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    ORMExecuteState,
    Session,
    SessionTransaction,
    column_property,
    mapped_column,
    with_loader_criteria,
)

from ligand_async import Database, Model, NotFound, get_or_404, on_commit
from ligand_async.data import SessionMisused, first_or_404, one_or_404
from ligand_async.data.unit import UnitSession
from tests.data.statements import captured
from tests.services import Item, Shelf, db, make_app, running

KEY = UUID(int=7)


class Line(BaseModel):
    """Two columns of an item."""

    name: str
    price: int


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started app with a cup, a pot and a shelf, in whose context the test runs."""
    app = make_app(database_url)
    async with running(app):
        async with db.transaction() as session:
            session.add_all([Item(id=KEY, name="cup", price=3), Item(name="pot", price=9), Shelf(id=KEY, label="top")])
        yield app


def is_used(session: AsyncSession) -> bool:
    """Return whether SQLAlchemy's own session was made."""
    assert isinstance(session, UnitSession)
    return session.is_used


@contextmanager
def listening(name: str, listener: Callable[..., Any]) -> Iterator[None]:
    """Listen to an event of all sessions."""
    event.listen(Session, name, listener)
    try:
        yield
    finally:
        event.remove(Session, name, listener)


async def test_a_read_of_a_schema_makes_no_session(app: Quart) -> None:
    """One row, or the first, or the only one: the engine reads it, and its connection is back afterwards."""
    async with db.read() as session:
        with captured(session) as sent:
            assert await get_or_404(session, Item, KEY, into=Line) == Line(name="cup", price=3)
            assert await first_or_404(session, select(Item).order_by(Item.price), into=Line) == Line(
                name="cup", price=3
            )
            assert await one_or_404(session, select(Item).where(Item.price > 5), into=Line) == Line(name="pot", price=9)
            with pytest.raises(NotFound):
                await get_or_404(session, Item, UUID(int=8), into=Line)
        assert len(sent) == 4
        assert not is_used(session)
        assert db.engines().read.pool.checkedout() == 0  # type: ignore[attr-defined]  # a pool with a size


async def test_a_session_that_is_used_reads_itself(app: Quart) -> None:
    """After any other use, a read has the same connection as the session, and sees what was done to it."""
    async with db.read() as session:
        await session.execute(select(func.count()).select_from(Item))
        with captured(session) as sent:
            await get_or_404(session, Item, KEY, into=Line)
        assert len(sent) == 1
        assert db.engines().read.pool.checkedout() == 1  # type: ignore[attr-defined]  # a pool with a size


async def test_statements_of_a_shape_keep_their_values_apart(app: Quart) -> None:
    """The first statement of a shape prepares it for all, and none of its values is seen again."""
    async with db.read() as session:
        for name, price in (("cup", 3), ("pot", 9), ("cup", 3)):
            for statement in (select(Item).where(Item.name == name), select(Item).where(Item.price.in_([price, 77]))):
                assert await one_or_404(session, statement, into=Line) == Line(name=name, price=price)
        with pytest.raises(NotFound):
            await one_or_404(session, select(Item).where(Item.price.in_([])), into=Line)
        assert not is_used(session)


async def test_keys_may_be_expressions(app: Quart) -> None:
    """What is not a value of the column's type is compared as it always was."""
    youngest = select(Item.id).where(Item.name == "pot").scalar_subquery()
    async with db.read() as session:
        assert (await get_or_404(session, Item, youngest, into=Line)).name == "pot"
        with pytest.raises(NotFound):
            await get_or_404(session, Item, None, into=Line)


def hide_dear(state: ORMExecuteState) -> None:
    state.statement = state.statement.options(with_loader_criteria(Item, Item.price < 5, include_aliases=True))


async def test_criteria_for_all_sessions_hold(app: Quart) -> None:
    """A listener of `do_orm_execute`, as for tenants and soft deletion, is never passed."""
    statement = select(Item).where(Item.price > 5)
    for _ in range(2):
        async with db.read() as session:
            assert (await one_or_404(session, statement, into=Line)).name == "pot"
        with listening("do_orm_execute", hide_dear):
            async with db.read() as session:
                with pytest.raises(NotFound):
                    await one_or_404(session, statement, into=Line)


def note_begin(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    session.info["begun"] = True


def note_transaction(session: Session, transaction: SessionTransaction) -> None:
    session.info["begun"] = True


def note_session(session: Session) -> None:
    session.info["begun"] = True


@pytest.mark.parametrize(
    ("name", "listener"),
    [
        ("after_begin", note_begin),
        ("after_transaction_create", note_transaction),
        ("after_transaction_end", note_transaction),
        ("after_soft_rollback", note_transaction),
        ("before_commit", note_session),
        ("after_commit", note_session),
        ("after_rollback", note_session),
    ],
)
async def test_listeners_to_transactions_are_called(app: Quart, name: str, listener: Callable[..., Any]) -> None:
    """Whoever sets, counts or measures something at the events of sessions sees every read."""
    with listening(name, listener):
        async with db.read() as session:
            await get_or_404(session, Item, KEY, into=Line)
            assert is_used(session)
    async with db.read() as session:
        await get_or_404(session, Item, KEY, into=Line)
        assert not is_used(session)


async def test_sessions_with_a_transaction_read_themselves(app: Quart) -> None:
    """A snapshot is one moment, and a session that writes sees what it has written."""
    async with db.read(mode="snapshot") as session:
        await get_or_404(session, Item, KEY, into=Line)
        assert is_used(session)
    async with db.transaction() as session:
        (await session.get_one(Item, KEY)).price = 4
        assert await get_or_404(session, Item, KEY, into=Line) == Line(name="cup", price=4)


async def test_behind_a_transaction_pooler_reads_are_transactions(postgres_url: str) -> None:
    """There each read is a transaction of the session's, which is read-only."""
    app = make_app(postgres_url, settings={"database_pooler": "transaction"})
    async with running(app):
        async with db.transaction() as session:
            session.add(Item(id=KEY, name="cup", price=3))
        async with db.read() as session:
            await get_or_404(session, Item, KEY, into=Line)
            assert is_used(session)


async def test_options_of_a_statement_are_followed(app: Quart) -> None:
    """Criteria and execution options of one statement need the session."""
    for statement in (
        select(Item).options(with_loader_criteria(Item, Item.price > 5)),
        select(Item).order_by(Item.price.desc()).execution_options(populate_existing=True),
    ):
        async with db.read() as session:
            assert (await first_or_404(session, statement, into=Line)).name == "pot"
            assert is_used(session)


class ZooBase(Model, DeclarativeBase):
    """A service whose rows are more than the columns of a table."""


class Loud(TypeDecorator[str]):
    """Text that is compared by a comparator of its own."""

    impl = String(20)
    cache_ok = True

    class comparator_factory(TypeDecorator.Comparator[str]):  # noqa: N801  (SQLAlchemy's name)
        """Compares without case."""

        def __eq__(self, other: Any) -> Any:
            return func.lower(self.expr) == func.lower(other)


class Beast(ZooBase):
    """A class with others below it."""

    __tablename__ = "beast"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "beast"}  # noqa: RUF012  (SQLAlchemy's)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    name: Mapped[str] = mapped_column(String(10))


class Bird(Beast):
    """One below."""

    __mapper_args__ = {"polymorphic_identity": "bird"}  # noqa: RUF012  (SQLAlchemy's)


class Cage(ZooBase):
    """A class with attributes that are not columns."""

    __tablename__ = "cage"

    label: Mapped[str] = mapped_column("lbl", Loud, primary_key=True)
    width: Mapped[int] = mapped_column()
    depth: Mapped[int] = mapped_column()
    area: Mapped[int] = column_property(width + depth)

    @hybrid_property
    def girth(self) -> int:
        """Twice around."""
        return 2 * (self.width + self.depth)


class Name(BaseModel):
    """The name of a beast."""

    name: str


class Area(BaseModel):
    """An attribute that is an expression."""

    area: int


class Girth(BaseModel):
    """A hybrid attribute."""

    girth: int


class Label(BaseModel):
    """A column of another name."""

    label: str


zoo = Database(ZooBase)


async def test_what_is_more_than_a_column_is_read_by_the_session(database_url: str) -> None:
    """Classes with others below them, expressions and hybrids; a column of another name is one, though."""
    async with running(make_app(database_url, database=zoo), tables=False):
        await zoo.create_tables()
        async with zoo.transaction() as session:
            session.add_all([Beast(id=1, name="ox"), Bird(id=2, name="owl"), Cage(label="A", width=2, depth=3)])
        for statement, schema, expected, is_direct in (
            (select(Bird), Name, Name(name="owl"), False),
            (select(Beast).order_by(Beast.id), Name, Name(name="ox"), False),
            (select(Cage), Area, Area(area=5), False),
            (select(Cage), Girth, Girth(girth=10), False),
            (select(Cage), Label, Label(label="A"), True),
        ):
            async with zoo.read() as session:
                found: BaseModel = await first_or_404(session, statement, into=schema)
                assert found == expected
                assert is_used(session) is not is_direct
        async with zoo.read() as session:
            assert (await get_or_404(session, Cage, "a", into=Label)).label == "A"


async def test_validators_are_given_the_same_row(app: Quart) -> None:
    """A validator before the fields sees a row with the schema's attributes, whoever reads it."""
    seen: list[Any] = []

    class Watched(Line):
        @model_validator(mode="before")
        @classmethod
        def look(cls, row: Any) -> Any:
            seen.append((type(row), row.name, row.price))
            return row

    async with db.read() as session:
        await get_or_404(session, Item, KEY, into=Watched)
        await session.connection()
        await get_or_404(session, Item, KEY, into=Watched)
        assert is_used(session)
    assert seen[0] == seen[1]


async def test_a_session_belongs_to_one_task_and_to_its_unit(app: Quart) -> None:
    """Another task is refused, and so is everybody once the unit has ended."""
    async with db.read() as session:
        with pytest.raises(SessionMisused, match="one session, two tasks"):
            await asyncio.create_task(_read_cup(session))
        await _read_cup(session)
    with pytest.raises(SessionMisused, match="has ended"):
        await _read_cup(session)
    assert not is_used(session)


async def _read_cup(session: AsyncSession) -> Line:
    return await get_or_404(session, Item, KEY, into=Line)


async def test_a_failure_gives_the_connection_back(app: Quart) -> None:
    """An error of the database, and a task that is cancelled in the middle, leave no connection behind."""
    engine = db.engines().read

    def fail(*_: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("no"))

    def stop(*_: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    for listener, kind in ((fail, OperationalError), (stop, asyncio.CancelledError)):
        event.listen(engine.sync_engine, "before_cursor_execute", listener)
        try:
            async with db.read() as session:
                with pytest.raises(kind):
                    await asyncio.create_task(_alone(session))
        finally:
            event.remove(engine.sync_engine, "before_cursor_execute", listener)
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a pool with a size
    async with db.read() as session:
        assert (await _read_cup(session)).name == "cup"


async def _alone(_session: AsyncSession) -> None:
    async with db.read() as session:
        await _read_cup(session)


async def test_callbacks_of_a_savepoint_go_with_it(app: Quart) -> None:
    """The first callback of a unit may come inside a savepoint; a rollback of that one takes it back."""
    ran: list[str] = []
    async with db.transaction() as session:
        with pytest.raises(ZeroDivisionError):
            async with session.begin_nested():
                on_commit(lambda: ran.append("lost"))
                raise ZeroDivisionError
        async with session.begin_nested(), session.begin_nested():
            on_commit(lambda: ran.append("kept"))
    assert ran == ["kept"]


async def test_an_entity_tag_needs_the_version_only(app: Quart) -> None:
    """A class without a version is read directly, too; its schema has no origin."""

    class Label(BaseModel):
        label: str

    async with db.read() as session:
        assert await get_or_404(session, Shelf, KEY, into=Label) == Label(label="top")
        assert not is_used(session)
