"""The schemas of the document."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import uuid4

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.json_schema import JsonSchemaMode
from quart import Blueprint
from typing_extensions import TypedDict

from ligand_async import Page, operation
from ligand_async.docs.schemas import PREFIX, SchemaGenerator, Schemas
from ligand_async.errors import Conflict, InvalidPart
from tests.docs import namesakes, sample
from tests.docs.documents import answer_schema, describe, make_docs_app, operations

TOY = "tests__docs__sample__Toy"
T = TypeVar("T")


class Wrapped(BaseModel, Generic[T]):
    data: T


def schemas_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from schemas_in(part)


def test_every_model_has_a_name(documented: dict[str, Any]) -> None:
    """An answer refers to its model, in a list too."""
    assert answer_schema(documented["read_toy"]) == {"$ref": f"#/components/schemas/{TOY}"}
    assert answer_schema(documented["add_toys_photo"], 201) == {
        "type": "array",
        "items": {"$ref": f"#/components/schemas/{TOY}"},
    }


def test_a_generic_model_is_named_by_its_parts(components: dict[str, Any]) -> None:
    """A page of toys is not a page of anything else."""
    toys = components["ToyPage_tests_docs_sample_Toy"]["properties"]["items"]
    assert toys["items"] == {"$ref": f"#/components/schemas/{TOY}"}


def test_models_of_one_name_stay_apart(components: dict[str, Any]) -> None:
    """Models of one name in two modules are two schemas."""
    assert set(components["tests__docs__namesakes__Toy"]["properties"]) == {"kind"}
    assert "made_at" in components[TOY]["properties"]


class Lynx(BaseModel):
    kind: Literal["lynx"]


class Wolf(BaseModel):
    kind: Literal["wolf"]


class Orders:
    class Read(BaseModel):
        number: int


Animal = Annotated[Lynx | Wolf, Field(discriminator="kind")]
NAMES: dict[str, tuple[Any, str]] = {
    "a page": (Page[Lynx], "Page_Lynx"),
    "a union": (Page[Lynx | Wolf], "Page_Lynx_or_Wolf"),
    "a discriminated union": (Page[Animal], "Page_Lynx_or_Wolf"),
    "metadata": (Page[Annotated[Lynx, Field(description="It says so.")]], "Page_Lynx"),
    "a page of pages": (Page[Page[Lynx]], "Page_Page_Lynx"),
    "a nested class": (Page[Orders.Read], "Page_Read"),
    "an argument that may be null": (Wrapped[Lynx | None], "Wrapped_Lynx_or_None"),
    "a list": (Wrapped[list[Lynx]], "Wrapped_list_Lynx"),
    "a mapping": (Wrapped[dict[str, int]], "Wrapped_dict_str_int"),
    "a bounded text": (Wrapped[Annotated[str, Field(max_length=3)]], "Wrapped_str"),
    "a literal": (Wrapped[Literal["a b", "c"]], "Wrapped_Literal_a_b_or_c"),
    "many": (Wrapped[Literal["a", "b", "c", "d", "e"]], "Wrapped_Literal_a_or_b_or_3_others"),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_of_generic_models_are_short(case: str) -> None:
    """The class and its parts, without metadata, modules or numbers."""
    type_, name = NAMES[case]
    components = Schemas([(type_, "serialization")]).components

    assert name in components
    assert not [found for found in components if "Annotated" in found or "FieldInfo" in found or "Union" in found]
    assert "x-ligand-class" not in str(components)


def test_generic_models_of_one_name_stay_apart() -> None:
    """By the modules of their parts, as those parts are named; by a number where metadata alone differs."""
    pages = [Page[sample.Toy], Page[namesakes.Toy], Page[Lynx], Page[Annotated[Lynx, Field(description="One.")]]]
    schemas = Schemas([(page, "serialization") for page in pages])

    assert [schemas.schema_of(page, "serialization")["$ref"].removeprefix(PREFIX) for page in pages] == [
        "Page_tests_docs_sample_Toy",
        "Page_tests_docs_namesakes_Toy",
        "Page_Lynx",
        "Page_Lynx_2",
    ]
    for page in pages[:2]:
        items = schemas.resolved(page, "serialization")["properties"]["items"]["items"]
        assert items["$ref"].removeprefix(PREFIX) in {TOY, "tests__docs__namesakes__Toy"}


def test_the_order_of_routes_does_not_name_schemas() -> None:
    """A document keeps its names when a route is added before the others."""
    types: list[tuple[Any, JsonSchemaMode]] = [(type_, "serialization") for type_, _ in NAMES.values()]

    assert Schemas(types).components == Schemas(types[::-1]).components


def test_inputs_and_outputs_of_one_model_are_told_apart() -> None:
    """Where they differ, each has its suffix, as its parts have."""
    page = Schemas([(Page[Lynx], "validation"), (Page[Lynx], "serialization")])

    assert [name for name in page.components if name.startswith("Page")] == ["Page_Lynx-Input", "Page_Lynx-Output"]
    assert page.schema_of(Page[Lynx], "validation") == {"$ref": f"{PREFIX}Page_Lynx-Input"}


def test_a_service_s_own_problem_does_not_replace_ours() -> None:
    """`Problem` is RFC 9457's, and a model of that name is called otherwise."""
    riddles = Blueprint("riddles", __name__)

    @riddles.get("/<int:number>")
    @operation
    async def read_riddle(number: int) -> namesakes.Problem:
        raise NotImplementedError

    schemas = describe(make_docs_app(riddles))["components"]["schemas"]
    assert "status" in schemas["Problem"]["properties"]
    assert set(schemas["ProblemModel"]["properties"]) == {"question"}


def test_only_what_is_used_is_there(components: dict[str, Any]) -> None:
    """Models whose fields became parameters leave no schema behind."""
    assert components.keys().isdisjoint({"ToyQuery", "ToyHeaders", "ToyCookies", "ListToysQuery"})


def test_there_are_no_titles(components: dict[str, Any]) -> None:
    """No schema repeats its name as a title."""
    assert not [schema for schema in schemas_in(components) if isinstance(schema.get("title"), str)]


def test_null_is_no_default(document: dict[str, Any]) -> None:
    """An optional field has no `default: null`, which clients would send."""
    assert not [schema for schema in schemas_in(document) if schema.get("default", ...) is None]


def test_a_decimal_is_a_string(components: dict[str, Any]) -> None:
    """Decimals are strings, and their bounds a pattern."""
    price = components[TOY]["properties"]["price"]
    assert (price["type"], price["format"]) == ("string", "decimal")
    assert OAS31Validator(price).is_valid("1234.56")
    assert not OAS31Validator(price).is_valid("12345.678")


@pytest.mark.parametrize("field", [Field(max_digits=6, decimal_places=2), Field(decimal_places=2), Field()])
def test_a_decimal_that_is_sent_has_no_exponent(field: Any) -> None:
    """What the document allows is taken: no pattern could say which exponents are small enough."""
    sent = TypeAdapter(Annotated[Decimal, field])
    pattern = sent.json_schema(schema_generator=SchemaGenerator)["pattern"]
    numbers = ("0", "-12.50", "+007", "1.", ".5", "1e2", "1E+82427", "", "x", "1.2.3")

    assert [text for text in numbers if re.search(pattern, text)] == ["0", "-12.50", "+007", "1.", ".5"]
    assert all(sent.validate_strings(text) is not None for text in numbers[:5])


def test_an_answer_requires_what_it_always_carries(components: dict[str, Any]) -> None:
    """A default is in every answer; a field that may be missing is not required."""
    assert set(components[TOY]["properties"]) - set(components[TOY]["required"]) == {"weight"}


def test_a_body_requires_what_has_no_default(components: dict[str, Any]) -> None:
    """A client may leave out what has a default."""
    assert components["ToyCreate"]["required"] == ["name", "price", "home"]


def test_input_and_output_are_apart_only_where_they_differ(components: dict[str, Any]) -> None:
    """A model on both sides is two schemas where the sides differ, else one."""
    assert {"Address-Input", "Address-Output", "Loose", "Colour"} <= components.keys()
    assert components.keys().isdisjoint({"Address", "Loose-Input", "Colour-Input"})


@pytest.mark.parametrize(("name", "closed"), [("ToyCreate", False), ("Address-Input", False), ("Loose", True)])
def test_a_body_refuses_unknown_members(components: dict[str, Any], name: str, *, closed: bool) -> None:
    """Bodies of operations take no unknown members unless their model says so."""
    assert components[name]["additionalProperties"] is closed


@pytest.mark.parametrize("name", [TOY, "Address-Output", "Greeting"])
def test_others_say_nothing_of_unknown_members(components: dict[str, Any], name: str) -> None:
    """Answers may grow, and quart-schema's own bodies ignore what they do not know."""
    assert "additionalProperties" not in components[name]


def test_each_model_of_a_body_answers_for_its_own_unknown_members() -> None:
    """A model that ignores unknown members does not open those that it holds: they are silent, so they refuse."""

    class Inner(BaseModel):
        name: str

    class Outer(BaseModel):
        model_config = ConfigDict(extra="ignore")

        inner: Inner

    things = Blueprint("things", __name__)
    things.add_url_rule("/", "create_thing", operation(taking(Outer)), methods=["POST"])
    schemas = describe(make_docs_app(things))["components"]["schemas"]
    assert schemas["Inner"]["additionalProperties"] is False
    assert "additionalProperties" not in schemas["Outer"]


def taking(model: type[BaseModel]) -> Any:
    async def handler(data: BaseModel) -> None:
        pass

    handler.__annotations__["data"] = model
    return handler


def test_our_problems_fit_their_schema(document: dict[str, Any]) -> None:
    """What an error answers is what the document says about problems."""
    schema = {"$ref": "#/components/schemas/Problem", "components": document["components"]}
    problem = Conflict("taken", errors=[InvalidPart(detail="taken", code="unique", pointer="/name")], key="name")
    members = problem.document(request_id=str(uuid4()))
    OAS31Validator(schema).validate(members)
    described = document["components"]["schemas"]["Problem"]["properties"].keys()
    assert members.keys() - {"key"} == described


def test_a_recursive_model_is_described() -> None:
    """A model may hold itself."""
    trees = Blueprint("trees", __name__)

    @trees.post("/")
    @operation
    async def plant_tree(data: Tree) -> Tree:
        raise NotImplementedError

    told = operations(describe(make_docs_app(trees)))["plant_tree"]
    assert told["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Tree-Input"}


class Tree(BaseModel):
    children: list["Tree"] = []


def test_what_a_union_tells_apart_is_told(components: dict[str, Any]) -> None:
    """The member that says which of several is meant must be sent, although it has a default; also where both nest."""
    assert {name: components[name].get("required") for name in ("Ball-Input", "Doll-Input")} == {
        "Ball-Input": ["kind"],
        "Doll-Input": ["kind"],
    }
    assert components["Doll-Output"]["required"] == ["kind", "carries", "face"]


async def test_a_union_needs_to_be_told() -> None:
    """As the document says: without the member that tells which is meant the body is refused."""
    client = sample.make_app().test_client()
    assert (await client.put("/toys/favourite", json={"bounces": True})).status_code == 422
    answer = await client.put("/toys/favourite", json={"kind": "doll", "carries": [{"kind": "ball"}]})
    assert await answer.get_json() == {"kind": "doll", "carries": [{"kind": "ball", "bounces": True}], "face": ""}


class SmallDog(BaseModel):
    kind: Literal["dog"] = "dog"
    size: Literal["small"] = "small"


class BigDog(BaseModel):
    kind: Literal["dog"] = "dog"
    size: Literal["big"] = "big"


class Cat(BaseModel):
    kind: Literal["cat"] = Field("cat", serialization_alias="petType")


AnyDog = Annotated[SmallDog | BigDog, Field(discriminator="size")]


class Kennel(BaseModel):
    pet: Annotated[AnyDog | Cat, Field(discriminator="kind")]
    other: Annotated[SmallDog | Cat, Field(discriminator="kind")]


def test_a_union_of_unions_is_described() -> None:
    """OpenAPI cannot say how the outer one is told apart; and nothing is required that is sent by another name."""
    kennels = Blueprint("kennels", __name__)

    @kennels.get("/")
    @operation
    async def read_kennel() -> Kennel:
        raise NotImplementedError

    document = describe(make_docs_app(kennels))
    outer = document["components"]["schemas"]["Kennel"]["properties"]["pet"]
    assert "discriminator" not in outer
    assert [branch.get("discriminator", {}).get("propertyName") for branch in outer["oneOf"]] == ["size", None]
    assert document["components"]["schemas"]["Cat"]["required"] == ["petType"]
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


class Sealed(BaseModel):
    plain: Annotated[bytes, Field(min_length=2, max_length=4)]


class Encoded(Sealed):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="hex")


def test_bytes_are_the_text_that_they_are_sent_as() -> None:
    """In JSON no member is binary: it is UTF-8, or what the model's configuration makes of it."""
    seals = Blueprint("seals", __name__)

    @seals.post("/plain")
    @operation
    async def keep_plain(data: Sealed) -> Sealed:
        raise NotImplementedError

    @seals.post("/encoded")
    @operation
    async def keep_encoded(data: Encoded) -> Encoded:
        raise NotImplementedError

    schemas = describe(make_docs_app(seals))["components"]["schemas"]
    told = {name: schema["properties"]["plain"] for name, schema in schemas.items() if "plain" in str(schema)}
    assert told == {
        "Sealed-Input": {"type": "string", "maxLength": 4},
        "Sealed-Output": {"type": "string", "maxLength": 4},
        "Encoded-Input": {"type": "string", "contentEncoding": "base16"},
        "Encoded-Output": {"type": "string", "contentEncoding": "base64url"},
    }


class Size(TypedDict):
    width: int


def test_a_typed_dict_has_a_name() -> None:
    """A `TypedDict` is described like a model, without its name as a title."""
    sizes = Blueprint("sizes", __name__)

    @sizes.post("/")
    @operation
    async def keep_size(data: Size) -> None:
        pass

    schemas = describe(make_docs_app(sizes))["components"]["schemas"]
    assert schemas["Size"] == {
        "type": "object",
        "properties": {"width": {"type": "integer"}},
        "required": ["width"],
        "additionalProperties": False,
    }


Names = Annotated[list[str], Field(min_length=1), ["a note, which has no hash"]]


def test_an_annotated_body_keeps_its_bounds() -> None:
    """A body may be a bare list with bounds of its own, whatever else its annotation holds."""
    names = Blueprint("names", __name__)

    @names.post("/")
    @operation
    async def keep_names(data: Names) -> None:
        pass

    body = operations(describe(make_docs_app(names)))["keep_names"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"type": "array", "items": {"type": "string"}, "minItems": 1}


class Poster(BaseModel):
    model_config = ConfigDict(title="A poster for the wall")

    text: str


def test_a_title_that_somebody_wrote_stays() -> None:
    """Only titles that repeat a name are dropped."""
    posters = Blueprint("posters", __name__)

    @posters.post("/")
    @operation
    async def print_poster(data: Poster) -> None:
        pass

    assert describe(make_docs_app(posters))["components"]["schemas"]["Poster"]["title"] == "A poster for the wall"


class Tea(BaseModel):
    kind: Literal["tea"] = "tea"


class Mug(BaseModel):
    kind: Literal["mug"] = "mug"


class Crate(BaseModel, Generic[T]):
    content: T


def test_generic_models_have_short_names() -> None:
    """A name tells the arguments, never their metadata; two of one name are numbered, in the order of their use."""
    ware = Annotated[Tea | Mug, Field(discriminator="kind")]
    crates = [
        Crate[ware],
        Crate[Tea | Mug],
        Crate[list[ware]],
        Crate[Crate[ware]],
        Crate[Tea | None],
        Crate[Literal[1]],
    ]

    def names() -> set[str]:
        return {name for name in Schemas([(crate, "validation") for crate in crates]).components if "Crate" in name}

    assert (
        names()
        == names()
        == {
            "Crate_Tea_or_Mug",
            "Crate_Tea_or_Mug_2",
            "Crate_list_Tea_or_Mug",
            "Crate_Crate_Tea_or_Mug",
            "Crate_Tea_or_None",
            "Crate_Literal_1",
        }
    )
