"""The address of what was created."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel
from quart import Blueprint, Quart, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import operation, public
from tests.shop import Item, db, make_app, routes, running
from tests.web.serving import app_of, send

ID = UUID("8d3bb5e4-6a3e-4a0b-8f0e-0c8f3d1d5a55")


class Pet(BaseModel):
    id: UUID = ID
    name: str = "rex"


@dataclass
class Toy:
    toy_id: int
    id: int = 0


@operation
async def read(pet_id: UUID) -> Pet:
    return Pet()


def creating(location: str, value: Any, annotation: Any = Pet, **options: Any) -> Any:
    async def create() -> Any:
        return value

    create.__annotations__["return"] = annotation
    return operation(status=201, location=location, **options)(create)


def pets(location: str, name: str = "pets") -> Blueprint:
    blueprint = public(Blueprint(name, __name__, url_prefix="/pets"))
    blueprint.add_url_rule("/", "create", creating(location, Pet()), methods=["POST"])
    blueprint.add_url_rule("/<uuid:pet_id>", "read", read)
    return blueprint


def bare() -> Quart:
    return app_of()


@pytest.mark.parametrize("location", ["pets.read", ".read"])
async def test_location_is_the_path_of_what_was_created(location: str) -> None:
    """By an endpoint's full name or relative to the blueprint; `pet_id` is found as `id`."""
    app = bare()
    app.register_blueprint(pets(location))

    answer = await send(app, "POST", "/pets/")

    assert (answer.status, answer.headers["Location"]) == (201, f"/pets/{ID}")


async def test_a_relative_location_stays_in_its_mount() -> None:
    """One blueprint under two names and prefixes, and within another: each leads to its own."""
    app, outer = bare(), Blueprint("outer", __name__, url_prefix="/v2")
    blueprint = pets(".read")
    outer.register_blueprint(blueprint)
    app.register_blueprint(outer)
    app.register_blueprint(blueprint)
    app.register_blueprint(blueprint, name="cats", url_prefix="/cats")

    found = {path: (await send(app, "POST", path)).headers["Location"] for path in ("/pets/", "/cats/", "/v2/pets/")}

    assert found == {path: f"{path}{ID}" for path in found}


async def test_variables_of_the_current_path_are_kept() -> None:
    """A toy of a pet is found below that pet."""

    @operation(status=201, location=".toy")
    async def create(pet_id: int) -> Toy:
        return Toy(toy_id=7)

    @operation
    async def toy(pet_id: int, toy_id: int) -> None: ...

    blueprint = public(Blueprint("toys", __name__))
    blueprint.post("/pets/<int:pet_id>/toys")(create)
    blueprint.get("/pets/<int:pet_id>/toys/<int:toy_id>")(toy)
    app = bare()
    app.register_blueprint(blueprint)

    assert (await send(app, "POST", "/pets/3/toys")).headers["Location"] == "/pets/3/toys/7"


@pytest.mark.ligand_conformance("off", reason="a tuple with another status")
@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        ({"id": str(ID)}, dict[str, str]),
        ((Pet(), 201), tuple[Pet, int]),
        ((Pet(), 202, {"X": "1"}), tuple[Pet, int, Any]),
    ],
)
async def test_values_of_any_form_have_an_address(value: Any, annotation: Any) -> None:
    """A mapping has keys, a tuple has its value first."""
    app = app_of(("POST", "/", creating(".read_get", value, annotation)), ("GET", "/<uuid:pet_id>", read))

    assert (await send(app, "POST", "/")).headers["Location"] == f"/{ID}"


async def test_a_location_of_ones_own_wins() -> None:
    """What the handler sends itself is sent."""
    value = (Pet(), 201, {"Location": "/elsewhere"})
    app = app_of(("POST", "/", creating(".read_get", value, tuple[Pet, int, Any])), ("GET", "/<uuid:pet_id>", read))

    assert (await send(app, "POST", "/")).headers["Location"] == "/elsewhere"


@pytest.mark.ligand_conformance("off", reason="one by hand lacks it")
async def test_a_response_by_hand_has_its_own_location() -> None:
    """None is added to it."""
    app = app_of(("POST", "/", creating(".read_get", Response("x", 201), Response)), ("GET", "/<uuid:pet_id>", read))

    assert "Location" not in (await send(app, "POST", "/")).headers


async def test_the_first_rule_that_can_be_filled_counts() -> None:
    """An endpoint may have several."""
    app = bare()
    app.add_url_rule("/owners/<owner>/pets/<uuid:pet_id>", "read", read_of_owner)
    app.add_url_rule("/pets/<uuid:pet_id>", "read", read_of_owner)
    app.add_url_rule("/", "create", public(creating("read", Pet())), methods=["POST"])

    assert (await send(app, "POST", "/")).headers["Location"] == f"/pets/{ID}"


@operation
async def read_of_owner(pet_id: UUID, owner: str = "") -> Pet:
    return Pet()


async def test_a_location_that_cannot_be_built_leaves_no_row(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is decided before the commit: a 500 whose log names what is missing."""

    @operation(status=201, location=".read_get")
    async def create(session: AsyncSession) -> str:
        session.add(Item(name="cup"))
        return "cup"

    app = make_app(database_url, routes(("POST", "/", create), ("GET", "/<uuid:pet_id>", read)))
    async with running(app) as client:
        response = await client.post("/")
        async with db.read() as session:
            rows = await session.scalar(select(func.count()).select_from(Item))

    assert (response.status_code, rows) == (500, 0)
    assert "location='.read_get': str has no pet_id for the path" in caplog.text
