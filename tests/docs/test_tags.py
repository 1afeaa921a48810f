"""The tags of the document and what they say."""

from typing import Any

import pytest
from quart import Blueprint
from quart.views import MethodView
from quart_schema import tag as quart_schema_tag

from ligand_async import operation, tag
from ligand_async.docs import DocumentError
from tests.docs.describing import describe, make_app, operations


@operation
async def answer() -> None:
    """Answer."""


def blueprint(name: str, *children: Blueprint) -> Blueprint:
    made = Blueprint(name, __name__, url_prefix=f"/{name}")
    made.add_url_rule("/", f"list_{name}", answer)
    for child in children:
        made.register_blueprint(child)
    return made


def test_a_blueprint_describes_its_tag() -> None:
    """A description alone goes to the tag of the blueprint's own name, of each name that it is registered by."""
    pets = tag(description="All about pets.")(blueprint("pets"))
    app = make_app(pets)
    app.register_blueprint(pets, name="old_pets", url_prefix="/old")
    assert describe(app)["tags"] == [
        {"name": "old_pets", "description": "All about pets."},
        {"name": "pets", "description": "All about pets."},
    ]


def test_nested_blueprints_describe_theirs() -> None:
    """Each blueprint describes its own tag, and named tags of the outer one are the inner one's too."""
    inner = tag(description="Within.")(blueprint("inner"))
    named = tag("deep", description="Deeper.")(blueprint("named"))
    outer = tag("all", description="Everything.")(blueprint("outer", named))
    plain = blueprint("plain", inner)
    document = describe(make_app(outer, plain))
    assert {name: one["tags"] for name, one in operations(document).items()} == {
        "list_outer": ["all"],
        "list_outer_named": ["all", "deep"],
        "list_plain": ["plain"],
        "list_plain_inner": ["plain.inner"],
    }
    assert document["tags"] == [
        {"name": "all", "description": "Everything."},
        {"name": "deep", "description": "Deeper."},
        {"name": "plain"},
        {"name": "plain.inner", "description": "Within."},
    ]


def test_views_classes_and_methods_have_tags() -> None:
    """A tag on a view, a class or one of its methods is joined with quart-schema's own."""

    @tag("class")
    class Shelf(MethodView):
        @tag("method", description="One method.")
        @operation
        async def get(self) -> None:
            """Read."""

        @quart_schema_tag(["theirs"])
        @operation
        async def delete(self) -> None:
            """Remove."""

    things = Blueprint("things", __name__)
    things.add_url_rule("/", view_func=Shelf.as_view("shelf"))
    told = operations(describe(make_app(things)))
    assert told["get_things_shelf"]["tags"] == ["class", "method"]
    assert told["delete_things_shelf"]["tags"] == ["class", "theirs"]


def test_two_descriptions_of_one_tag_are_refused() -> None:
    """Which of two would be shown should not hang on their order."""
    one, other = (tag("x", description=text)(blueprint(text)) for text in ("one", "other"))
    with pytest.raises(DocumentError, match="'x' is described twice, by 'one' and by 'other'"):
        describe(make_app(one, other))


@pytest.mark.parametrize(("arguments", "marked"), [({}, blueprint("x")), ({"description": "A view."}, answer)])
def test_a_tag_that_says_nothing_is_refused(arguments: dict[str, Any], marked: Any) -> None:
    """A tag has a name, its own or its blueprint's."""
    with pytest.raises(TypeError):
        tag(**arguments)(marked)
