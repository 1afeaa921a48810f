"""Operations as methods of a class."""

from typing import ClassVar

from pydantic import BaseModel
from quart import Blueprint, request
from quart.views import MethodView
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import operation, public
from tests.shop import Item, make_app, running
from tests.web.serving import app_of, send


class ItemCreate(BaseModel):
    name: str


class Shelf(MethodView):
    init_every_request: ClassVar[bool] = False

    def __init__(self, label: str = "plain") -> None:
        self.label = label

    @operation
    async def get(self, shelf_id: int, verbose: bool = False) -> list[str | int | bool]:
        """Read a shelf."""
        return [self.label, shelf_id, verbose]

    @operation(status=201, location=".shelf")
    async def post(self, shelf_id: int, data: ItemCreate) -> ItemCreate:
        """Put something on it."""
        return data if shelf_id else ItemCreate(name="nothing")

    async def delete(self, shelf_id: int) -> str:
        """A plain method, beside them."""
        return f"{request.method} {shelf_id}"


shelves = public(Blueprint("shelves", __name__, url_prefix="/shelves"))
shelves.add_url_rule("/<int:shelf_id>", view_func=Shelf.as_view("shelf", label="oak"))


async def test_methods_are_operations() -> None:
    """With `self`, path variables, query parameters, bodies and locations like functions."""
    app = app_of()
    app.register_blueprint(shelves)
    async with running(app, tables=False) as client:
        assert await (await client.get("/shelves/3?verbose=1")).get_json() == ["oak", 3, True]
        assert (await client.get("/shelves/3?other=1")).status_code == 422
        created = await client.post("/shelves/3", json={"name": "cup"})
        assert (created.status_code, created.headers["Location"]) == (201, "/shelves/3")
        assert (await client.post("/shelves/3", json={})).status_code == 422
        assert await (await client.delete("/shelves/3")).get_data() == b"DELETE 3"
        assert (await client.head("/shelves/3")).status_code == 200
        refused = await client.put("/shelves/3")
        assert (refused.status_code, refused.content_type) == (405, "application/problem+json")
        assert {"GET", "POST", "DELETE"} <= set(refused.headers["Allow"].split(", "))


async def test_methods_have_units_of_work(database_url: str) -> None:
    """By method, as functions have them: a GET reads, a POST writes."""

    @public
    class Items(MethodView):
        @operation
        async def get(self, session: AsyncSession) -> None:
            session.add(Item(name="get"))

        @operation
        async def post(self, session: AsyncSession) -> None:
            session.add(Item(name="post"))

    app = make_app(database_url)
    app.add_url_rule("/", view_func=Items.as_view("items"))
    async with running(app) as client:
        assert (await client.get("/")).status_code == 500
        assert (await client.post("/")).status_code == 204


async def test_methods_are_documented() -> None:
    """In `/openapi.json`, each with its own words."""
    app = app_of()
    app.register_blueprint(shelves)

    path = (await send(app, "GET", "/openapi.json")).json["paths"]["/shelves/{shelf_id}"]

    assert [path[method]["summary"] for method in ("get", "post")] == ["Read a shelf.", "Put something on it."]
    assert "requestBody" in path["post"]
