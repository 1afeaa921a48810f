"""How the document tells of entity tags and of times of change."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, computed_field
from quart import Blueprint
from quart_schema import document_response
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import Page, ReadSchema, conditional, operation
from ligand_async.testing import watch
from tests.docs.documents import describe, make_docs_app, operations
from tests.services import Item, Shelf, routes, running
from tests.services import make_app as make_shop


class ItemRead(ReadSchema, model=Item): ...


class ItemOnShelf(ReadSchema, model=Item):
    where: Any = None


class ShelfRead(ReadSchema, model=Shelf): ...


class Shown(BaseModel):
    name: str


class Shouted(BaseModel):
    name: str

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own form
    @property
    def shout(self) -> str:
        return self.name.upper()


BOTH = {"ETag", "Last-Modified"}


def headers_of(returns: Any, method: str = "GET", *, session: bool = True, marked: bool = False) -> set[str]:
    """Return the headers that the document tells of a success."""

    async def with_session(session: AsyncSession) -> Any:
        raise NotImplementedError

    async def without() -> Any:
        raise NotImplementedError

    handler = with_session if session else without
    handler.__annotations__["return"] = returns
    things = Blueprint("things", __name__)
    view = operation(handler)
    things.add_url_rule("/", "view_things", conditional(view) if marked else view, methods=[method])
    [told] = operations(describe(make_docs_app(things))).values()
    return {*told["responses"]["204" if returns is None else "200"].get("headers", {})}


@pytest.mark.parametrize(
    ("returns", "headers"),
    [
        (ItemRead, BOTH),
        (ItemOnShelf, {"ETag"}),
        (ShelfRead, {"ETag"}),
        (Shown, BOTH),
        (Shouted, {"ETag"}),
        (ItemRead | None, BOTH),
        (ItemRead | Shouted, BOTH),
        (Annotated[ItemRead, "a note"], BOTH),
        (Any, BOTH),
        (Page[Shown] | None, {"ETag", "Link"}),
        (list[Shown], {"ETag"}),
        (Page[Shown], {"ETag", "Link"}),
        (None, set()),
    ],
)
def test_reads_are_validated(returns: Any, headers: set[str]) -> None:
    """A read has a tag; and a date where all that it shows may be columns of one thing."""
    assert headers_of(returns) == headers


def test_what_reads_nothing_has_no_date() -> None:
    """Without a session nothing that is stored can be shown."""
    assert headers_of(Shown, session=False) == {"ETag"}


@pytest.mark.parametrize(
    ("method", "returns", "marked", "headers"),
    [
        ("POST", ItemRead, False, BOTH),
        ("POST", Shown, False, BOTH),
        ("POST", Shouted, False, set()),
        ("POST", ItemRead | None, False, BOTH),
        ("PUT", Shown, True, BOTH),
        ("PUT", Shouted, True, {"ETag"}),
        ("PATCH", None, True, {"ETag"}),
        ("DELETE", ItemRead, True, set()),
    ],
)
def test_changes_are_validated(method: str, returns: Any, marked: bool, headers: set[str]) -> None:
    """Where one versioned thing is shown, or can be, or was checked; unless it is gone."""
    assert headers_of(returns, method, marked=marked) == headers


@pytest.mark.parametrize("is_outer", [True, False])
async def test_another_success_is_as_true(database_url: str, is_outer: bool) -> None:
    """What quart-schema's decorator adds, above `operation` or below it, has the same headers, and they are sent."""

    async def put_item(session: AsyncSession, made: bool = False) -> tuple[ItemRead, int]:
        item = Item(name="jug" if made else "cup")
        session.add(item)
        await session.flush()
        return ItemRead.model_validate(item), 201 if made else 200

    also, mark = document_response(ItemRead, 201), operation(location="shop.put_item_put")
    view = also(mark(put_item)) if is_outer else mark(also(put_item))
    app = make_shop(database_url, routes(("PUT", "/items", view)))
    conformance = watch(app)
    async with running(app) as client:
        statuses = [(await client.put(f"/items{query}")).status_code for query in ("?made=true", "")]
    assert statuses == [201, 200]
    headers = describe(app)["paths"]["/items"]["put"]["responses"]["201"]["headers"]
    assert headers.keys() == {"ETag", "Last-Modified", "Location"}
    assert ("put_shop_item_put", "201") in conformance.reached
