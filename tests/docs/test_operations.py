"""Parameters, bodies, answers and errors of operations, with their headers and examples."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from openapi_schema_validator import OAS31Validator
from pydantic import BaseModel, ConfigDict, Field
from quart import Blueprint, Response
from quart_schema import document_response, validate_response
from typing_extensions import TypedDict

from ligand_async import limit, operation, public
from ligand_async.errors import NotFound, Problem
from ligand_async.testing import watch
from ligand_async.web import Media
from tests.docs.documents import describe, make_docs_app, operations, parameters
from tests.services import NEVER_OPENED, make_app, running


@dataclass
class Count:
    count: int


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("list_toys", {"200", "304", "422"}),
        ("create_toy", {"201", "400", "409", "413", "415", "422"}),
        ("read_toy", {"200", "304", "404", "422"}),
        ("delete_toy", {"204", "404", "422"}),
        ("put_shelves_shelf", {"200", "400", "404", "413", "415", "422"}),
        ("list_toys_namesakes", {"200", "304", "422"}),
        ("read_plain_greeting", {"200", "422"}),
    ],
)
def test_the_errors_are_those_of_what_is_read_and_raised(
    documented: dict[str, Any], name: str, statuses: set[str]
) -> None:
    """Statuses follow from what is read: path, query, body; some are in `raises`; a read may be 304.

    The default stands for every other problem, or for every answer of a view that declares none.
    """
    assert documented[name]["responses"].keys() == statuses | {"default"}


def test_statuses_are_in_order(documented: dict[str, Any]) -> None:
    """The answers of an operation come in the order of their status."""
    answers = list(documented["create_toy"]["responses"])
    assert answers == sorted(answers)


def test_an_error_is_a_problem(documented: dict[str, Any]) -> None:
    """Every error is answered as the one Problem; the words and the examples say which it may be."""
    assert documented["create_toy"]["responses"]["409"] == {
        "description": "Conflict; Out of Stock (`https://example.com/out-of-stock`)",
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {
                    "conflict": {"value": {"type": "about:blank", "title": "Conflict", "status": 409}},
                    "https-example.com-out-of-stock": {
                        "value": {"type": "https://example.com/out-of-stock", "title": "Out of Stock", "status": 409}
                    },
                },
            }
        },
    }


def test_each_example_fits(document: dict[str, Any], documented: dict[str, Any]) -> None:
    """An example is a problem of the status that it stands at."""
    schema = {"$ref": "#/components/schemas/Problem", "components": document["components"]}
    examples = [
        (status, example["value"])
        for operation in documented.values()
        for status, answer in operation["responses"].items()
        for example in answer.get("content", {}).get("application/problem+json", {}).get("examples", {}).values()
    ]
    assert len(examples) > 20
    for status, example in examples:
        OAS31Validator(schema).validate(example)
        assert str(example["status"]) == status


def test_an_empty_answer_has_no_content(documented: dict[str, Any]) -> None:
    """204 has no body."""
    assert documented["delete_toy"]["responses"]["204"] == {"description": "No Content"}


def test_a_created_thing_has_a_location(documented: dict[str, Any]) -> None:
    """`location` is a header of success and of nothing else."""
    answers = documented["create_toy"]["responses"]
    assert {status for status, answer in answers.items() if "headers" in answer} == {"201"}
    assert answers["201"]["headers"]["Location"]["schema"] == {"type": "string", "format": "uri-reference"}


class OddPet(NotFound):
    type = "/problems/not-found"
    title = "No Such Pet"


class Strange(Problem):
    code = 404
    type = "/problems/東京"
    title = "日本"


def test_examples_do_not_take_each_other_s_place() -> None:
    """Whatever problems are called, each has an example with a name."""
    posts = Blueprint("posts", __name__)

    @posts.get("/<int:number>")
    @operation(raises=[OddPet, Strange])
    async def read_post(number: int) -> None:
        raise NotImplementedError

    response = operations(describe(make_docs_app(posts)))["read_post"]["responses"]["404"]
    examples = response["content"]["application/problem+json"]["examples"]
    assert {name: example["value"]["type"] for name, example in examples.items()} == {
        "not-found": "about:blank",
        "not-found-2": "/problems/not-found",
        "problem-404": "/problems/東京",
    }


Kept = TypedDict("Kept", {"X-Kept": str})


def test_other_successes_have_what_the_first_has() -> None:
    """The headers of a tuple, and the media type of what is made by hand."""
    posts = Blueprint("posts", __name__)

    @posts.put("/kept")
    @document_response(Count, 201)
    @document_response(Count, 409)
    @operation
    async def keep_post() -> tuple[Count, int, Kept]:
        raise NotImplementedError

    @posts.get("/made")
    @document_response(Response, 203)
    @document_response(None, 204)
    @operation
    async def make_post() -> Annotated[Response, Media("text/plain")]:
        raise NotImplementedError

    told = operations(describe(make_docs_app(posts)))
    kept = told["keep_post"]["responses"]
    assert ["X-Kept" in kept[status].get("headers", {}) for status in ("200", "201", "409")] == [True, True, False]
    made = told["make_post"]["responses"]
    assert {status: list(made[status].get("content", {})) for status in ("200", "203", "204")} == {
        "200": ["text/plain"],
        "203": ["text/plain"],
        "204": [],
    }


def test_a_redirect_has_a_location() -> None:
    """An answer that says where to look has its address, though it is no success of the usual kind."""
    posts = Blueprint("posts", __name__)

    @posts.post("/")
    @operation(status=303, location="posts.send_post")
    async def send_post() -> None:
        raise NotImplementedError

    assert "Location" in operations(describe(make_docs_app(posts)))["send_post"]["responses"]["303"]["headers"]


def test_an_upload_is_multipart(documented: dict[str, Any], components: dict[str, Any]) -> None:
    """A form with a file is multipart only, and the file is binary."""
    assert list(documented["add_toys_photo"]["requestBody"]["content"]) == ["multipart/form-data"]
    assert components["Photo"]["properties"]["image"] == {"type": "string", "format": "binary"}


def test_a_form_is_taken_in_both_encodings(documented: dict[str, Any]) -> None:
    """A form without files comes in either encoding, and a body is always required."""
    body = documented["log_toys_in"]["requestBody"]
    assert list(body["content"]) == ["application/x-www-form-urlencoded", "multipart/form-data"]
    assert body["required"] is True


def test_headers_of_quart_schema_s_answers_are_described() -> None:
    """The headers model of `validate_response` becomes the answer's headers."""
    counts = Blueprint("counts", __name__)

    @counts.get("/")
    @validate_response(Count, 200, CountHeaders)
    async def read_count() -> tuple[Count, int, CountHeaders]:
        return Count(1), 200, CountHeaders("x")

    told = operations(describe(make_docs_app(counts)))["read_count"]
    assert told["responses"]["200"]["headers"] == {"x-cursor": {"required": True, "schema": {"type": "string"}}}


@dataclass
class CountHeaders:
    x_cursor: str


@pytest.mark.parametrize(
    ("converter", "schema"),
    [
        ("uuid", {"type": "string", "format": "uuid"}),
        ("int", {"type": "integer", "minimum": 0}),
        ("int(signed=True, max=9)", {"type": "integer", "maximum": 9}),
        ("float(min=0.5)", {"type": "number", "minimum": 0.5}),
        ("any(up, down)", {"type": "string", "enum": ["down", "up"]}),
        ("path", {"type": "string"}),
        ("string", {"type": "string"}),
    ],
)
def test_a_path_variable_is_what_its_converter_reads(converter: str, schema: dict[str, Any]) -> None:
    """A path variable is required and has the bounds of its converter."""
    things = Blueprint("things", __name__)

    @things.get(f"/<{converter}:key>")
    async def read_thing(key: Any) -> str:
        return str(key)

    told = operations(describe(make_docs_app(things)))["read_thing"]
    assert told["parameters"] == [{"name": "key", "in": "path", "required": True, "schema": schema}]


def test_query_parameters_are_the_model_s_fields_and_single_ones(documented: dict[str, Any]) -> None:
    """The query string's model and the handler's own scalars are described together."""
    told = parameters(documented["list_toys"])
    assert {name: parameter["in"] for name, parameter in told.items()} == dict.fromkeys(
        ("colours", "since", "limit", "verbose"), "query"
    )
    assert told["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 10}


def test_an_absent_parameter_is_not_null(documented: dict[str, Any]) -> None:
    """A parameter that may be absent is never null, and its description is its own."""
    assert parameters(documented["list_toys"])["since"] == {
        "name": "since",
        "in": "query",
        "required": False,
        "description": "Made at this time or later.",
        "schema": {"type": "string", "format": "date-time"},
    }


def test_headers_have_hyphens_unless_they_are_named(documented: dict[str, Any]) -> None:
    """A header is described by the name that is read: hyphens for underscores, an alias as it is."""
    told = parameters(documented["read_toy"])
    assert (told["x-reason"]["in"], told["x-reason"]["required"]) == ("header", True)
    assert (told["X_Trace"]["in"], told["X_Trace"]["required"]) == ("header", False)


def test_cookies_are_parameters(documented: dict[str, Any]) -> None:
    """What is read from cookies is described."""
    assert parameters(documented["read_toy"])["theme"]["in"] == "cookie"


ThingHeaders = TypedDict("ThingHeaders", {"X-Colour": str})


class Thing(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Rex"}]})

    name: Annotated[str, Field(examples=["Rex"])]


class ThingQuery(BaseModel):
    size: Annotated[int, Field(examples=[3])] = 1


things = public(Blueprint("things", __name__, url_prefix="/things"))


@things.get("/photo")
@operation
async def read_photo() -> Annotated[Response, Media("image/png", "text/plain", "application/geo+json")]:
    """Read a photo."""
    return Response(b"\x89PNG", content_type="image/png")


@things.get("/coloured")
@limit("10/minute")
@operation
async def read_coloured(query_args: ThingQuery) -> tuple[Thing, int, ThingHeaders]:
    """Read a thing, and its colour in a header."""
    return Thing(name="Rex"), 200, {"X-Colour": "red"}


@pytest.fixture(scope="module")
def things_document() -> dict[str, Any]:
    return describe(make_app(NEVER_OPENED, things, database=None))


def test_a_download_has_its_media_types(things_document: dict[str, Any]) -> None:
    """What is made by hand is bytes, text or any JSON, as its media type says."""
    content = operations(things_document)["read_things_photo"]["responses"]["200"]["content"]
    assert content == {
        "image/png": {"schema": {"type": "string", "format": "binary"}},
        "text/plain": {"schema": {"type": "string"}},
        "application/geo+json": {"schema": {}},
    }


def test_headers_of_an_answer_are_described(things_document: dict[str, Any]) -> None:
    """The headers of a tuple are those of its `TypedDict`, beside those of the quota."""
    responses = operations(things_document)["read_things_coloured"]["responses"]
    assert responses["200"]["headers"]["X-Colour"] == {"required": True, "schema": {"type": "string"}}
    assert responses["200"]["headers"].keys() >= {"RateLimit", "RateLimit-Policy"}
    assert responses["429"]["headers"].keys() == {"RateLimit", "RateLimit-Policy", "Retry-After"}


def test_examples_are_kept(things_document: dict[str, Any]) -> None:
    """Examples of models, of fields and of parameters reach the document."""
    assert things_document["components"]["schemas"]["Thing"]["examples"] == [{"name": "Rex"}]
    assert things_document["components"]["schemas"]["Thing"]["properties"]["name"]["examples"] == ["Rex"]
    assert parameters(operations(things_document)["read_things_coloured"])["size"]["schema"]["examples"] == [3]


async def test_what_is_sent_is_documented() -> None:
    """A file, a header and a quota that is used up are as the document says."""
    app = make_app(NEVER_OPENED, things, database=None)
    conformance = watch(app)
    async with running(app, tables=False) as client:
        photo = await client.get("/things/photo")
        statuses = [(await client.get("/things/coloured")).status_code for _ in range(11)]
    assert photo.content_type == "image/png"
    assert statuses == [200] * 10 + [429]
    assert ("read_things_coloured", "429") in conformance.reached


@pytest.mark.parametrize("types", [(), ("png",), ("image/",)])
def test_a_media_type_has_two_parts(types: tuple[str, ...]) -> None:
    """A typing error in a media type is found at import."""
    with pytest.raises(ValueError, match="takes media types"):
        Media(*types)
