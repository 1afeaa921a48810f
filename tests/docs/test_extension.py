"""Corrections of quart-schema. When a test of "still needed" fails, remove that correction in docs/extension.py."""

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from pydantic_core import PydanticSerializationError
from quart import Quart
from quart_schema import Contact, Info, QuartSchema
from werkzeug.datastructures import MultiDict

from tests.docs.documents import make_docs_app


class Card(BaseModel):
    card_id: int = Field(serialization_alias="cardId")


class Markup:
    def __html__(self) -> str:
        return "<b>hi</b>"


def bare_app() -> Quart:
    app = Quart(__name__)
    QuartSchema(app, openapi_path=None, conversion_preference="pydantic")
    return app


async def answer_with(app: Quart, value: Any) -> tuple[int, Any]:
    @app.get("/")
    async def view() -> Any:
        return value

    response = await app.test_client().get("/")
    return response.status_code, await response.get_json()


def test_the_json_provider_is_still_needed() -> None:
    """quart-schema 0.25 loses `__html__` and raises no `TypeError`; mended, `_LigandJSONProvider.default` may go."""
    for value in (Markup(), object()):
        with pytest.raises(PydanticSerializationError):
            bare_app().json.dumps(value)


def test_the_info_is_still_needed() -> None:
    """quart-schema 0.25 leaves the contact as an object that JSON cannot hold; mended, `_Info` may go."""
    written = Info(title="T", version="1", contact=Contact(name="Ann")).schema(camelize=True)
    assert written["contact"] == Contact(name="Ann")


async def test_restoring_responses_is_still_needed() -> None:
    """quart-schema 0.25 answers 500 for a `MultiDict`; mended, `_restore_responses` may go."""
    status, _ = await answer_with(bare_app(), MultiDict({"a": "b"}))
    assert status == 500


@pytest.mark.parametrize("value", [MultiDict({"a": "b"}), defaultdict(str, a="b"), {"a": "b"}, ({"a": "b"}, 200)])
async def test_every_mapping_can_be_returned(value: Any) -> None:
    """A plain view may return any dict, as in plain Quart."""
    assert await answer_with(make_docs_app(), value) == (200, {"a": "b"})


@pytest.mark.parametrize(
    ("value", "status", "answer"),
    [
        (Card(card_id=1), 200, {"cardId": 1}),
        ((Card(card_id=1), 201, {"X-Card": "1"}), 201, {"cardId": 1}),
        ({"cards": [Card(card_id=1)]}, 200, {"cards": [{"cardId": 1}]}),
        ([Card(card_id=1)], 200, [{"cardId": 1}]),
    ],
)
async def test_models_can_be_returned(value: Any, status: int, answer: Any) -> None:
    """A plain view may return models, alone or within others, and they have the names that the document gives them."""
    assert await answer_with(make_docs_app(), value) == (status, answer)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Markup(), '"<b>hi</b>"'),
        (datetime(2024, 2, 29, 12, tzinfo=UTC), '"2024-02-29T12:00:00Z"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
    ],
)
def test_values_are_written_as_json(value: Any, text: str) -> None:
    """Times are RFC 3339, markup is its text."""
    assert make_docs_app().json.dumps(value) == text


def test_what_cannot_be_written_is_a_type_error() -> None:
    """The error is the standard library's, and names the type, never the value."""
    with pytest.raises(TypeError, match="object cannot be written as JSON"):
        make_docs_app().json.dumps({"key": object()})


def test_nan_is_never_written() -> None:
    """A number that JSON does not have is an error before anything is sent."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        make_docs_app().json.dumps({"key": float("nan")})
