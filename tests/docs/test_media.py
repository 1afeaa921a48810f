"""Files, headers and examples in the document, as they are sent."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field
from quart import Blueprint, Response
from typing_extensions import TypedDict

from ligand_async import limit, operation, public
from ligand_async.testing import watch
from ligand_async.web import Media
from tests.docs.describing import describe, operations, parameters
from tests.shop import make_app, running
from tests.web.serving import NEVER_OPENED

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
def document() -> dict[str, Any]:
    return describe(make_app(NEVER_OPENED, things, database=None))


def test_a_download_has_its_media_types(document: dict[str, Any]) -> None:
    """What is made by hand is bytes, text or any JSON, as its media type says."""
    content = operations(document)["read_things_photo"]["responses"]["200"]["content"]
    assert content == {
        "image/png": {"schema": {"type": "string", "format": "binary"}},
        "text/plain": {"schema": {"type": "string"}},
        "application/geo+json": {"schema": {}},
    }


def test_headers_of_an_answer_are_described(document: dict[str, Any]) -> None:
    """The headers of a tuple are those of its `TypedDict`, beside those of the quota."""
    responses = operations(document)["read_things_coloured"]["responses"]
    assert responses["200"]["headers"]["X-Colour"] == {"required": True, "schema": {"type": "string"}}
    assert responses["200"]["headers"].keys() >= {"RateLimit", "RateLimit-Policy"}
    assert responses["429"]["headers"].keys() == {"RateLimit", "RateLimit-Policy", "Retry-After"}


def test_examples_are_kept(document: dict[str, Any]) -> None:
    """Examples of models, of fields and of parameters reach the document."""
    assert document["components"]["schemas"]["Thing"]["examples"] == [{"name": "Rex"}]
    assert document["components"]["schemas"]["Thing"]["properties"]["name"]["examples"] == ["Rex"]
    assert parameters(operations(document)["read_things_coloured"])["size"]["schema"]["examples"] == [3]


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
