"""Every kind of column, from JSON to the database and back."""

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
import sqlalchemy_utils as utils  # type: ignore[import-untyped]  # it has no annotations
from pydantic import BaseModel, PlainSerializer, PlainValidator, TypeAdapter, ValidationError, WithJsonSchema
from sqlalchemy import JSON, MetaData, String, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

from ligand_async import CreateSchema, Database, Identified, Model, ReadSchema, get_or_404
from ligand_async.data import register_column_type
from ligand_async.data.schemas import UnknownColumnType, column_annotation
from ligand_async.data.schemas.types import wire_of
from ligand_async.docs import SchemaGenerator
from ligand_async.web import Output
from tests.data.column_kinds import KINDS, MODELS, TABLES, Base, Kind, create_schema, read_schema
from tests.services import make_app

REFUSED = [(name, text) for name, kind in KINDS.items() for text in kind.refused]

OUTPUTS = {name: Output(read_schema(name), None, name) for name in KINDS}


def kinds_of(backend: str) -> dict[str, Kind]:
    return {name: kind for name, kind in KINDS.items() if kind.only in {None, backend}}


def body(text: str) -> str:
    return f'{{"value":{text}}}'


async def test_every_kind_of_column_goes_there_and_back(database_url: str) -> None:
    """What a schema takes is stored, and given back as it was, by entity and by row, on each database."""
    backend = "sqlite" if database_url.startswith("sqlite") else "postgresql"
    kinds = kinds_of(backend)
    database = Database(Base)
    app = make_app(database_url, database=database)
    wrong: list[tuple[str, str, list[Any]]] = []
    async with app.test_app(), app.app_context():
        async with database.transaction() as session:
            connection = await session.connection()
            tables = [TABLES[name] for name in kinds]
            await connection.run_sync(lambda sync: Base.metadata.create_all(sync, tables=tables))
        made = []
        async with database.transaction() as session:
            for name, kind in kinds.items():
                given, taken = read_schema(name), create_schema(name)
                for sent, expected in ({text: text for text in kind.taken} | kind.changed).items():
                    entity = MODELS[name](**taken.model_validate_json(body(sent), strict=True).model_dump())
                    session.add(entity)
                    await session.flush()
                    schemas = [given.model_validate(entity)]
                    await session.refresh(entity)
                    schemas.append(given.model_validate(entity))
                    made.append((name, entity.id, sent, expected, given, schemas))
        async with database.read() as session:
            for name, key, sent, expected, given, schemas in made:
                model = MODELS[name]
                row = (await session.execute(select(model.value).where(model.id == key))).one()
                schemas += [given.model_validate(row), await get_or_404(session, model, key, into=given)]
                written = [json.loads(OUTPUTS[name].to_json(schema))["value"] for schema in schemas]
                same = KINDS[name].reads_as
                if any(same(value) != same(json.loads(expected)) for value in written):
                    wrong.append((name, sent, written))
    assert wrong == []


@pytest.mark.parametrize(("name", "text"), REFUSED)
def test_what_a_column_cannot_hold_is_refused(name: str, text: str) -> None:
    """A body that its column could not store, or would change, is refused by its schema."""
    with pytest.raises(ValidationError):
        create_schema(name).model_validate_json(body(text), strict=True)


@pytest.mark.parametrize("name", KINDS)
def test_both_directions_are_documented(name: str) -> None:
    """Type, format and bounds of a column are in the JSON Schema of what is taken and of what is given."""
    kind = KINDS[name]
    given = property_of(read_schema(name).model_json_schema(schema_generator=SchemaGenerator, mode="serialization"))
    taken = property_of(create_schema(name).model_json_schema(schema_generator=SchemaGenerator))

    assert kind.schema.items() <= given.items()
    assert (kind.schema | kind.bounds).items() <= taken.items()
    assert {"type": "null"} not in given.get("anyOf", ())
    assert {"type": "null"} not in taken.get("anyOf", ())


def property_of(schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema["properties"]["value"]
    reference = found.get("$ref")
    return schema["$defs"][reference.rpartition("/")[2]] if reference else found


@pytest.mark.parametrize("name", KINDS)
def test_a_query_field_has_its_columns_constraints(name: str) -> None:
    """`column_annotation` makes of a value what the column stores, and refuses what its schema refuses."""
    adapter: TypeAdapter[Any] = TypeAdapter(column_annotation(MODELS[name].value))
    for text in (*KINDS[name].taken, *KINDS[name].changed):
        stored = create_schema(name).model_validate_json(body(text)).model_dump()["value"]
        assert adapter.validate_json(text) == stored
    for refused in KINDS[name].refused:
        with pytest.raises(ValidationError):
            adapter.validate_json(refused, strict=True)


def test_an_unknown_type_says_what_to_do() -> None:
    """A column without a form in JSON is an error of the class, with its name, type and remedy; declared, it is not."""

    class Base(Model, DeclarativeBase):
        metadata = MetaData()

    class Lamp(Identified, Base):
        __tablename__ = "lamp"
        words: Mapped[Any] = mapped_column(postgresql.TSVECTOR)

    with pytest.raises(UnknownColumnType, match=r"Lamp\.words is a column of type TSVECTOR.*exclude="):

        class Broken(ReadSchema, model=Lamp): ...

    class Declared(ReadSchema, model=Lamp):
        words: str

    class Without(ReadSchema, model=Lamp, exclude={"words"}): ...

    assert (list(Declared.model_fields), list(Without.model_fields)) == (["id", "words"], ["id"])


class Money:
    """A value of a library that Pydantic does not know."""

    def __init__(self, text: str) -> None:
        self.text = text


class Untold(TypeDecorator[Any]):
    """A type that does not say what it makes."""

    impl = String
    cache_ok = True

    def process_result_value(self, value, _dialect):  # type: ignore[no-untyped-def]  # the case of this test
        """Make something else of the text."""
        return Money(value)

    def process_bind_param(self, value, _dialect):  # type: ignore[no-untyped-def]  # as above
        """Make text again."""
        return value.text


class Told(Untold):
    """A type that says that it makes something unknown."""

    cache_ok = True

    def process_result_value(self, value: Any, _dialect: Any) -> Money:
        """Make something else of the text."""
        return Money(value)


class Paid(Untold):
    """A type that is registered."""

    cache_ok = True


def make_coin(type_: Any) -> Any:
    """Return a model with a column of a type."""

    class Base(Model, DeclarativeBase):
        metadata = MetaData()

    class Coin(Identified, Base):
        __tablename__ = "coin"
        value: Mapped[Any] = mapped_column(type_)

    return Coin


UTILS = [name for name, kind in vars(utils).items() if isinstance(kind, type) and issubclass(kind, TypeEngine)]
GUIDE = (Path(__file__).parents[2] / "docs" / "schemas.md").read_text()
SUPPORTED = {
    "ChoiceType",
    "EmailType",
    "EncryptedType",
    "IPAddressType",
    "JSONType",
    "ScalarListType",
    "StringEncryptedType",
    "URLType",
    "UUIDType",
}


@pytest.mark.parametrize("type_", [Untold, Told], ids=lambda kind: kind.__name__)
def test_nobody_guesses_what_a_type_makes(type_: Any) -> None:
    """A type that changes what is stored is not taken for what it stores: the class says so, and how to help."""
    with pytest.raises(UnknownColumnType, match=rf"Coin\.value .* {type_.__name__}.*register_column_type"):

        class Broken(ReadSchema, model=make_coin(type_)): ...


@pytest.mark.parametrize("name", UTILS)
def test_each_type_of_sqlalchemy_utils_is_supported_or_refused(name: str) -> None:
    """A type of sqlalchemy-utils that is not in the guide's table is refused by its name."""
    kind = getattr(utils, name)
    type_ = object.__new__(kind)  # most need another library when they are called
    if name in SUPPORTED:
        assert f"`{name}`" in GUIDE
        return
    with pytest.raises(UnknownColumnType, match=name):
        wire_of(type_, "Coin.value")


async def test_a_type_can_be_registered(database_url: str) -> None:
    """A registered type, and its subclasses, travel as their annotation says, there and back."""
    amount = Annotated[
        Any,
        PlainValidator(lambda value: value if isinstance(value, Money) else Money(value)),
        PlainSerializer(lambda money: money.text, return_type=str, when_used="json"),
        WithJsonSchema({"type": "string"}),
    ]
    register_column_type(Paid, amount)

    class Cheap(Paid):
        cache_ok = True

    coin = make_coin(Cheap)

    class CoinRead(ReadSchema, model=coin): ...

    class CoinCreate(CreateSchema, model=coin): ...

    database = Database(coin.__bases__[1])
    app = make_app(database_url, database=database)
    async with app.test_app(), app.app_context(), database.transaction() as session:
        connection = await session.connection()
        await connection.run_sync(coin.metadata.create_all)
        row = coin(**CoinCreate.model_validate_json('{"value": "5 EUR"}', strict=True).model_dump())
        session.add(row)
        await session.flush()
        await session.refresh(row)
        assert row.value.text == "5 EUR"
        assert json.loads(CoinRead.model_validate(row).model_dump_json())["value"] == "5 EUR"


@pytest.mark.parametrize(("type_", "annotation"), [(str, str), (Told, Money)])
def test_only_what_can_work_is_registered(type_: Any, annotation: Any) -> None:
    """A class that is not a column type, and an annotation that Pydantic does not know, are errors at once."""
    with pytest.raises(TypeError, match=r"column types|Pydantic does not know"):
        register_column_type(type_, annotation)


def test_what_is_stored_can_be_read() -> None:
    """A read schema documents lengths and ranges, and refuses no row for them."""
    given: type[BaseModel] = read_schema("String")

    assert given.model_validate({"value": "longer than five"}).model_dump() == {"value": "longer than five"}


class CrateBase(Model, DeclarativeBase):
    """The tables of crates."""


class Crate(Identified, CrateBase):
    """Columns of JSON that are declared as objects and lists."""

    __tablename__ = "typed_json_crate"

    labels: Mapped[dict[str, Any]] = mapped_column(JSON)
    notes: Mapped["dict[str, str] | None"] = mapped_column(JSON)
    parts: Mapped[list[int]] = mapped_column(JSON)
    anything: Mapped[Any] = mapped_column(JSON)


class CrateCreate(CreateSchema, model=Crate): ...


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({"labels": {"a": [1]}, "notes": None, "parts": [1], "anything": 5}, []),
        ({"labels": [], "parts": {}, "anything": []}, ["labels", "parts"]),
        ({"labels": "a", "notes": {"a": 1}, "parts": ["1"], "anything": {}}, ["labels", "notes", "parts"]),
        ({"labels": None, "parts": [], "anything": 1}, ["labels"]),
    ],
)
def test_json_columns_take_what_they_are_declared_as(body: dict[str, Any], places: list[str]) -> None:
    """`Mapped[dict[str, Any]]` takes objects only, and `Mapped[list[int]]` lists of integers."""
    try:
        CrateCreate.model_validate_json(json.dumps(body), strict=True)
        found = []
    except ValidationError as error:
        found = [str(item["loc"][0]) for item in error.errors()]

    assert found == places
