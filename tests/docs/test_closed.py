"""The document and the page, closed to a role; and a document that cannot be built."""

from typing import Any

import pytest
from pydantic import BaseModel
from quart import Blueprint, Quart

from ligand_async import Principal, operation, public
from ligand_async.auth import AccessError, BasicAuthenticator, BasicCredentials
from ligand_async.docs import DocumentError
from ligand_async.testing import authorization
from tests.shop import make_app, running
from tests.web.serving import NEVER_OPENED

CLOSED = ("/openapi.json", "/docs")


def closed_app(**more: Any) -> Quart:
    return make_app(NEVER_OPENED, database=None, settings={"docs_role": "staff"}, **more)


@pytest.mark.parametrize("path", CLOSED)
async def test_only_the_role_may_read(path: str) -> None:
    """Nobody is 401, somebody else 403; who has the role reads, and no shared cache keeps it."""
    app = closed_app()
    async with running(app, tables=False) as client:
        answers = [
            await client.get(path, headers=headers)
            for headers in ({}, authorization(app, roles=["user"]), authorization(app, roles=["staff"]))
        ]
    assert [answer.status_code for answer in answers] == [401, 403, 200]
    assert answers[2].headers["Cache-Control"] == "private, no-cache"


async def test_the_assets_are_for_anyone() -> None:
    """The files of Swagger UI are no secret."""
    async with running(closed_app(), tables=False) as client:
        assert (await client.get("/docs/swagger-ui.css")).status_code == 200


async def test_a_browser_may_ask_for_a_password() -> None:
    """With an authenticator that browsers know, the page opens in a browser as it is."""

    async def check(credentials: BasicCredentials) -> Principal | None:
        known = (credentials.username, credentials.password) == ("ada", "lovelace")
        return Principal(subject="ada", issuer="staff", roles=frozenset({"staff"})) if known else None

    app = closed_app(authenticators=[BasicAuthenticator(check, realm="Shop")])
    async with running(app, tables=False) as client:
        asked = await client.get("/docs")
        opened = [await client.get(path, auth=("ada", "lovelace")) for path in CLOSED]
    assert any(value.startswith("Basic ") for value in asked.headers.getlist("WWW-Authenticate"))
    assert [answer.status_code for answer in opened] == [200, 200]


async def test_a_role_that_does_not_exist_stops_the_start() -> None:
    """Docs that nobody could ever read are a mistake."""
    app = make_app(NEVER_OPENED, database=None, settings={"docs_role": "staf", "allowed_roles": ("staff",)})
    with pytest.raises(AccessError, match="there is no role staf; did you mean staff"):
        await app.startup()


@operation
async def answer() -> None:
    """Answer."""


async def test_a_clash_of_names_stops_the_start() -> None:
    """Two operations of one name are found when the app starts, not when somebody asks for the document."""
    pet, pets = (public(Blueprint(name, __name__, url_prefix=f"/{name}")) for name in ("pet", "pets"))
    for blueprint in (pet, pets):
        blueprint.add_url_rule("/", "read_pet", answer)
    app = make_app(NEVER_OPENED, pet, pets, database=None)
    with pytest.raises(DocumentError, match="two operations are called 'read_pet'"):
        await app.startup()


class Strange:
    """What pydantic can carry and JSON Schema cannot say."""


async def test_a_type_without_schema_stops_the_start() -> None:
    """A model that has no JSON schema is found when the app starts, by the name of what is wrong."""

    class Holder(BaseModel, arbitrary_types_allowed=True):
        strange: Strange

    async def read_holder() -> BaseModel:
        """Read."""
        raise NotImplementedError

    read_holder.__annotations__["return"] = Holder
    things = public(Blueprint("things", __name__))
    things.add_url_rule("/", "read_holder", operation(read_holder))
    app = make_app(NEVER_OPENED, things, database=None)
    with pytest.raises(DocumentError, match="Strange"):
        await app.startup()


async def test_routes_that_come_at_the_start_are_documented() -> None:
    """A blueprint that is registered while the app starts is in the document."""
    late = public(Blueprint("late", __name__))
    late.add_url_rule("/late", "read_late", answer)
    app = make_app(NEVER_OPENED, database=None)
    app.before_serving(lambda: app.register_blueprint(late))
    async with running(app, tables=False) as client:
        assert "/late" in (await (await client.get("/openapi.json")).get_json())["paths"]
