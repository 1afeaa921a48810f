"""Every kind of column, from JSON to the database and back."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import JSON, MetaData, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ligand_async import CreateSchema, Database, Identified, Model, ReadSchema, get_or_404
from ligand_async.data.schemas import UnknownColumnType, column_annotation
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
