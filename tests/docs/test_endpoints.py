"""What is known of one endpoint."""

from typing import Any

from pydantic import BaseModel
from quart import Blueprint
from quart.views import View
from quart_schema import document_headers, document_querystring, tag

from ligand_async import operation
from tests.docs.documents import answer_schema, describe, make_docs_app, operations, parameters


def test_a_method_view_is_described_by_its_methods(documented: dict[str, Any]) -> None:
    """Each method of a `MethodView` has a description of its own, body and docstring included."""
    assert "requestBody" in documented["put_shelves_shelf"]
    assert "requestBody" not in documented["get_shelves_shelf"]
    assert documented["get_shelves_shelf"]["summary"] == "Read a shelf."


def test_a_class_based_view_is_described_by_what_it_dispatches() -> None:
    """A `View` is described by its `dispatch_request`."""

    class Clock(View):
        methods = ("GET", "POST")

        @operation
        async def dispatch_request(self) -> dict[str, int]:
            """Read the clock."""
            return {}

    clocks = Blueprint("clocks", __name__)
    clocks.add_url_rule("/", view_func=Clock.as_view("clock"))
    told = operations(describe(make_docs_app(clocks)))
    assert [told["get_clock"]["summary"], told["post_clock"]["summary"]] == ["Read the clock."] * 2


def test_an_untagged_operation_has_its_blueprint_s_name() -> None:
    """Without any tag, the full name of the blueprint is the tag."""
    inner, outer = Blueprint("inner", __name__), Blueprint("outer", __name__)

    @inner.get("/")
    @operation
    async def list_things() -> None:
        pass

    outer.register_blueprint(inner)
    assert operations(describe(make_docs_app(outer)))["list_outer_inner_things"]["tags"] == ["outer.inner"]


def test_tags_of_all_blueprints_around_are_joined(documented: dict[str, Any]) -> None:
    """A nested operation has the tags of every blueprint around it, sorted."""
    assert documented["read_outer_inner_thing"]["tags"] == ["ant", "zebra"]


def test_a_tag_of_the_view_replaces_the_blueprint_s_name() -> None:
    """Who tags a view does not get the blueprint's name as well."""
    things = Blueprint("things", __name__)

    @things.get("/")
    @tag(["beta"])
    @operation
    async def list_things() -> None:
        pass

    assert operations(describe(make_docs_app(things)))["list_things"]["tags"] == ["beta"]


def test_quart_schema_s_decorators_are_described(documented: dict[str, Any]) -> None:
    """A view with quart-schema's own decorators is described by them."""
    told = documented["send_plain_greeting"]
    assert answer_schema(told, 201) == {"$ref": "#/components/schemas/Greeting"}
    assert list(told["requestBody"]["content"]) == ["application/x-www-form-urlencoded"]


def test_a_signature_goes_before_quart_schema_s_decorators() -> None:
    """What an operation reads is documented by its signature; quart-schema's decorators add what it does not have."""

    class Theirs(BaseModel):
        trace: str = ""

    things = Blueprint("things", __name__)

    @things.get("/")
    @document_querystring(Theirs)
    @document_headers(Theirs)
    @operation
    async def list_things(size: int = 1) -> None:
        pass

    told = parameters(operations(describe(make_docs_app(things)))["list_things"])
    assert {name: one["in"] for name, one in told.items()} == {"size": "query", "trace": "header"}


def test_a_response_made_by_hand_has_no_schema(documented: dict[str, Any]) -> None:
    """Of a handler that returns a `Response`, the status is known and nothing else."""
    assert documented["log_toys_in"]["responses"]["200"] == {"description": "OK"}
