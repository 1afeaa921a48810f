"""`create_app`: a plain Quart app with everything in its place."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel
from quart import Blueprint, Quart, Response, current_app, session
from quart_schema import validate_querystring, validate_response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

import ligand_async
from ligand_async import Conflict, Settings, create_app, operation, public
from ligand_async.context import service_of
from ligand_async.settings import SettingsError
from tests.servers import ROOT
from tests.services import NEVER_OPENED, Item, app_of, db, make_app, names, routes, running, send

STRICT: dict[str, Any] = {
    "database_url": "postgresql://user:pass@127.0.0.1:1/db",
    "secret_key": "0123456789abcdefghijklmnopqrstuv",
    "service_public_url": "https://shop.example",
    "service_private_url": "https://shop.internal",
}


class Mailer:
    def __init__(self, name: str) -> None:
        self.name = name


@operation
async def use_mailer(mailer: Mailer) -> str:
    return mailer.name


@operation(status=201)
async def add_item(name: str, session: AsyncSession) -> str:
    session.add(Item(name=name))
    return name


def test_a_service_imports_only_what_it_uses() -> None:
    """Workers start without Alembic unless they migrate, and without Authlib unless they are a client themselves."""
    program = "import sys, examples.petstore.app as petstore; petstore.create_app('testing', database_url={!r})"
    program += "; print({{'alembic', 'authlib'}} & {{*sys.modules}})"
    answer = subprocess.run(
        [sys.executable, "-c", program.format(NEVER_OPENED)], cwd=ROOT, capture_output=True, check=True, timeout=60
    )
    assert answer.stdout == b"set()\n"


def test_it_is_a_quart_app() -> None:
    """Whatever takes one takes this one."""
    assert isinstance(app_of(), Quart)


@pytest.mark.parametrize(("client_name", "expected"), [(None, "my-shop-client"), ("shop", "shop")])
def test_a_service_has_a_name(client_name: str | None, expected: str) -> None:
    """Title, version, client name, settings and database are found on the app."""
    settings = Settings.load("testing", database_url=NEVER_OPENED)
    app = create_app(__name__, title="My Shop", version="2.1", client_name=client_name, settings=settings, database=db)

    service = service_of(app)

    assert (service.title, service.version, service.client_name) == ("My Shop", "2.1", expected)
    assert service.settings is settings
    assert service.database is db


def test_an_app_of_another_make_is_no_service() -> None:
    """The error says what makes one."""
    with pytest.raises(RuntimeError, match=r"app 'bare' was not made by ligand_async\.create_app"):
        service_of(Quart("bare"))


def test_config_is_for_quart_and_its_extensions() -> None:
    """In upper case; settings are there too, as a copy."""
    app = app_of(config={"JSON_SORT_KEYS": True, "MY_EXTENSION_URL": "x"}, settings={"max_body_bytes": 77})

    assert (app.config["JSON_SORT_KEYS"], app.config["MY_EXTENSION_URL"]) == (True, "x")
    assert app.config["MAX_BODY_BYTES"] == app.config["MAX_CONTENT_LENGTH"] == 77


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"json_sort_keys": True}, "write JSON_SORT_KEYS"),
        ({"TITLE": "x"}, r"create_app\(title=...\)"),
        ({"VERSION": "x"}, r"create_app\(version=...\)"),
        ({"CLIENT_NAME": "x"}, r"create_app\(client_name=...\)"),
        ({"MAX_BODY_BYTES": 5}, r"Settings.load\(max_body_bytes=...\)"),
        ({"json_sort_keys": True, "TITLE": "x"}, "(?s)JSON_SORT_KEYS.*title"),
    ],
)
def test_config_cannot_hide_what_belongs_elsewhere(config: dict[str, Any], words: str) -> None:
    """Lower case, the service's own words and settings are refused, all at once, with the remedy."""
    with pytest.raises(SettingsError, match=words):
        app_of(config=config)


async def test_a_later_change_of_config_changes_no_setting(sqlite_url: str) -> None:
    """Settings were read at start: the database is the one that it was."""
    app = make_app(sqlite_url, routes(("POST", "/<name>", add_item)))
    app.config["DATABASE_URL"] = "postgresql://127.0.0.1:1/elsewhere"
    async with running(app) as client:
        app.config["DATABASE_URL"] = "postgresql://127.0.0.1:1/elsewhere"
        assert (await client.post("/cup")).status_code == 201
    assert service_of(app).settings.database_url.get_secret_value() == sqlite_url


@pytest.mark.parametrize("mode", ["debug", "testing"])
@pytest.mark.parametrize("environment", ["prod", "stage"])
async def test_prod_refuses_debug_and_testing_again_at_start(environment: str, mode: str) -> None:
    """Quart's command line turns debug on after the factory has returned."""
    app = create_app(__name__, title="Shop", version="1", settings=Settings.load(environment, **STRICT))
    setattr(app, mode, True)

    with pytest.raises(SettingsError, match=mode):
        await app.startup()


@pytest.mark.parametrize("config", [{"DEBUG": True}, {"TESTING": True}])
def test_prod_refuses_debug_and_testing_at_once(config: dict[str, bool]) -> None:
    """In the factory, before anything is made."""
    with pytest.raises(SettingsError):
        create_app(__name__, title="Shop", version="1", settings=Settings.load("prod", **STRICT), config=config)


async def test_mistakes_are_found_before_anything_is_opened(tmp_path: Path) -> None:
    """An operation that does not fit keeps the database from being touched: no file, no migration."""
    path = tmp_path / "untouched.db"
    app = make_app(
        f"sqlite+aiosqlite:///{path}",
        routes(("GET", "/", use_mailer)),
        settings={"database_auto_upgrade": True},
    )

    with pytest.raises(TypeError, match="use_mailer"):
        await app.startup()
    assert not path.exists()


@pytest.mark.ligand_conformance("off", reason="a renderer of its own writes another content type")
async def test_two_apps_share_nothing(tmp_path: Path, postgres_url: str) -> None:
    """Databases of two kinds, settings, services and handlers, under load at once, from the same blueprint."""
    blueprint = routes(
        ("POST", "/items/<name>", add_item), ("GET", "/mailer", use_mailer), ("PUT", "/conflict", conflict)
    )
    first = make_app(f"sqlite+aiosqlite:///{tmp_path / 'first.db'}", blueprint, provide={Mailer: Mailer("first")})
    second = make_app(
        postgres_url, blueprint, provide={Mailer: Mailer("second")}, settings={"max_body_bytes": 5}, config={"MINE": 1}
    )

    @first.errorhandler(409)
    async def own(_: Exception) -> tuple[dict[str, str], int]:
        return {"whose": "first"}, 409

    async with running(first) as one, running(second) as two:

        async def use(client: Any, number: int) -> list[Any]:
            added = await client.post(f"/items/{number}")
            mailer = await client.get("/mailer")
            refused = await client.put("/conflict")
            return [added.status_code, await mailer.get_json(), refused.content_type]

        results = await asyncio.gather(*(use(client, n) for n in range(25) for client in (one, two)))

        assert results[::2] == [[201, "first", "application/json"]] * 25
        assert results[1::2] == [[201, "second", "application/problem+json"]] * 25
        for app in (first, second):
            async with app.app_context(), db.read() as session:
                assert names(await session.scalars(select(Item))) == {str(number) for number in range(25)}
    assert "MINE" not in first.config
    assert service_of(first).settings.max_body_bytes != service_of(second).settings.max_body_bytes


@operation
async def conflict() -> None:
    raise Conflict("no")


class Query(BaseModel):
    limit: int = 1


class Counter:
    """An extension as Quart knows them: `init_app`, configuration in upper case, hooks."""

    def init_app(self, app: Quart) -> None:
        app.extensions["counter"] = self
        app.config.setdefault("COUNTER_HEADER", "X-Count")
        app.after_request(self.count)
        self.requests = 0

    async def count(self, response: Response) -> Response:
        self.requests += 1
        response.headers[current_app.config["COUNTER_HEADER"]] = str(self.requests)
        return response


class Shouting:
    """An ASGI middleware."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def shout(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-shout", b"HEY")]}
            await send(message)

        await self.app(scope, receive, shout if scope["type"] == "http" else send)


async def test_everything_of_quart_works_beside_it() -> None:
    """Plain views, quart-schema's decorators, extensions and middleware around it."""
    app = app_of(("GET", "/operation", conflict), config={"COUNTER_HEADER": "X-Requests"})
    plain = public(Blueprint("plain", __name__))

    @plain.get("/plain/<uuid:pet_id>")
    async def view(pet_id: UUID) -> tuple[str, int, dict[str, str]]:
        return f"pet {pet_id}", 203, {"X-Plain": "1"}

    @plain.get("/dict")
    async def mapping() -> dict[str, int]:
        return {"a": 1}

    @plain.get("/schema")
    @validate_querystring(Query)
    @validate_response(Query)
    async def schema(query_args: Query) -> Query:
        return query_args

    @plain.get("/sync")
    def synchronous() -> str:
        return "sync"

    app.register_blueprint(plain)
    Counter().init_app(app)
    app.asgi_app = Shouting(app.asgi_app)  # type: ignore[method-assign]  # as Quart documents it

    async with running(app, tables=False) as client:
        found = await client.get(f"/plain/{UUID(int=1)}")
        assert (found.status_code, await found.get_data(), found.headers["X-Plain"]) == (
            203,
            f"pet {UUID(int=1)}".encode(),
            "1",
        )
        assert await (await client.get("/dict")).get_json() == {"a": 1}
        assert await (await client.get("/schema?limit=5")).get_json() == {"limit": 5}
        assert await (await client.get("/sync")).get_data() == b"sync"
        last = await client.get("/operation")
        assert (last.status_code, last.headers["X-Requests"], last.headers["X-Shout"]) == (409, "5", "HEY")
        assert "X-Request-ID" in last.headers


async def test_without_settings_there_is_a_document_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment `cli`, where nothing is set and nothing is opened."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    app = create_app(__name__, title="T", version="1", settings=Settings.load("cli"), database=db)

    async with app.app_context():
        response = await app.test_client().get("/openapi.json")

    assert (await response.get_json())["info"]["title"] == "T"


async def test_the_facade_is_enough() -> None:
    """A service is written with the names of the package itself."""
    app = ligand_async.create_app(
        __name__, title="T", version="1", settings=ligand_async.Settings.load("testing", database_url=NEVER_OPENED)
    )

    document = (await send(app, "GET", "/openapi.json")).json

    assert (document["info"]["title"], document["info"]["version"]) == ("T", "1")


async def write_session() -> str:
    """Write the session cookie."""
    session["who"] = "ada"
    return "written"


@pytest.mark.parametrize("environment", ["prod", "stage"])
async def test_session_cookies_are_safe(environment: str) -> None:
    """In `prod` and `stage`: only by https, not for scripts, not from other sites, and of this host alone."""
    app = create_app(__name__, title="S", version="1", settings=Settings.load(environment, **STRICT))
    app.add_url_rule("/", "write", public(write_session))
    cookie = (await app.test_client().get("/")).headers["Set-Cookie"]
    name, _, rest = cookie.partition("=")

    assert name == "__Host-session"
    assert {*rest.split("; ")[1:]} == {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"}


UNSAFE_COOKIES: list[dict[str, Any]] = [
    {"SESSION_COOKIE_SECURE": False},
    {"SESSION_COOKIE_SECURE": 1},
    {"SESSION_COOKIE_HTTPONLY": False},
    {"SESSION_COOKIE_SAMESITE": "None"},
    {"SESSION_COOKIE_SAMESITE": None},
    {"SESSION_COOKIE_NAME": "session"},
    {"SESSION_COOKIE_PATH": "/shop"},
    {"SESSION_COOKIE_DOMAIN": "shop.example"},
]


@pytest.mark.parametrize("unsafe", UNSAFE_COOKIES, ids=str)
async def test_session_cookies_stay_safe(unsafe: dict[str, Any]) -> None:
    """A less safe cookie is refused when the app is made, and when it starts with a config changed in between."""
    (key,) = unsafe
    with pytest.raises(SettingsError, match=f"{key} in config makes the session cookie less safe"):
        create_app(__name__, title="S", version="1", settings=Settings.load("prod", **STRICT), config=unsafe)
    app = create_app(__name__, title="S", version="1", settings=Settings.load("prod", **STRICT))
    app.config.update(unsafe)
    with pytest.raises(SettingsError, match=key):
        await app.startup()
    create_app(__name__, title="S", version="1", settings=Settings.load("testing"), config=unsafe)


def test_session_cookies_may_be_stricter() -> None:
    """Another name of this host alone, and no other site at all."""
    config = {"SESSION_COOKIE_NAME": "__Host-shop", "SESSION_COOKIE_SAMESITE": "Strict"}
    app = create_app(__name__, title="S", version="1", settings=Settings.load("prod", **STRICT), config=config)

    assert app.config["SESSION_COOKIE_NAME"] == "__Host-shop"
