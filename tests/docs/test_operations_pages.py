"""Lists in the document: their parameters and their pages."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import Field
from quart import Blueprint

from ligand_async import CursorParams, Filter, OffsetParams, Page, PageParams, Sort, operation
from tests.docs.documents import describe, make_docs_app, operations, parameters
from tests.web.things import Thing, ThingRead


class ThingQuery(CursorParams):
    rank: Annotated[int | None, Filter(Thing.rank, "ge")] = None
    label: Annotated[str | None, Filter(Thing.word, "contains"), Field(max_length=9, description="A part.")] = None
    keys: Annotated[list[UUID] | None, Filter(Thing.key, "in")] = None
    since: Annotated[datetime | None, Filter(Thing.moment, "ge")] = None
    sort: Sort[Literal["rank", "-rank"]] = ("rank",)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    things = Blueprint("things", __name__)

    @things.get("/cursor")
    @operation
    async def list_things_by_cursor(query_args: ThingQuery) -> Page[ThingRead]:
        raise NotImplementedError

    @things.get("/number")
    @operation
    async def list_things_by_number(query_args: OffsetParams) -> Page[ThingRead]:
        raise NotImplementedError

    @things.get("/either")
    @operation
    async def list_things_either_way(query_args: PageParams) -> Page[ThingRead]:
        raise NotImplementedError

    return describe(make_docs_app(things))


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("list_things_by_cursor", {"Link"}),
        ("list_things_by_number", {"Link", "X-Pagination"}),
        ("list_things_either_way", {"Link", "X-Pagination"}),
    ],
)
def test_pages_have_the_headers_that_they_are_sent_with(document: dict[str, Any], name: str, headers: set[str]) -> None:
    """`Link` always, `X-Pagination` where a page may be asked for by number."""
    described = operations(document)[name]["responses"]["200"]["headers"]

    assert headers <= described.keys()
    assert ("X-Pagination" in described) == ("X-Pagination" in headers)


def test_a_page_says_what_may_be_null(document: dict[str, Any]) -> None:
    """Every member is always there."""
    page = document["components"]["schemas"]["Page_ThingRead"]

    assert page["required"] == ["items", "next_cursor", "total"]
    assert page["properties"]["next_cursor"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert all("description" in page["properties"][name] for name in ("next_cursor", "total"))


def test_filters_have_the_types_and_bounds_of_their_columns(document: dict[str, Any]) -> None:
    """And what the field says of itself."""
    told = parameters(operations(document)["list_things_by_cursor"])

    assert told["rank"]["schema"] | {"format": "int32"} == {
        "type": "integer",
        "format": "int32",
        "minimum": -(2**31),
        "maximum": 2**31 - 1,
    }
    assert (told["label"]["schema"]["maxLength"], told["label"]["description"]) == (9, "A part.")
    assert told["keys"]["schema"] == {"type": "array", "items": {"type": "string", "format": "uuid"}, "maxItems": 100}
    assert told["since"]["schema"] == {"type": "string", "format": "date-time"}
    assert told["rank"]["description"] == "Only what is this or more."


def test_sorts_are_those_that_are_declared(document: dict[str, Any]) -> None:
    """With the default, and what a name means."""
    sort = parameters(operations(document)["list_things_by_cursor"])["sort"]

    assert sort["schema"] == {
        "type": "array",
        "items": {"type": "string", "enum": ["rank", "-rank"]},
        "default": ["rank"],
    }
    assert "`-` before a name" in sort["description"]


def test_a_client_that_sends_defaults_asks_for_one_kind_of_page(document: dict[str, Any]) -> None:
    """No default is told for the parameters of which only some may be sent."""
    told = parameters(operations(document)["list_things_either_way"])

    assert told.keys() == {"limit", "cursor", "page", "page_size"}
    assert [name for name, parameter in told.items() if "default" in parameter["schema"]] == []
    assert parameters(operations(document)["list_things_by_number"])["page_size"]["schema"]["default"] == 10


def test_a_cursor_has_the_characters_of_base64url(document: dict[str, Any]) -> None:
    """A client, or a program that tries requests, need not send what can never be a cursor."""
    cursor = parameters(operations(document)["list_things_either_way"])["cursor"]
    assert cursor["schema"] == {"type": "string", "maxLength": 2048, "pattern": "^[A-Za-z0-9_-]+$"}
