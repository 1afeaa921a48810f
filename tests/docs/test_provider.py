"""The document as a whole: its paths, the operationIds, the tags."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from quart import Blueprint, Quart
from quart.views import MethodView
from quart_schema import deprecate_blueprint, operation_id, security_scheme
from quart_schema import tag as quart_schema_tag

from ligand_async import operation, tag
from ligand_async.docs import DocumentError, document_of
from tests.docs import sample
from tests.docs.documents import describe, make_docs_app, operations

ROOT = Path(__file__).parents[2]
PRINT = "import sys; from tests.docs import sample; from ligand_async.docs import document_of; "
PRINT += "sys.stdout.buffer.write(document_of(sample.make_app()).content)"


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    """What is served is OpenAPI 3.1, whatever a service is made of."""
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


@pytest.mark.parametrize("seed", ["1", pytest.param("2", marks=pytest.mark.extended)])
def test_every_process_says_the_same(seed: str) -> None:
    """The document has the same bytes in every process, whatever its hash seed."""
    said = subprocess.run(
        [sys.executable, "-c", PRINT],
        cwd=ROOT,
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        timeout=60,
    ).stdout
    assert said == document_of(sample.make_app()).content
    assert len(said) > 1000


def test_paths_are_sorted(document: dict[str, Any]) -> None:
    """Paths come in order, not in that of registration."""
    assert list(document["paths"]) == sorted(document["paths"])


def test_servers_are_the_given_ones(document: dict[str, Any]) -> None:
    """Clients are told where the service is, in the order that was given."""
    assert document["servers"] == [
        {"url": "https://toys.example", "description": "Outside."},
        {"url": "http://toys.internal", "description": "Inside."},
    ]


def test_an_empty_service_has_a_valid_document() -> None:
    """A service without operations, servers and tags is described too."""
    document = describe(make_docs_app())
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert document["paths"] == {}


def test_hidden_and_foreign_routes_are_left_out() -> None:
    """The document speaks of no hidden view, no websocket, no static file, and not of itself."""
    app = make_docs_app()
    static = Blueprint("files", __name__, static_folder=".", static_url_path="/files")
    app.register_blueprint(static)

    @app.websocket("/ws")
    async def ws() -> None:
        return

    assert describe(app)["paths"] == {}


def test_a_hidden_method_of_a_class_is_left_out(document: dict[str, Any]) -> None:
    """`hide` on one method of a `MethodView` hides that method only."""
    assert set(document["paths"]["/shelves/{shelf_id}"]) == {"get", "put"}


def test_the_docstring_is_summary_and_description(documented: dict[str, Any]) -> None:
    """The first line of a handler's docstring is the summary, the rest the description."""
    told = documented["list_toys"]
    assert (told["summary"], told["description"]) == ("List toys.", "The newest come first.")


def test_no_docstring_says_nothing(documented: dict[str, Any]) -> None:
    """A handler without a docstring has no empty summary."""
    assert documented["send_plain_greeting"].keys().isdisjoint({"summary", "description"})


def test_quart_schema_s_own_stamps_are_kept() -> None:
    """Deprecation and security that quart-schema's decorators stamp reach the document, from the blueprint too."""
    old = Blueprint("old", __name__)
    deprecate_blueprint(old)

    @old.get("/")
    @security_scheme([{"bearer": []}])
    @operation
    async def list_old() -> None:
        pass

    told = operations(describe(make_docs_app(old)))["list_old"]
    assert told["deprecated"] is True
    assert told["security"] == [{"bearer": []}]


def test_a_plain_view_promises_nothing(documented: dict[str, Any]) -> None:
    """Of a view that declares nothing, only its path is known."""
    assert set(documented["get_go_plain"]["responses"]) == {"404", "default"}


def test_the_command_of_quart_schema_writes_the_same() -> None:
    """`quart schema` writes the document that is served."""
    app: Quart = make_docs_app()
    assert app.json.loads(app.json.dumps(app.extensions["QUART_SCHEMA"].openapi_provider.schema())) == describe(app)


@pytest.mark.parametrize("tag", ["ant", "plain", "shelves", "toys", "zebra"])
def test_tags_are_listed(document: dict[str, Any], tag: str) -> None:
    """Every tag that an operation has is in the document's list, which is sorted."""
    names = [entry["name"] for entry in document["tags"]]
    assert tag in names
    assert names == sorted(names)


@operation
async def answer() -> None:
    pass


def names_of(app: Quart) -> set[str]:
    return set(operations(describe(app)))


@pytest.mark.parametrize(
    ("blueprint", "endpoint", "name"),
    [
        ("pets", "list_pets", "list_pets"),
        ("pets", "read_pet", "read_pet"),
        ("categories", "read_category", "read_category"),
        ("teams", "create", "create_teams"),
        ("user-accounts", "list_accounts", "list_user_accounts"),
        ("v2", "list_pets", "list_v2_pets"),
    ],
)
def test_a_name_is_verb_and_resource(blueprint: str, endpoint: str, name: str) -> None:
    """A name has the verb first, and says what its blueprint is about once."""
    things = Blueprint(blueprint, __name__)
    things.add_url_rule("/", endpoint, answer)
    assert names_of(make_docs_app(things)) == {name}


def test_a_blueprint_mounted_twice_gives_two_sets() -> None:
    """The same blueprint under another name has names of its own."""
    pets = Blueprint("pets", __name__)
    pets.add_url_rule("/", "list_pets", answer)
    app = make_docs_app(pets)
    app.register_blueprint(pets, name="old_pets", url_prefix="/old")
    assert names_of(app) == {"list_pets", "list_old_pets"}


def test_another_route_renames_nothing() -> None:
    """Routes that come later leave the names of the earlier ones alone."""
    app = make_docs_app()
    app.add_url_rule("/pets", "list_pets", answer)
    app.add_url_rule("/pets/<int:page>", "list_pets")
    app.add_url_rule("/cats", "list_cats", answer)
    assert names_of(app) == {"list_pets", "list_pets_2", "list_cats"}


def test_a_function_of_several_methods_has_the_method_first() -> None:
    """One function for two methods is two operations."""
    app = make_docs_app()
    app.add_url_rule("/pets", "pets", answer, methods=["GET", "POST"])
    assert names_of(app) == {"get_pets", "post_pets"}


@pytest.mark.parametrize("path", ["/pets", "/more"])
def test_a_function_that_is_routed_for_another_method_keeps_its_name(path: str) -> None:
    """The method comes before the name of the later route, at the same path or at another."""
    app = make_docs_app()
    app.add_url_rule("/pets", "pets", answer)
    app.add_url_rule(path, "pets", methods=["POST"])
    app.add_url_rule(path, "pets", methods=["DELETE"])
    assert names_of(app) == {"pets", "post_pets", "delete_pets"}


def test_an_explicit_name_is_taken() -> None:
    """The name that quart-schema's `operation_id` gives is the name."""
    app = make_docs_app()

    @app.get("/pets")
    @operation_id("petSearch")
    @operation
    async def list_pets() -> None:
        pass

    assert names_of(app) == {"petSearch"}


def test_two_operations_of_one_name_are_refused() -> None:
    """A clash names both operations and what to do."""
    pet, pets = Blueprint("pet", __name__), Blueprint("pets", __name__)
    pet.add_url_rule("/pet", "read_pet", answer)
    pets.add_url_rule("/pets", "read_pet", answer)
    with pytest.raises(
        ValueError, match=r"'read_pet': GET /pet \(pet.read_pet\) and GET /pets \(pets.read_pet\); rename"
    ):
        describe(make_docs_app(pet, pets))


def test_names_that_clients_write_alike_are_refused() -> None:
    """One would take the other's place in a client, and nobody would be told."""
    app = make_docs_app()
    app.add_url_rule("/pets", "list_pets", answer)
    app.add_url_rule("/all", "all_pets", operation_id("listPets")(answer_again))
    with pytest.raises(ValueError, match="two operations have the operationId 'listPets'"):
        describe(app)


@operation
async def answer_again() -> None:
    pass


@operation
async def answer_nothing() -> None:
    """Answer."""


def blueprint(name: str, *children: Blueprint) -> Blueprint:
    made = Blueprint(name, __name__, url_prefix=f"/{name}")
    made.add_url_rule("/", f"list_{name}", answer_nothing)
    for child in children:
        made.register_blueprint(child)
    return made


def test_a_blueprint_describes_its_tag() -> None:
    """A description alone goes to the tag of the blueprint's own name, of each name that it is registered by."""
    pets = tag(description="All about pets.")(blueprint("pets"))
    app = make_docs_app(pets)
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
    document = describe(make_docs_app(outer, plain))
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
    told = operations(describe(make_docs_app(things)))
    assert told["get_things_shelf"]["tags"] == ["class", "method"]
    assert told["delete_things_shelf"]["tags"] == ["class", "theirs"]


def test_two_descriptions_of_one_tag_are_refused() -> None:
    """Which of two would be shown should not hang on their order."""
    one, other = (tag("x", description=text)(blueprint(text)) for text in ("one", "other"))
    with pytest.raises(DocumentError, match="'x' has two descriptions, 'one' and 'other'"):
        describe(make_docs_app(one, other))


@pytest.mark.parametrize(("arguments", "marked"), [({}, blueprint("x")), ({"description": "A view."}, answer_nothing)])
def test_a_tag_that_says_nothing_is_refused(arguments: dict[str, Any], marked: Any) -> None:
    """A tag has a name, its own or its blueprint's."""
    with pytest.raises(TypeError):
        tag(**arguments)(marked)
