"""Entity tags of tables that have no version and cannot get one: digests of their rows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel
from quart.typing import TestClientProtocol as Client
from sqlalchemy import JSON, Numeric, String, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, deferred, mapped_column

from ligand_async import Database, Model, ReadSchema, Versioned, check_preconditions, conditional, get_or_404, operation
from ligand_async.data import Digested
from tests.services import make_app, routes


class Base(Model, DeclarativeBase):
    """Tables that are older than the service."""


class Legacy(Digested, Base):
    """A row of such a table, with a key of two columns."""

    __tablename__ = "legacy"

    nr: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    part: Mapped[str] = mapped_column(String(5), primary_key=True)
    title: Mapped[str] = mapped_column(String(40))
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    secret: Mapped[int]
    more: Mapped[Any] = mapped_column(JSON, nullable=True)


class Line(Base):
    """A row that names it."""

    __tablename__ = "line"

    id: Mapped[int] = mapped_column(primary_key=True)
    nr: Mapped[int]
    part: Mapped[str] = mapped_column(String(5))


db = Database(Base)
PATH = "/legacy/1/a"


class Shown(BaseModel):
    """What is shown: not the secret."""

    title: str
    price: Decimal


class ShownByModel(ReadSchema, model=Legacy):
    """Everything."""


class Change(BaseModel):
    title: str
    price: Decimal = Decimal(1)


@operation
async def read(nr: int, part: str, session: AsyncSession) -> Shown:
    return await get_or_404(session, Legacy, (nr, part), into=Shown)


@operation
async def read_entity(nr: int, part: str, session: AsyncSession) -> ShownByModel:
    return ShownByModel.model_validate(await get_or_404(session, Legacy, (nr, part)))


async def _checked(nr: int, part: str, session: AsyncSession) -> Legacy:
    row = await get_or_404(session, Legacy, (nr, part))
    check_preconditions(row)
    await asyncio.sleep(0.01)
    return row


@conditional
@operation
async def put(nr: int, part: str, data: Change, session: AsyncSession) -> Shown:
    row = await _checked(nr, part, session)
    row.title, row.price = data.title, data.price
    await session.flush()
    return Shown.model_validate(row, from_attributes=True)


@conditional
@operation
async def put_by_core(nr: int, part: str, data: Change, session: AsyncSession) -> None:
    await _checked(nr, part, session)
    await session.execute(update(Legacy).where(Legacy.nr == nr).values(title=data.title))


@conditional
@operation
async def put_by_text(nr: int, part: str, data: Change, session: AsyncSession) -> None:
    await _checked(nr, part, session)
    statement = text("UPDATE legacy SET title = :title WHERE nr = :nr")
    await session.execute(statement, {"title": data.title, "nr": nr})


@conditional
@operation
async def put_after_savepoint(nr: int, part: str, data: Change, session: AsyncSession) -> None:
    row = await _checked(nr, part, session)
    async with session.begin_nested() as savepoint:
        await session.execute(update(Legacy).values(secret=0))
        await savepoint.rollback()
    await asyncio.sleep(0.02)
    row.title = data.title


@conditional
@operation
async def put_beside(nr: int, part: str, data: Change, session: AsyncSession) -> None:
    await _checked(nr, part, session)
    session.add(Line(nr=nr, part=part))


@conditional
@operation
async def delete(nr: int, part: str, session: AsyncSession) -> None:
    await session.delete(await _checked(nr, part, session))


@operation(status=201)
async def create(data: Change, session: AsyncSession) -> ShownByModel:
    row = Legacy(nr=7, part="z", title=data.title, price=data.price, secret=1, more={"b": 1, "a": [1.5, None]})
    session.add(row)
    await session.flush()
    return ShownByModel.model_validate(row)


RULE = "/legacy/<int:nr>/<part>"
WAYS: dict[str, Any] = {
    "": put,
    "/core": put_by_core,
    "/text": put_by_text,
    "/savepoint": put_after_savepoint,
    "/beside": put_beside,
}


@asynccontextmanager
async def serving(url: str, **settings: Any) -> AsyncIterator[Client]:
    """Serve the table with one row in it."""
    views = [("PUT", RULE + suffix, view) for suffix, view in WAYS.items()]
    views += [("GET", RULE, read), ("GET", RULE + "/all", read_entity), ("DELETE", RULE, delete)]
    app = make_app(url, routes(*views, ("POST", "/legacy", create)), database=db, settings=settings)
    async with app.test_app(), app.app_context():
        await db.create_tables()
        async with db.transaction() as session:
            session.add(Legacy(nr=1, part="a", title="old", price=Decimal("1.5"), secret=3, more={"b": 1, "a": [2]}))
        yield app.test_client()


async def tag_of(client: Client, path: str = PATH) -> str:
    """Return the entity tag of a read."""
    return (await client.get(path)).headers["ETag"]


async def test_reads_have_strong_tags_of_the_whole_row(database_url: str) -> None:
    """The tag stays while the row does, gives a 304, and changes with a column that is not shown."""
    async with serving(database_url) as client:
        tag = await tag_of(client)
        assert tag.startswith('"')
        assert await tag_of(client) == tag
        assert (await client.get(PATH, headers={"If-None-Match": tag})).status_code == 304
        async with db.transaction() as session:
            (await get_or_404(session, Legacy, (1, "a"))).secret = 4
        changed = await tag_of(client)
        assert changed != tag
        assert (await client.put(PATH, json={"title": "x"}, headers={"If-Match": tag})).status_code == 412
        whole = await tag_of(client, f"{PATH}/all")
        assert whole.split("-")[:2] == changed.split("-")[:2]
        assert (await client.put(PATH, json={"title": "x"}, headers={"If-Match": whole})).status_code == 200


async def test_the_tag_cannot_be_calculated_by_others(database_url: str) -> None:
    """The digest is keyed by the service's secret: a column with few values that is not shown cannot be guessed."""
    tags = set()
    for secret in ("a" * 40, "b" * 40):
        async with serving(database_url, secret_key=secret) as client:
            tags.add((await tag_of(client)).split("-")[0])
            async with db.transaction() as session:
                await session.delete(await get_or_404(session, Legacy, (1, "a")))
    assert len(tags) == 2


async def test_preconditions_hold(database_url: str) -> None:
    """No precondition is a 428, an old tag a 412, and with the current tag a row is changed and deleted."""
    async with serving(database_url) as client:
        tag = await tag_of(client)
        assert (await client.put(PATH, json={"title": "x"})).status_code == 428
        done = await client.put(PATH, json={"title": "new", "price": "2.50"}, headers={"If-Match": tag})
        assert done.status_code == 200
        assert done.headers["ETag"] == await tag_of(client)
        assert (await client.put(PATH, json={"title": "x"}, headers={"If-Match": tag})).status_code == 412
        assert (await client.delete(PATH, headers={"If-Match": tag})).status_code == 412
        last = await client.delete(PATH, headers={"If-Match": done.headers["ETag"]})
        assert last.status_code == 204


@pytest.mark.parametrize("way", WAYS)
async def test_a_response_has_the_tag_of_the_next_read(database_url: str, way: str) -> None:
    """Whatever changed the row, also statements of Core and text, the tag of the response is that of the row now."""
    async with serving(database_url) as client:
        for title in ("one", "two"):
            tag = await tag_of(client)
            done = await client.put(PATH + way, json={"title": title, "price": "3.456"}, headers={"If-Match": tag})
            assert done.status_code in {200, 204}
            assert done.headers["ETag"].strip('"').split("-")[:2] == (await tag_of(client)).strip('"').split("-")[:2]


async def test_what_is_created_has_the_tag_of_the_next_read(database_url: str) -> None:
    """A row that was just inserted is read again for its tag: the database may have rounded what it was given."""
    async with serving(database_url) as client:
        made = await client.post("/legacy", json={"title": "new", "price": "1.005"})
        tag = await tag_of(client, "/legacy/7/z")
        assert made.headers["ETag"].split("-")[:2] == tag.split("-")[:2]


async def test_triggers_of_the_table_are_seen(postgres_url: str) -> None:
    """What a trigger makes of a change is in the tag of the response."""
    async with serving(postgres_url) as client:
        async with db.transaction() as session:
            await session.execute(
                text(
                    "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS "
                    "$$ BEGIN NEW.title = upper(NEW.title); NEW.secret = 9; RETURN NEW; END $$"
                )
            )
            await session.execute(
                text("CREATE TRIGGER shout BEFORE UPDATE ON legacy FOR EACH ROW EXECUTE FUNCTION shout()")
            )
        done = await client.put(PATH, json={"title": "new"}, headers={"If-Match": await tag_of(client)})
        assert done.headers["ETag"].split("-")[:2] == (await tag_of(client)).split("-")[:2]
        assert (await (await client.get(PATH)).get_json())["title"] == "NEW"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.extended
async def test_of_many_with_one_tag_one_wins(database_url: str, way: str, figure: Callable[[int, int], int]) -> None:
    """Of eight changes with one tag, one is made and seven are a 412, however the handler changes the row."""
    async with serving(database_url, database_pool_size=8, database_pool_timeout=20) as client:
        for round_ in range(figure(3, 100)):
            tag = await tag_of(client)
            answers = await asyncio.gather(
                *(
                    client.put(PATH + way, json={"title": f"{round_}-{number}"}, headers={"If-Match": tag})
                    for number in range(8)
                )
            )
            codes = sorted(answer.status_code for answer in answers)
            if way == "/beside":  # a new line is not in the row
                assert set(codes) <= {200, 204}
            else:
                assert codes[0] in {200, 204}
                assert codes[1:] == [412] * 7


async def test_another_program_in_between_is_noticed(postgres_url: str) -> None:
    """A program that changes the row between the check and the change makes it a 412, and nothing is kept."""
    other = create_async_engine(postgres_url)
    async with serving(postgres_url) as client:
        for way in WAYS:
            tag = await tag_of(client)
            async with other.begin() as connection:
                await connection.execute(update(Legacy).values(secret=Legacy.secret + 1))
                request = client.put(PATH + way, json={"title": "mine"}, headers={"If-Match": tag})
                change = asyncio.ensure_future(request)
                await asyncio.sleep(0.3)
                assert not change.done()
            assert (await change).status_code == 412
        async with db.read() as session:
            assert (await session.scalars(select(Legacy.title))).all() == ["old"]
            assert (await session.scalars(select(Line.id))).all() == []
    await other.dispose()


def test_a_version_is_the_better_tag() -> None:
    """A class that counts versions is not digested as well."""
    with pytest.raises(TypeError, match="Both has a version"):

        class Both(Digested, Versioned, Base):
            __tablename__ = "both"
            id: Mapped[int] = mapped_column(primary_key=True)


async def test_what_was_not_loaded_cannot_be_checked(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A digest needs every column: the error of an entity that has some deferred says so."""

    class Own(Model, DeclarativeBase): ...

    class Wide(Digested, Own):
        __tablename__ = "wide"
        id: Mapped[int] = mapped_column(primary_key=True)
        text: Mapped[str] = deferred(mapped_column(String))

    own = Database(Own)

    @conditional
    @operation
    async def change(session: AsyncSession) -> None:
        check_preconditions(await get_or_404(session, Wide, 1))

    app = make_app(sqlite_url, routes(("PUT", "/wide", change)), database=own)
    async with app.test_app(), app.app_context():
        await own.create_tables()
        async with own.transaction() as session:
            session.add(Wide(id=1, text="x"))
        response = await app.test_client().put("/wide", headers={"If-Match": "*"})
        assert response.status_code == 500
    assert "of a Digested one with all its columns" in caplog.text
