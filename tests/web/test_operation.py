"""Operations: unit of work, principal, documentation, the `Location` of what was created, methods of a class."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config
from pydantic import BaseModel
from quart import Blueprint, Quart, Response, after_this_request, g, request
from quart.typing import TestClientProtocol as Client
from quart.views import MethodView
from sqlalchemy import ForeignKey, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.wrappers import Response as WerkzeugResponse

from ligand_async import (
    Conflict,
    Database,
    Identified,
    Model,
    NotFound,
    Principal,
    get_or_404,
    on_commit,
    operation,
    public,
)
from ligand_async.context import request_state
from ligand_async.data import WriteOnReadSession
from ligand_async.web import operation_of
from tests.services import Item, app_of, ask, db, make_app, names, routes, running, send


class ItemRead(BaseModel):
    id: UUID
    name: str
    price: int


class ItemCreate(BaseModel):
    name: str
    price: int = 0


@operation(status=201, raises=[Conflict])
async def create_item(data: ItemCreate, session: AsyncSession) -> ItemRead:
    """Put an item on sale."""
    item = Item(**data.model_dump())
    session.add(item)
    await session.flush()
    return ItemRead.model_validate(item, from_attributes=True)


@operation
async def read_item(item_id: UUID, session: AsyncSession) -> ItemRead:
    return await get_or_404(session, Item, item_id, into=ItemRead)


async def stored() -> set[str]:
    """Return the names of what is stored."""
    async with db.read() as session:
        return names(await session.scalars(select(Item)))


@asynccontextmanager
async def shop(database_url: str, *views: tuple[str, str, Any]) -> AsyncIterator[Client]:
    async with running(make_app(database_url, routes(*views))) as client:
        yield client


async def test_a_session_is_a_unit_of_work(database_url: str) -> None:
    """What a handler added is stored when the answer is there, and another request reads it."""
    async with shop(database_url, ("POST", "/", create_item), ("GET", "/<uuid:item_id>", read_item)) as client:
        created = await client.post("/", json={"name": "cup", "price": 3})
        item = await created.get_json()
        read = await client.get(f"/{item['id']}")

        assert created.status_code == 201
        assert await read.get_json() == item == {"id": item["id"], "name": "cup", "price": 3}
        assert (await client.get(f"/{UUID(int=0)}")).status_code == 404


async def test_what_was_only_added_is_flushed_before_the_answer(database_url: str) -> None:
    """The database has said what it thinks of it before there is an answer: a duplicate is a 409, not a 201."""

    @operation(status=201)
    async def add(session: AsyncSession) -> str:
        session.add(Item(name="cup"))
        return "done"

    async with shop(database_url, ("POST", "/", add)) as client:
        first, second = await client.post("/"), await client.post("/")
        assert (first.status_code, second.status_code) == (201, 409)
        assert (await second.get_json())["errors"] == [
            {"detail": "already taken", "code": "unique"}
        ]  # no body was sent
        assert await stored() == {"cup"}


class DeferredBase(Model, DeclarativeBase): ...


class Parent(Identified, DeferredBase):
    __tablename__ = "parent"


class Child(Identified, DeferredBase):
    __tablename__ = "child"
    parent_id: Mapped[UUID] = mapped_column(ForeignKey("parent.id", deferrable=True, initially="DEFERRED"))


deferred = Database(DeferredBase)


async def test_a_commit_that_fails_is_a_409_and_no_row(database_url: str) -> None:
    """A deferred constraint speaks at the commit, after the handler: the answer is a conflict, no callback runs."""
    ran: list[str] = []

    @operation(status=201)
    async def add(session: AsyncSession) -> str:
        session.add(Child(parent_id=UUID(int=1)))
        on_commit(lambda: ran.append("never"))
        return "done"

    app = make_app(database_url, routes(("POST", "/", add)), database=deferred)
    async with app.test_app(), app.app_context():
        await deferred.create_tables()
        response = await app.test_client().post("/")
        async with deferred.read() as session:
            rows = await session.scalar(select(func.count()).select_from(Child))

    assert (response.status_code, rows, ran) == (409, 0, [])
    assert response.content_type == "application/problem+json"


async def test_an_error_of_a_handler_keeps_nothing(database_url: str) -> None:
    """Whatever it raises, and although it was flushed."""
    errors = {"problem": NotFound("gone"), "bug": ZeroDivisionError(), "key": KeyError("x")}

    @operation
    async def fail(kind: str, session: AsyncSession) -> None:
        session.add(Item(name=kind))
        await session.flush()
        raise errors[kind]

    async with shop(database_url, ("POST", "/<kind>", fail)) as client:
        statuses = [(await client.post(f"/{kind}")).status_code for kind in errors]
        assert (statuses, await stored()) == ([404, 500, 500], set())


async def test_safe_methods_read(database_url: str) -> None:
    """A GET cannot write; with `session="write"` it says that it does."""

    @operation
    async def by_method(session: AsyncSession) -> None:
        session.add(Item(name="cup"))

    @operation(session="write")
    async def on_purpose(session: AsyncSession) -> None:
        session.add(Item(name="cup"))

    async with shop(database_url, ("GET", "/reads", by_method), ("GET", "/writes", on_purpose)) as client:
        assert (await client.get("/reads")).status_code == 500
        assert await stored() == set()
        assert (await client.get("/writes")).status_code == 204
        assert await stored() == {"cup"}


@pytest.mark.parametrize("mode", ["read", "snapshot", "replica"])
async def test_a_mode_that_reads_refuses_writes_of_any_method(database_url: str, mode: Any) -> None:
    """`session=` goes before the method."""
    refused: list[bool] = []

    @operation(session=mode)
    async def write(session: AsyncSession) -> None:
        try:
            await session.execute(text("DELETE FROM item"))
        except WriteOnReadSession:
            refused.append(True)
            raise

    async with shop(database_url, ("POST", "/", write)) as client:
        assert (await client.post("/")).status_code == 500
    assert refused == [True]


async def test_a_callback_runs_after_the_commit_and_before_the_answer(database_url: str) -> None:
    """It sees the row from another session, and the client finds it done."""
    seen: list[set[str]] = []

    @operation
    async def add(session: AsyncSession) -> None:
        session.add(Item(name="cup"))

        async def look() -> None:
            seen.append(await stored())

        on_commit(look)

    async with shop(database_url, ("POST", "/", add)) as client:
        await client.post("/")

    assert seen == [{"cup"}]


@pytest.mark.parametrize(("retry_safe", "status", "attempts"), [(True, 204, 3), (False, 503, 1)])
async def test_retry_safe_runs_again_after_a_failed_serialization(
    postgres_url: str, *, retry_safe: bool, status: int, attempts: int
) -> None:
    """Up to three times in all; without it the answer is 503 with Retry-After."""
    ran: list[int] = []

    @operation(retry_safe=retry_safe)
    async def collide(session: AsyncSession) -> None:
        ran.append(1)
        session.add(Item(name=f"try {len(ran)}"))
        await session.flush()
        if len(ran) < 3:
            raise_ = "DO $$ BEGIN RAISE EXCEPTION 'collision' USING ERRCODE = '40001'; END $$"
            await session.execute(text(raise_))

    async with shop(postgres_url, ("POST", "/", collide)) as client:
        response = await client.post("/")
        assert (response.status_code, len(ran)) == (status, attempts)
        assert await stored() == ({"try 3"} if retry_safe else set())
        assert ("Retry-After" in response.headers) is (not retry_safe)


async def test_fifty_requests_write_at_once(database_url: str) -> None:
    """Fifty clients, fifty rows."""
    async with shop(database_url, ("POST", "/", create_item)) as client:
        answers = await asyncio.gather(*(client.post("/", json={"name": f"item {n}"}) for n in range(50)))
        assert {answer.status_code for answer in answers} == {201}
        assert len(await stored()) == 50


async def test_a_client_that_goes_away_during_the_commit_keeps_its_row(database_url: str) -> None:
    """Over a real socket: the commit and its callback come to their end although nobody waits for them."""
    handled, done = asyncio.Event(), asyncio.Event()

    @operation(status=201)
    async def add(session: AsyncSession) -> str:
        session.add(Item(name="cup"))

        async def follow() -> None:
            await asyncio.sleep(0.2)  # the client is gone by now
            done.set()

        on_commit(follow)
        handled.set()
        return "done"

    app = make_app(database_url, routes(("POST", "/", add)))
    config, stop = Config(), asyncio.Event()
    config.bind, config.graceful_timeout = ["127.0.0.1:0"], 1
    sockets = config.create_sockets()
    port = sockets.insecure_sockets[0].getsockname()[1]
    config.create_sockets = lambda: sockets  # type: ignore[method-assign]  # bound already, to know the port
    server = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
    try:
        async with app.app_context():
            await wait_until_open(port)
            await db.create_tables()
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            await asyncio.wait_for(handled.wait(), 5)
            writer.transport.abort()
            await asyncio.wait_for(done.wait(), 5)
            assert await stored() == {"cup"}
    finally:
        stop.set()
        await asyncio.wait_for(server, 10)


async def wait_until_open(port: int) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            return


@operation
async def who(principal: Principal) -> str:
    return principal.subject


@operation
async def who_if_anyone(principal: Principal | None, limit: int = 1) -> str:
    return "nobody" if principal is None else principal.subject


async def test_a_principal_that_is_needed_and_absent_is_401() -> None:
    """With WWW-Authenticate, and before anything else of the request is judged."""
    answer = await ask(who, "/?unknown=1")

    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="Shop"')
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_nobody_may_be_an_answer() -> None:
    """`Principal | None` is None for anybody."""
    assert (await ask(who_if_anyone)).json == "nobody"


async def test_the_principal_is_who_was_authenticated() -> None:
    """A hook before the request says who; the next request knows nothing of it."""
    app = app_of(("GET", "/", who), ("GET", "/any", who_if_anyone))

    @app.before_request
    async def authenticate() -> None:
        if "Authorization" in request.headers:
            request_state().principal = Principal(subject="ann", issuer="us")

    async with running(app, tables=False) as client:
        answers = [await client.get(path, headers={"Authorization": "x"}) for path in ("/", "/any")]
        assert [await answer.get_json() for answer in answers] == ["ann", "ann"]
        assert (await client.get("/")).status_code == 401


async def test_a_handler_has_its_request() -> None:
    """`request` and `g` are Quart's own, also where the work runs in a task of its own."""

    @operation
    async def handler(data: ItemCreate) -> list[Any]:
        return [request.method, g.told]

    app = app_of(("POST", "/", handler))

    @app.before_request
    async def tell() -> None:
        g.told = True

    assert (await send(app, "POST", "/", json={"name": "a"})).json == ["POST", True]


async def test_after_this_request_reaches_the_answer(sqlite_url: str) -> None:
    """What a handler with a session asks of its answer is done."""

    @operation
    async def handler(session: AsyncSession) -> None:
        @after_this_request
        async def stamp(response: Response | WerkzeugResponse) -> Response | WerkzeugResponse:
            response.headers["X-Stamp"] = "1"
            return response

    async with shop(sqlite_url, ("GET", "/", handler)) as client:
        assert (await client.get("/")).headers["X-Stamp"] == "1"


async def test_one_handler_may_be_mounted_often() -> None:
    """Under several rules and methods, with other variables."""

    @operation
    async def handler(a: int = 0, b: int = 0) -> list[int]:
        return [a, b]

    app = app_of(("GET", "/x/<int:a>", handler), ("POST", "/x/<int:a>/<int:b>", handler), ("PUT", "/", handler))
    async with running(app, tables=False) as client:
        assert await (await client.get("/x/1?b=5")).get_json() == [1, 5]
        assert await (await client.post("/x/1/2")).get_json() == [1, 2]
        assert await (await client.put("/?a=3")).get_json() == [3, 0]


def test_a_view_has_one_operation() -> None:
    """Requests, the checks at start and the documentation read the same object."""

    @operation(status=201, raises=[Conflict], location=".read", session="write", retry_safe=True)
    async def handler(data: ItemCreate) -> ItemRead:
        raise NotImplementedError

    found = operation_of(handler)
    assert found is not None
    assert (found.output.status, found.raises, found.location, found.session, found.retry_safe) == (
        201, (Conflict,), ".read", "write", True,
    )  # fmt: skip
    assert found.inputs.body is not None
    assert (found.output.type, found.inputs.body.reader.media_types) == (ItemRead, ("application/json",))


def test_the_view_is_still_the_handler() -> None:
    """Name, module, docstring and signature are the handler's."""
    assert (create_item.__name__, create_item.__doc__) == ("create_item", "Put an item on sale.")
    assert list(inspect.signature(create_item).parameters) == ["data", "session"]
    assert create_item.__module__ == __name__


async def test_the_document_shows_an_operation(sqlite_url: str) -> None:
    """Path, query, body, answer, problems and Location are in `/openapi.json`."""

    @operation(status=201, raises=[Conflict], location=".item_get")
    async def create(shelf_id: int, data: ItemCreate, verbose: bool = False) -> ItemRead:
        """Put an item on a shelf."""
        raise Conflict

    @operation
    async def item(shelf_id: int, item_id: UUID) -> ItemRead:
        raise NotFound

    blueprint = routes(
        ("POST", "/shelves/<int:shelf_id>", create), ("GET", "/shelves/<int:shelf_id>/<uuid:item_id>", item)
    )
    document = (await send(make_app(sqlite_url, blueprint), "GET", "/openapi.json")).json

    found = document["paths"]["/shelves/{shelf_id}"]["post"]
    assert found["summary"] == "Put an item on a shelf."
    assert [parameter["name"] for parameter in found["parameters"]] == ["shelf_id", "verbose"]
    assert "application/json" in found["requestBody"]["content"]
    assert {"201", "400", "404", "409", "413", "415", "422"} <= found["responses"].keys()
    assert "Location" in found["responses"]["201"]["headers"]
    assert {"ItemCreate", "ItemRead"} <= document["components"]["schemas"].keys()


async def test_marks_of_others_pass_through() -> None:
    """A decorator above `@operation` that keeps names and attributes changes nothing."""

    @operation
    async def inner(limit: int = 1) -> int:
        return limit

    @wraps(inner)
    async def outer(**path: Any) -> Any:
        return await inner(**path)

    assert operation_of(outer) is operation_of(inner)
    assert (await ask(outer, "/?limit=2")).json == 2


async def test_blueprints_and_the_app_itself() -> None:
    """`@operation` is at home on `app.get`, in a blueprint, and in a nested one."""

    @operation
    async def handler() -> str:
        return request.endpoint or ""

    inner, outer = Blueprint("inner", __name__, url_prefix="/in"), Blueprint("outer", __name__, url_prefix="/out")
    public(handler)
    inner.get("/")(handler)
    outer.register_blueprint(inner)
    app: Quart = app_of(("GET", "/", handler))
    app.register_blueprint(outer)
    app.get("/app")(handler)

    async with running(app, tables=False) as client:
        found = [await (await client.get(path)).get_json() for path in ("/", "/out/in/", "/app")]

    assert found == ["shop.handler_get", "outer.inner.handler", "handler"]


async def test_an_unclassified_database_error_is_a_500(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A mistake in SQL is the service's own: logged with its traceback, nothing of it in the answer."""

    @operation
    async def mistake(session: AsyncSession) -> None:
        await session.execute(text("SELECT nonsense FROM nowhere"))

    async with shop(postgres_url, ("GET", "/", mistake)) as client:
        response = await client.get("/")

    assert response.status_code == 500
    assert b"nonsense" not in await response.get_data()
    assert [record.exc_info is not None for record in caplog.records if record.levelname == "ERROR"] == [True]


async def test_an_app_that_was_not_started_says_so(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A test client without `test_app()` has no engines; an app without a database never will."""
    started_never = make_app(sqlite_url, routes(("GET", "/<uuid:item_id>", read_item)))
    without = app_of(("GET", "/<uuid:item_id>", read_item))
    for app, words in ((started_never, "use `async with app.test_app()`"), (without, "give create_app() a database")):
        assert (await app.test_client().get(f"/{UUID(int=0)}")).status_code == 500
        assert words in caplog.text


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


class ShelfItem(BaseModel):
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
    async def post(self, shelf_id: int, data: ShelfItem) -> ShelfItem:
        """Put something on it."""
        return data if shelf_id else ShelfItem(name="nothing")

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
