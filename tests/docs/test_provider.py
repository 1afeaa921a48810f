"""The document as a whole."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from quart import Blueprint, Quart
from quart_schema import deprecate_blueprint, security_scheme

from ligand_async.web import operation
from tests.docs.describing import describe, make_app, operations

ROOT = Path(__file__).parents[2]
PRINT = "import sys; from tests.docs import sample; from ligand_async.docs import document_of; "
PRINT += "sys.stdout.buffer.write(document_of(sample.make_app()).content)"


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    """What is served is OpenAPI 3.1, whatever a service is made of."""
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_process_says_the_same() -> None:
    """The document has the same bytes in every process, whatever its hash seed."""
    said = {
        subprocess.run(
            [sys.executable, "-c", PRINT],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
    assert len(said.pop()) > 1000


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
    document = describe(make_app())
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert document["paths"] == {}


def test_hidden_and_foreign_routes_are_left_out() -> None:
    """The document speaks of no hidden view, no websocket, no static file, and not of itself."""
    app = make_app()
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

    told = operations(describe(make_app(old)))["list_old"]
    assert told["deprecated"] is True
    assert told["security"] == [{"bearer": []}]


def test_a_plain_view_promises_nothing(documented: dict[str, Any]) -> None:
    """Of a view that declares nothing, only its path is known."""
    assert set(documented["get_go_plain"]["responses"]) == {"404", "default"}


def test_the_command_of_quart_schema_writes_the_same() -> None:
    """`quart schema` writes the document that is served."""
    app: Quart = make_app()
    assert app.json.loads(app.json.dumps(app.extensions["QUART_SCHEMA"].openapi_provider.schema())) == describe(app)


@pytest.mark.parametrize("tag", ["ant", "plain", "shelves", "toys", "zebra"])
def test_tags_are_listed(document: dict[str, Any], tag: str) -> None:
    """Every tag that an operation has is in the document's list, which is sorted."""
    names = [entry["name"] for entry in document["tags"]]
    assert tag in names
    assert names == sorted(names)
