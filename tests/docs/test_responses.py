"""Bodies, answers and errors of operations."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from openapi_schema_validator import OAS31Validator
from quart import Blueprint, Response
from quart_schema import document_response, validate_response
from typing_extensions import TypedDict

from ligand_async.errors import NotFound, Problem
from ligand_async.web import Media, operation
from tests.docs.describing import describe, make_app, operations


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

    response = operations(describe(make_app(posts)))["read_post"]["responses"]["404"]
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

    told = operations(describe(make_app(posts)))
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

    assert "Location" in operations(describe(make_app(posts)))["send_post"]["responses"]["303"]["headers"]


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

    told = operations(describe(make_app(counts)))["read_count"]
    assert told["responses"]["200"]["headers"] == {"x-cursor": {"required": True, "schema": {"type": "string"}}}


@dataclass
class CountHeaders:
    x_cursor: str
