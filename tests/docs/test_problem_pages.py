"""The pages that the types of problems lead to."""

import inspect

import pytest

from ligand_async import Problem, errors
from ligand_async.errors import PREFIX, documented_types
from tests.docs.documents import describe
from tests.services import app_of, ask, send

OURS = [kind for kind in documented_types().values() if kind.__module__ == errors.__name__]


class OutOfStock(Problem):
    """No cup is left."""

    code = 409
    type = PREFIX + "out-of-stock"
    title = "Out of Stock"


class Elsewhere(Problem):
    """Documented by somebody else."""

    code = 409
    type = "https://shop.example/elsewhere"


@pytest.mark.parametrize("problem", [*OURS, OutOfStock], ids=lambda problem: problem.__name__)
async def test_a_type_leads_to_its_page(problem: type[Problem]) -> None:
    """It is an address of the service, which says what the problem is; a service's own types have one too."""

    async def fail() -> None:
        raise problem()

    app = app_of(("GET", "/", fail))
    refused = await send(app, "GET", "/")
    page = await send(app, "GET", refused.json["type"])

    assert (page.status, page.headers["Content-Type"]) == (200, "application/json")
    assert page.json == {
        "type": problem.type,
        "title": problem.title,
        "status": problem.code,
        "description": inspect.getdoc(problem),
    }
    assert refused.json | page.json == refused.json | {"description": page.json["description"]}


async def test_all_types_are_listed() -> None:
    """Those with a page, and no others."""
    listed = [one["type"] for one in (await send(app_of(), "GET", PREFIX)).json]

    assert listed == [problem.type for problem in documented_types().values()]
    assert len(listed) >= len(OURS)
    assert Elsewhere.type not in listed


@pytest.mark.parametrize("path", [PREFIX, f"{PREFIX}validation"])
async def test_a_browser_gets_a_page(path: str) -> None:
    """HTML under a policy that lets nothing run; the answer differs by `Accept`."""
    page = await send(app_of(), "GET", path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert page.headers["Vary"] == "Accept"
    assert b"Validation Failed" in page.raw


async def test_an_unknown_type_is_404() -> None:
    """There is a page for what exists."""
    assert (await send(app_of(), "GET", f"{PREFIX}nothing")).status == 404


async def test_the_pages_are_not_in_the_document() -> None:
    """They are no operations of the service."""
    assert not [path for path in describe(app_of())["paths"] if path.startswith(PREFIX)]


async def test_an_inherited_type_is_not_listed_twice() -> None:
    """A class below one with a type is the same type."""

    class Below(OutOfStock):
        """More of it."""

    async def fail() -> None:
        raise Below

    assert documented_types()["out-of-stock"] is OutOfStock
    assert (await ask(fail)).json["type"] == OutOfStock.type
