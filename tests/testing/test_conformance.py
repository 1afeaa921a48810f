"""Responses that are not what the document of their app says are found; true ones are left alone."""

from collections.abc import Callable
from typing import Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel
from quart import Blueprint, Response
from quart.typing import TestClientProtocol as Client
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from ligand_async import Conflict, Settings, create_app, operation, public
from ligand_async.testing import Conformance, Contradiction, watch
from tests.testing.test_plugin import LOAD, ROOT

pytestmark = pytest.mark.ligand_conformance("off", reason="the services of these tests lie on purpose")

CUP = '{"size":1,"colour":"red","owner":null}'


class Person(BaseModel):
    """Whose something is."""

    id: UUID


class Cup(BaseModel):
    """What is served."""

    size: int
    colour: Literal["red", "blue"] = "red"
    owner: Person | None = None


Batch = TypedDict("Batch", {"X-Batch": int})  # headers


def serve(handler: Callable[..., Any], *, strict: bool = True) -> tuple[Client, Conformance]:
    """Make a service of one handler, and return a watched client of it."""
    shop = Blueprint("shop", __name__)
    shop.add_url_rule("/cups", view_func=public(handler), methods=["GET"])
    app = create_app("shop", title="Shop", version="1", settings=Settings.load("testing"), blueprints=[shop])
    conformance = watch(app, strict=strict)
    return app.test_client(), conformance


def by_hand(text: str = CUP, content_type: str = "application/json", status: int = 200, **headers: str) -> Response:
    """Make a response that nothing of the framework has looked at."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(text, status=status, content_type=content_type, headers=named)


LIES: dict[str, tuple[Any, str]] = {
    "wrong type": (by_hand('{"size":"big","colour":"red","owner":null}'), '/size is against `type: "integer"`'),
    "missing member": (by_hand('{"size":1}'), 'the whole is against `required: ["colour", "owner"]`'),
    "no such value": (
        by_hand('{"size":1,"colour":"green","owner":null}'),
        "/colour is against `enum: ",
    ),
    "format": (by_hand('{"size":1,"colour":"red","owner":{"id":"7"}}'), '/owner/id is against `format: "uuid"`'),
    "one member more": (by_hand('{"size":1,"colour":"red","owner":null,"weight":2}'), "its body has /weight, "),
    "content type": (
        by_hand(content_type="text/plain"),
        "its content type is text/plain, documented is",
    ),
    "no JSON": (by_hand("cup"), "its body is not JSON"),
    "another success": (by_hand(status=202), "the status is not documented (documented are 200, "),
    "a header more": (by_hand(Location="/cups/1"), "the header Location is not documented"),
}


@pytest.mark.parametrize("name", LIES)
async def test_a_lie_is_found(name: str) -> None:
    """By its operation, its status and what is wrong, without what was answered."""
    lie, words = LIES[name]

    @operation
    async def show_cup() -> Cup | Response:
        return lie  # type: ignore[no-any-return]  # a response

    client, _ = serve(show_cup)
    with pytest.raises(Contradiction) as found:
        await client.get("/cups")

    assert str(found.value).startswith(f"show_shop_cup (GET /cups) answered {lie.status_code}:\n- ")
    assert words in str(found.value)
    assert "big" not in str(found.value)


async def test_a_missing_error_is_found() -> None:
    """An error that only a handler can know of has a status of its own; `default` is for what befalls everybody."""

    @operation
    async def take_cup() -> Cup:
        raise Conflict("somebody drinks from it")

    client, _ = serve(take_cup)
    with pytest.raises(
        Contradiction, match=r"take_shop_cup \(GET /cups\) answered 409:\n- the status is not documented"
    ):
        await client.get("/cups")
    lenient, _ = serve(take_cup, strict=False)
    assert (await lenient.get("/cups")).status_code == 409


async def test_a_missing_header_is_found() -> None:
    """One that is documented as required, and one that is not as its schema says."""

    @operation(location="shop.make_cup")
    async def make_cup() -> Cup | Response:
        return by_hand()

    @operation
    async def count_cups() -> tuple[Cup, int, Batch]:
        return Cup(size=1), 200, {"X-Batch": "many"}  # type: ignore[typeddict-item]  # the lie

    for handler, words in (
        (make_cup, "the header Location is missing"),
        (count_cups, 'the header X-Batch is not as documented: the whole is against `type: "integer"`'),
    ):
        client, _ = serve(handler)
        with pytest.raises(Contradiction, match=f"answered 200:\n- {words}"):
            await client.get("/cups")


async def test_a_body_that_nobody_documented_is_found() -> None:
    """Of an answer that is empty by its document."""

    @operation(status=202)
    async def order_cup() -> Response | None:
        return by_hand(status=202)

    client, _ = serve(order_cup)
    with pytest.raises(Contradiction, match="it has a body, and none is documented"):
        await client.get("/cups")


async def test_truth_is_left_alone() -> None:
    """Success, 304, HEAD, a fault of the service, a route that is not there and one that is not documented."""

    @operation
    async def read_cup() -> Cup:
        return Cup(size=1, owner=Person(id=UUID(int=1)))

    @operation
    async def drop_cup() -> Cup:
        raise RuntimeError("broken")

    client, conformance = serve(read_cup)
    tag = (await client.get("/cups")).headers["ETag"]
    statuses = [
        (await client.get("/cups", headers={"If-None-Match": tag})).status_code,
        (await client.head("/cups")).status_code,
        (await client.get("/cups?colour=red")).status_code,
        (await client.get("/cups", headers={"Authorization": "Bearer forged"})).status_code,
        (await client.post("/cups")).status_code,
        (await client.get("/mugs")).status_code,
        (await client.get("/docs")).status_code,
    ]
    broken, _ = serve(drop_cup)

    assert statuses == [304, 200, 422, 401, 405, 404, 200]
    assert conformance.checked == 5
    assert conformance.reached == {("read_shop_cup", status) for status in ("200", "304", "422", "default")}
    assert (await broken.get("/cups")).status_code == 500


async def test_a_plain_view_is_left_alone() -> None:
    """The document says nothing about what it answers."""

    async def draw_cup() -> tuple[str, int]:
        return "a cup", 202

    client, _ = serve(draw_cup)
    assert (await client.get("/cups")).status_code == 202


async def test_an_open_object_may_hold_more() -> None:
    """Where its schema says so."""

    class Shelf(BaseModel, extra="allow"):
        """Holds anything."""

        name: str

    @operation
    async def read_shelf() -> Shelf:
        return Shelf.model_validate({"name": "top", "tea": 1})

    client, _ = serve(read_shelf)
    assert await (await client.get("/cups")).get_json() == {"name": "top", "tea": 1}


PROJECT = """
from quart import Blueprint
from ligand_async import Conflict, Settings, create_app, operation, public
import pytest

shop = Blueprint("shop", __name__)

@shop.get("/cups")
@public
@operation
async def read_cup() -> str:
    raise Conflict("somebody drinks from it")

async def get():
    app = create_app("shop", title="Shop", version="1", settings=Settings.load("testing"), blueprints=[shop])
    return await app.test_client().get("/cups")

async def test_of_the_setting(): await get()

@pytest.mark.ligand_conformance("lenient")
async def test_of_the_marker(): await get()

@pytest.mark.ligand_conformance("off", reason="it lies on purpose")
async def test_off(): await get()

@pytest.mark.ligand_conformance("off")
async def test_off_without_a_reason(): await get()
"""


@pytest.mark.extended
def test_a_suite_turns_it_on(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a setting of pytest, and less strictly by a marker; switched off only for a reason."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest(LOAD)
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\nligand_conformance = "strict"\nasyncio_mode = "auto"')
    pytester.makepyfile(PROJECT)
    outcome = pytester.runpytest_subprocess()

    outcome.assert_outcomes(passed=2, failed=1, errors=1)
    outcome.stdout.fnmatch_lines_random(
        ["*Contradiction: read_shop_cup (GET /cups) answered 409:*", '*needs a reason="..."*']
    )
