"""`ligand auth`: who may call which route."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from quart.cli import ScriptInfo

from ligand_async.cli import ligand
from ligand_async.cli.auth import auth
from tests.machine import leave_bare

SERVICE = """
from quart import Blueprint
from quart.views import MethodView
import ligand_async
from ligand_async import Settings, public, requires, role, scope

pets = Blueprint("pets", __name__, url_prefix="/pets")

@pets.get("/")
@public
async def list_pets(): ...

@pets.post("/")
@requires(role("user") | scope("pets:write"))
async def create_pet(): ...

@pets.websocket("/talk")
@public
async def talk(): ...

class Pet(MethodView):
    async def get(self, pet_id): ...
    @public
    async def head(self, pet_id): ...
    @public
    async def options(self, pet_id): ...
    @requires(role("admin"))
    async def delete(self, pet_id): ...

pets.add_url_rule("/<uuid:pet_id>", view_func=Pet.as_view("pet"))

def create_app(environment=None, **overrides):
    settings = Settings.load(environment, **overrides)
    return ligand_async.create_app(__name__, title="Pets", version="1", settings=settings, blueprints=[pets])
"""
OWN = {
    ("GET", "/pets/"): ("pets.list_pets", "anyone"),
    ("POST", "/pets/"): ("pets.create_pet", "role user or scope pets:write"),
    ("GET", "/pets/<uuid:pet_id>"): ("pets.pet", "any principal"),
    ("HEAD", "/pets/<uuid:pet_id>"): ("pets.pet", "anyone"),
    ("OPTIONS", "/pets/<uuid:pet_id>"): ("pets.pet", "anyone"),
    ("DELETE", "/pets/<uuid:pet_id>"): ("pets.pet", "role admin"),
    ("WEBSOCKET", "/pets/talk"): ("pets.talk", "anyone"),
}
PUBLIC = [f"{method} {path}" for (method, path), (_, access) in OWN.items() if access == "anyone"]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Work in an empty directory with a service in it, and forget its module afterwards."""
    leave_bare(monkeypatch, tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    Path("petshop.py").write_text(SERVICE)
    yield
    sys.modules.pop("petshop", None)


def run(*arguments: str, app: str = "petshop:create_app('cli')") -> Result:
    return CliRunner().invoke(ligand, ["--app", app, "auth", *arguments], prog_name="ligand")


def rows() -> list[dict[str, Any]]:
    result = run("routes", "--format", "json")
    assert result.exit_code == 0, result.output
    listed: list[dict[str, Any]] = json.loads(result.stdout)
    return listed


def test_every_route_is_reported_with_who_may_call() -> None:
    """As JSON: methods and websockets, HEAD and OPTIONS where they are a view's own; no settings are needed."""
    told = {(row["method"], row["path"]): (row["endpoint"], row["who_may_call"]) for row in rows()}

    assert {key: value for key, value in told.items() if key[1].startswith("/pets")} == OWN
    assert all(row["public"] is (row["who_may_call"] == "anyone") for row in rows())


def test_the_framework_s_own_pages_are_reported() -> None:
    """Nothing is reachable that the list does not have."""
    told = {row["path"]: row["who_may_call"] for row in rows()}

    assert {told[path] for path in ("/openapi.json", "/docs", "/docs/<name>", "/livez", "/readyz")} == {"anyone"}


def test_the_list_is_sorted() -> None:
    """By path and method, so that two lists can be compared."""
    places = [(row["path"], row["method"]) for row in rows()]

    assert places == sorted(places)


def test_the_table_is_aligned() -> None:
    """A header, and a line for each route."""
    result = run("routes")

    header, *lines = result.stdout.splitlines()
    start = header.index("who may call")
    assert (result.exit_code, len(lines)) == (0, len(rows()))
    assert all(line[start - 2 : start] == "  " and line[start] != " " for line in lines)


def write_list(*lines: str) -> str:
    Path("public.txt").write_text("\n".join(lines))
    return "public.txt"


def framework() -> list[str]:
    """Return the framework's own public pages."""
    return [f"{row['method']} {row['path']}" for row in rows() if row["public"] and not row["path"].startswith("/pets")]


def test_listed_routes_may_be_public() -> None:
    """Comments, empty lines and more spaces are for readers."""
    lines = ["# what anybody may see", "", *PUBLIC[1:], f"  {PUBLIC[0].replace(' ', '   ')}  # the list", *framework()]
    result = run("check", "--public", write_list(*lines))

    assert (result.exit_code, result.output) == (0, "")


def test_a_public_route_that_is_not_listed_fails() -> None:
    """Exit code 1, and its line on stdout as the file would have it; whatever it is, the framework's own too."""
    hidden = ["GET /docs", "WEBSOCKET /pets/talk"]
    result = run("check", "--public", write_list(*(set(PUBLIC) | set(framework())) - set(hidden)))

    assert (result.exit_code, result.stdout.splitlines()) == (1, hidden)
    assert "not listed in public.txt" in result.stderr


def test_a_stale_line_is_reported_and_does_not_fail() -> None:
    """A route that is gone, or closed by now."""
    result = run("check", "--public", write_list(*PUBLIC, *framework(), "POST /pets/", "GET /gone"))

    assert (result.exit_code, result.stdout) == (0, "")
    assert [line.split()[1:3] for line in result.stderr.splitlines()] == [["GET", "/gone"], ["POST", "/pets/"]]


@pytest.mark.parametrize("line", ["GET", "/pets/", "GET /pets/ again", "GET pets"])
def test_a_line_that_is_not_a_route_is_reported_with_its_number(line: str) -> None:
    """Exit code 2 for a line that is not a method and a path."""
    result = run("check", "--public", write_list("# one", line))

    assert result.exit_code == 2
    assert "public.txt, line 2" in result.stderr


@pytest.mark.parametrize("arguments", [("check",), ("check", "--public", "missing.txt")])
def test_the_list_must_be_there(arguments: tuple[str, ...]) -> None:
    """A check against nothing would pass nothing, and is a usage error."""
    assert run(*arguments).exit_code == 2


def test_a_list_that_is_not_text_is_reported() -> None:
    """Exit code 2."""
    Path("public.txt").write_bytes(b"\xff\xfe")

    assert run("check", "--public", "public.txt").exit_code == 2


def test_a_class_with_two_marks_is_reported() -> None:
    """An ambiguous access rule is one message without a traceback."""
    text = SERVICE.replace(
        "class Pet(MethodView):", "@public\nclass Pet(MethodView):\n    decorators = [requires(role('x'))]"
    )
    Path("petshop.py").write_text(text)
    result = run("routes")

    assert result.exit_code == 2
    assert "Pet has two access decorators" in result.stderr


def test_an_app_that_is_not_ours_is_reported() -> None:
    """A plain Quart is not guarded, and a list would say otherwise."""
    Path("plain.py").write_text("from quart import Quart\napp = Quart(__name__)\n")
    result = run("routes", app="plain:app")

    assert result.exit_code == 2
    assert "was not made by ligand_async.create_app()" in result.stderr


def test_the_command_runs_under_quart_too() -> None:
    """In Quart's own command line, which makes its own ScriptInfo."""
    info = ScriptInfo(app_import_path="petshop.py:create_app('cli')")
    result = CliRunner().invoke(auth, ["routes"], obj=info)

    assert result.exit_code == 0
    assert "pets.create_pet" in result.stdout
