"""Create schemas: what a client may say of a new row, and of one in another's place."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import MISSING, Field, ValidationError
from quart import Quart
from sqlalchemy import String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ligand_async import CreateSchema, Model, ReadSchema
from ligand_async.errors import ValidationFailed
from tests.data.library_models import Card, Everyday, Film, Loan, Reader, Song, Ticket, Work, db
from tests.services import make_app


class EverydayCreate(CreateSchema, model=Everyday): ...


class EverydayRead(ReadSchema, model=Everyday): ...


class ReaderCreate(CreateSchema, model=Reader):
    """A reader to be made."""

    name: Annotated[str, Field(min_length=1)]


class LoanCreate(CreateSchema, model=Loan): ...


class CardCreate(CreateSchema, model=Card): ...


DEFAULTS: dict[str, Any] = {
    "plain": "x",
    "made": "made",
    "nullable": None,
    "amount": Decimal("1.50"),
    "constant": "it's",
    "quoted": "it's",
    "counted": 7,
    "off": False,
    "half": Decimal("0.5"),
    "five": 5,
    "thing": {},
}


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started library, in whose context the test runs."""
    app = make_app(database_url, database=db)
    async with app.test_app(), app.app_context():
        await db.create_tables()
        yield app


def fields_of(model: type[Any]) -> dict[str, bool]:
    """Return the fields of a model's create schema, and whether they are required."""

    class Made(CreateSchema, model=model): ...

    return {name: field.is_required() for name, field in Made.model_fields.items()}


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (Reader, {"name": True, "email": False, "password_hash": True, "settings": False, "notes": False}),
        (Loan, {"number": True, "shelf": True, "reader_id": True, "due": False}),
        (Work, {"title": True}),
        (Film, {"title": True, "minutes": True}),
        (Song, {"title": True, "key": False}),
        (Ticket, {"seat": True}),
        (Card, {"holder": True, "color": False, "stamps": False, "remark": False, "points": False}),
        (Everyday, {"needed": True} | dict.fromkeys(DEFAULTS, False)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_client_sets_what_nobody_else_does(model: type[Any], fields: dict[str, bool]) -> None:
    """Keys, timestamps, version, discriminator and whatever the database sets are left out; a natural key stays.

    What has a default or is nullable is optional, and nothing else is.
    """
    assert fields_of(model) == fields


def test_what_is_absent_is_left_to_the_column() -> None:
    """An absent field is `MISSING`, and no member of what is dumped."""
    data = EverydayCreate.model_validate_json('{"needed": "y", "nullable": null}', strict=True)

    assert data.model_dump() == {"needed": "y", "nullable": None}
    assert data.plain is MISSING  # type: ignore[attr-defined]  # derived
    assert data.model_dump_json() == '{"needed":"y","nullable":null}'


def test_unknown_keys_are_refused() -> None:
    """A key that is no field, a column that the client may not set among them, is refused."""
    for body in (
        '{"name": "Ann", "password_hash": "x", "colour": 1}',
        '{"name": "Ann", "password_hash": "x", "id": "y"}',
    ):
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            ReaderCreate.model_validate_json(body)


def test_null_is_for_nullable_columns() -> None:
    """Null is refused where the column cannot be null, though it has a default."""
    with pytest.raises(ValidationError):
        EverydayCreate.model_validate_json('{"needed": "y", "plain": null}')


def test_a_private_column_can_be_written() -> None:
    """What comes in and never goes out is documented as write-only; `exclude` keeps clients from it."""

    class Open(CreateSchema, model=Reader, exclude={"password_hash"}): ...

    assert ReaderCreate.model_json_schema()["properties"]["password_hash"]["writeOnly"] is True
    assert "password_hash" not in Open.model_fields


def test_what_is_asked_for_by_name_is_there() -> None:
    """`include` gives a client what another sets by rule."""

    class Chosen(CreateSchema, model=Everyday, include={"id", "needed"}): ...

    assert Chosen.model_validate({"needed": "y"}).model_dump() == {"needed": "y"}
    assert isinstance(Chosen(id=UUID(int=0), needed="y").model_dump()["id"], UUID)  # type: ignore[call-arg]  # derived


def test_constant_defaults_are_documented() -> None:
    """A default that is always the same is shown as JSON has it; `MISSING` never is."""
    properties = EverydayCreate.model_json_schema()["properties"]
    shown = {name: schema["default"] for name, schema in properties.items() if "default" in schema}

    assert shown == {
        "plain": "x",
        "amount": "1.50",
        "constant": "it's",
        "quoted": "it's",
        "counted": 7,
        "off": False,
        "half": "0.5",
        "five": 5,
        "thing": {},
    }


async def test_rows_are_made_of_it_with_their_defaults(app: Quart) -> None:
    """`Model(**data.model_dump())` stores what was sent, and the columns fill in the rest."""
    data = EverydayCreate.model_validate({"needed": "y", "off": True})
    async with db.transaction() as session:
        entity = Everyday(**data.model_dump())
        session.add(entity)
        await session.flush()
        await session.refresh(entity)
        made = EverydayRead.model_validate(entity).model_dump()

    assert (
        made.items() >= (DEFAULTS | {"needed": "y", "off": True, "doubled": 14, "in_sql": "abc", "length": 3}).items()
    )


async def test_dataclasses_are_made_of_it(app: Quart) -> None:
    """A class mapped as a dataclass gets every argument that it cannot do without, and none that it does not take."""
    data = CardCreate.model_validate({"holder": "Ann"})
    async with db.transaction() as session:
        card = Card(**data.model_dump())
        session.add(card)
        await session.flush()

    assert (card.color, card.stamps, card.remark, card.points, card.internal) == ("red", [], None, 5, "-")


async def test_replacing_puts_defaults_in_the_place_of_what_is_absent(app: Quart) -> None:
    """What a PUT does not say goes back to its default, a server's constant too; what is not the client's stays."""
    said = {"needed": "a", "made": "b", "nullable": 1, "constant": "c", "counted": 2, "thing": {"d": 1}, "off": True}
    async with db.transaction() as session:
        entity = Everyday(**EverydayCreate.model_validate(said).model_dump())
        session.add(entity)
        await session.flush()
        key, clocked = entity.id, entity.clocked
        EverydayCreate.model_validate({"needed": "new"}).replace(entity)
        await session.flush()
        await session.refresh(entity)

    assert {name: getattr(entity, name) for name in DEFAULTS} == DEFAULTS
    assert (entity.id, entity.clocked, entity.needed, entity.doubled) == (key, clocked, "new", 14)


def test_replacing_does_not_move() -> None:
    """A natural key that is not that of what is replaced is refused, with its pointer."""
    loan = Loan(number=1, shelf="a", reader_id=UUID(int=0))
    LoanCreate.model_validate({"number": 1, "shelf": "a", "reader_id": UUID(int=1)}).replace(loan)

    with pytest.raises(ValidationFailed) as caught:
        LoanCreate.model_validate({"number": 1, "shelf": "b", "reader_id": UUID(int=2)}).replace(loan)

    assert [part.pointer for part in caught.value.errors] == ["/shelf"]
    assert (loan.shelf, loan.reader_id) == ("a", UUID(int=1))


def test_replacing_something_else_is_a_mistake() -> None:
    """An entity of another class is refused; what the class says is for the handler alone is not written."""

    class Excluded(CreateSchema, model=Loan):
        agreed: bool = Field(exclude=True)

    values = {"number": 1, "shelf": "a", "reader_id": UUID(int=1)}
    loan = Loan(number=1, shelf="a")

    with pytest.raises(TypeError, match="LoanCreate is a schema of Loan, and was given a Ticket"):
        LoanCreate.model_validate(values).replace(Ticket())
    Excluded.model_validate(values | {"agreed": True}).replace(loan)

    assert loan.reader_id == UUID(int=1)


def test_a_default_that_cannot_be_read_says_so() -> None:
    """A server default that is no constant of its column's type is an error of the replacement, with its column."""

    class Base(Model, DeclarativeBase): ...

    class Odd(Base):
        __tablename__ = "odd"
        name: Mapped[str] = mapped_column(String(9), primary_key=True)
        count: Mapped[int] = mapped_column(server_default=text("'many'"))

    class OddCreate(CreateSchema, model=Odd): ...

    with pytest.raises(TypeError, match=r"server_default of Odd\.count cannot be read; give the column a default="):
        OddCreate.model_validate({"name": "a"}).replace(Odd(name="a"))
