"""Read schemas: which columns they show, and what they are made from."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from quart import Quart
from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from ligand_async import Identified, Model, ReadSchema, get_or_404, paginate
from ligand_async.data import IntoNotPossible, first_or_404, select_into
from ligand_async.web.lists import OffsetParams
from tests.data.library_models import Card, Everyday, Film, Loan, Reader, Song, Work, db
from tests.data.statements import captured, columns_of
from tests.services import make_app


class LoanRead(ReadSchema, model=Loan, exclude={"due"}):
    """A loan."""


class ReaderRead(ReadSchema, model=Reader):
    """A reader with what is lent."""

    name: Annotated[str, Field(max_length=7, description="A declared one.")]
    loans: list[LoanRead]


class ReaderLine(ReadSchema, model=Reader): ...


class LoanWithReader(ReadSchema, model=Loan, include=["number"]):
    reader: "ReaderName"


class ReaderName(ReadSchema, model=Reader, include={"name"}): ...


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started library with a reader who has two loans, in whose context the test runs."""
    app = make_app(database_url, database=db)
    async with app.test_app(), app.app_context():
        await db.create_tables()
        async with db.transaction() as session:
            reader = Reader(name="Ann", password_hash="secret")
            reader.loans = [Loan(number=2, shelf="b"), Loan(number=1, shelf="a", due=datetime(2030, 1, 1, tzinfo=UTC))]
            session.add(reader)
        yield app


def test_every_column_is_there_in_the_order_of_the_table() -> None:
    """Parents' columns come with a subclass's, expressions last; what begins with an underscore does not come."""
    everything = ["id", "name", "email", "settings", "notes", "created_at", "updated_at", "version"]

    assert list(ReaderLine.model_fields) == everything
    assert fields_of(Work) == ["id", "kind", "title"]
    assert fields_of(Film) == ["id", "kind", "title", "minutes"]
    assert fields_of(Song) == ["id", "kind", "title", "key"]
    assert fields_of(Everyday)[-1] == "length"
    assert "internal" in fields_of(Card)


def fields_of(model: type[Any]) -> list[str]:
    class Shown(ReadSchema, model=model): ...

    return list(Shown.model_fields)


def test_nullable_columns_may_be_null_and_all_are_required() -> None:
    """Nothing is absent from an answer; what can be null says so."""
    schema = ReaderLine.model_json_schema(mode="serialization")

    assert schema["required"] == list(ReaderLine.model_fields)
    assert {"type": "null"} in schema["properties"]["email"]["anyOf"]
    assert "anyOf" not in schema["properties"]["name"]


def test_descriptions_are_those_of_the_columns() -> None:
    """`doc` describes a field, and `comment` where there is no `doc`."""
    described = {name: field.description for name, field in ReaderLine.model_fields.items() if field.description}

    assert described == {"name": "As on the card.", "email": "Where reminders go."}


def test_what_the_body_declares_wins() -> None:
    """A declared field stands in its column's place, with its own type and description and nothing of the column's."""
    name = ReaderRead.model_json_schema()["properties"]["name"]

    assert (name["maxLength"], name["description"]) == (7, "A declared one.")
    assert list(ReaderRead.model_fields)[:2] == ["id", "name"]


def test_what_a_base_declares_wins_over_the_column() -> None:
    """A field that a base declares by hand stays; one that it derived is derived from the subclass's own model."""

    class Named(BaseModel):
        title: Annotated[str, Field(max_length=3)]

    class WorkRead(Named, ReadSchema, model=Work): ...

    class FilmRead(WorkRead, model=Film): ...

    assert FilmRead.model_json_schema()["properties"]["title"]["maxLength"] == 3
    assert set(FilmRead.model_fields) == {"title", "id", "kind", "minutes"}


def test_a_subclass_without_a_model_keeps_what_it_has() -> None:
    """Inheritance is pydantic's own: fields are added."""

    class Detailed(ReaderLine):
        loans: list[LoanRead]

    assert set(Detailed.model_fields) == {*ReaderLine.model_fields, "loans"}


def test_included_columns_are_all_there_is() -> None:
    """`include` takes the columns it names, `exclude` leaves out those; in the order of the table."""

    class Few(ReadSchema, model=Reader, include=["version", "id", "email"], exclude={"email"}): ...

    assert list(Few.model_fields) == ["id", "version"]
    assert list(LoanRead.model_fields) == ["number", "shelf", "reader_id"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"model": Reader, "include": {"nmae"}},
            "Wrong: include= names nmae; the columns of Reader are id, name, email",
        ),
        ({"model": Reader, "exclude": "nmae"}, "Wrong: exclude= names nmae; the columns of Reader"),
        ({"exclude": {"name"}}, "Wrong: include= and exclude= name columns of a model="),
        ({"modle": Reader}, "takes no keyword arguments"),
        ({"model": Identified}, "model='Identified' is not a mapped class"),
        ({"model": Reader.__table__}, "is not a mapped class"),
        ({"model": Reader, "include": {"password_hash"}}, "Wrong shows password_hash, which the model marks private"),
    ],
    ids=["include", "exclude", "no model", "misspelt", "mixin", "table", "private"],
)
def test_mistakes_fail_where_the_class_is_made(options: dict[str, Any], message: str) -> None:
    """A wrong option is an error of the class statement, with the class and the name in it."""
    with pytest.raises(TypeError, match=message):

        class Wrong(ReadSchema, **options): ...


def test_private_columns_are_never_shown() -> None:
    """Neither a declaration, nor an alias, nor a subclass brings a private column into a read schema."""
    assert "password_hash" not in ReaderLine.model_fields

    with pytest.raises(TypeError, match="Shown shows password_hash"):

        class Shown(ReadSchema, model=Reader):
            password_hash: str

    for alias in ("password_hash", AliasChoices("x", "password_hash"), AliasPath("password_hash", 0)):
        with pytest.raises(TypeError, match="Aliased shows password_hash"):

            class Aliased(ReadSchema, model=Reader):
                name: str = Field(validation_alias=alias)

    with pytest.raises(TypeError, match="Below shows password_hash"):

        class Below(ReaderLine):
            password_hash: str


async def test_entities_and_rows_make_the_same(app: Quart) -> None:
    """A read schema is made of an entity, of a row of columns, and by `into=`, which selects its columns only."""
    async with db.read() as session:
        reader = await first_or_404(session, select(Reader))
        columns = [getattr(Reader, name) for name in ReaderLine.model_fields]
        row = (await session.execute(select(*columns))).one()
        with captured(session) as sent:
            line = await get_or_404(session, Reader, reader.id, into=ReaderLine)

    assert line == ReaderLine.model_validate(reader) == ReaderLine.model_validate(row)
    assert columns_of(sent[0]) == set(ReaderLine.model_fields)


async def test_what_was_not_loaded_is_named(app: Quart) -> None:
    """A relationship that nobody loaded is an error with its name and the remedy, and no absent field."""
    async with db.read() as session:
        reader = await first_or_404(session, select(Reader))
        with pytest.raises(ValidationError, match=r"Reader\.loans was not loaded.*selectinload"):
            ReaderRead.model_validate(reader)


async def test_nested_schemas_are_loaded_with_their_columns(app: Quart) -> None:
    """A declared relationship is one more query, of the nested schema's columns, in `into=` and in pages."""
    async with db.read() as session:
        with captured(session) as sent:
            reader = await first_or_404(session, select(Reader), into=ReaderRead)
        page = await paginate(session, select(Reader), OffsetParams(), into=ReaderRead)

    assert [(loan.number, loan.shelf) for loan in reader.loans] == [(1, "a"), (2, "b")]  # type: ignore[attr-defined]  # derived
    assert page.items == [reader]
    assert columns_of(sent[1]) == {"reader_id", "number", "shelf"}
    assert "password_hash" not in "".join(sent)


async def test_a_schema_may_name_one_that_comes_later(app: Quart) -> None:
    """A forward reference is resolved before it is read into, so that its columns are loaded, and no others."""
    async with db.read() as session:
        with captured(session) as sent:
            loan = await first_or_404(session, select(Loan).where(Loan.number == 1), into=LoanWithReader)

    assert loan.model_dump() == {"number": 1, "reader": {"name": "Ann"}}
    assert "reader.name" in sent[1]
    assert "password_hash" not in sent[1]


async def test_inherited_columns_are_read(app: Quart) -> None:
    """Joined and single-table inheritance are read into schemas of the parent and of the child."""

    class FilmRead(ReadSchema, model=Film): ...

    class SongRead(ReadSchema, model=Song): ...

    class WorkRead(ReadSchema, model=Work): ...

    async with db.transaction() as session:
        session.add_all([Film(title="Alien", minutes=117), Song(title="Yesterday", key="F")])
    async with db.read() as session:
        film = await first_or_404(session, select(Film), into=FilmRead)
        song = await first_or_404(session, select(Song), into=SongRead)
        works = (await paginate(session, select(Work), OffsetParams(), into=WorkRead)).items

    assert film.model_dump(exclude={"id"}) == {"kind": "film", "title": "Alien", "minutes": 117}
    assert song.model_dump(exclude={"id"}) == {"kind": "song", "title": "Yesterday", "key": "F"}
    assert [work.model_dump()["kind"] for work in works] == ["film", "song"]


def test_a_schema_that_holds_itself_is_refused() -> None:
    """A tree has no depth that `into=` could know: the error says so, instead of a recursion without end."""

    class Base(Model, DeclarativeBase): ...

    class Node(Identified, Base):
        __tablename__ = "node"
        parent_id: Mapped[Any] = mapped_column(ForeignKey("node.id"))
        children: Mapped[list["Node"]] = relationship()

    class NodeRead(ReadSchema, model=Node, include={"id"}):
        children: list["NodeRead"]

    with pytest.raises(IntoNotPossible, match="NodeRead holds itself"):
        select_into(select(Node), NodeRead)


def test_json_may_be_written_otherwise() -> None:
    """An alias generator changes names in JSON and not the attributes that fields are read from."""

    class Camel(ReadSchema, model=Reader, include={"created_at"}):
        model_config = ConfigDict(alias_generator=to_camel)

    reader = Reader(name="Ann", created_at=datetime(2030, 1, 1, tzinfo=UTC))

    assert json.loads(Camel.model_validate(reader).model_dump_json(by_alias=True)) == {
        "createdAt": "2030-01-01T00:00:00Z"
    }


def test_a_class_may_come_before_what_it_refers_to() -> None:
    """A schema does not configure mappers: its model may name classes that are mapped later."""

    class Base(Model, DeclarativeBase): ...

    class Early(Identified, Base):
        __tablename__ = "early"
        late_ones: Mapped[list["Late"]] = relationship()  # type: ignore[name-defined]  # noqa: F821  (that is the point)

    class EarlyRead(ReadSchema, model=Early): ...

    assert list(EarlyRead.model_fields) == ["id"]
