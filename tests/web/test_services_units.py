"""Services inside the unit of work: what they may take, and what their failures and clean-ups do to it."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, cast
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel
from quart import Quart, Response
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import (
    Conflict,
    Forbidden,
    NotFound,
    Principal,
    ReadSchema,
    Settings,
    check_preconditions,
    conditional,
    on_commit,
    operation,
)
from ligand_async.testing import authorization
from ligand_async.web import Depends, ErrorReturned, ServiceError, app_scope, services_of
from tests.services import Item, Shelf, app_of, db, make_app, routes, running, send

events: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    events.clear()


class Stock:
    """A repository: it works on the session of the request."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def add(self, name: str) -> None:
        self.session.add(Item(name=name))
        await self.session.flush()


class Tenant(str):
    """Made of the caller."""

    __slots__ = ()


class Trail(list[str]):
    """Something with a clean-up."""


def tenant_of(principal: Principal) -> Tenant:
    return Tenant(principal.subject)


async def count_items() -> int:
    async with db.read() as session:
        return await session.scalar(select(func.count()).select_from(Item)) or 0


async def count_shelves() -> int:
    async with db.read() as session:
        return await session.scalar(select(func.count()).select_from(Shelf)) or 0


# -- what a factory may take


async def test_a_repository_works_on_the_session_of_the_handler(database_url: str) -> None:
    """There is one session in a request: what the repository adds is committed with the handler's work."""

    @operation
    async def add(stock: Stock, session: AsyncSession) -> bool:
        await stock.add("one")
        session.add(Item(name="two"))
        return stock.session is session

    app = make_app(database_url, routes(("POST", "/", add)), provide={Stock: Stock})
    async with running(app) as client:
        answer = await client.post("/")
        assert (answer.status_code, await answer.get_json()) == (200, True)
        assert await count_items() == 2


async def test_a_service_with_a_session_makes_the_request_a_unit_of_work(database_url: str) -> None:
    """The handler need not take the session itself; a failure rolls back, and safe methods only read."""

    @operation
    async def add(stock: Stock) -> None:
        await stock.add("one")

    @operation
    async def fail(stock: Stock) -> None:
        await stock.add("two")
        raise Conflict("no")

    @operation
    async def read(stock: Stock) -> None:
        await stock.session.execute(text("UPDATE shelf SET label = 'b'"))

    blueprint = routes(("POST", "/", add), ("POST", "/fail", fail), ("GET", "/", read))
    async with running(make_app(database_url, blueprint, provide={Stock: Stock})) as client:
        assert (await client.post("/")).status_code == 204
        assert (await client.post("/fail")).status_code == 409
        assert (await client.get("/")).status_code >= 500
        assert (await count_items(), await count_shelves()) == (1, 0)


async def test_a_service_is_made_of_the_caller() -> None:
    """A factory that takes a `Principal` makes the route ask for one, before it reads the body."""

    class Body(BaseModel):
        name: str

    @operation
    async def handler(tenant: Tenant, data: Body) -> str:
        return tenant

    app = app_of(("POST", "/", handler), provide={Tenant: tenant_of})
    async with running(app, tables=False) as client:
        anonymous = await client.post("/", json={"wrong": True})
        ada = await client.post("/", json={"name": "x"}, headers=authorization(app, subject="ada"))

    assert anonymous.status_code == 401
    assert (ada.status_code, await ada.get_json()) == (200, "ada")


async def test_a_service_may_do_without_a_caller() -> None:
    """`Principal | None`, also with a default, is None for an anonymous request."""

    def greet(principal: Principal | None = None) -> Tenant:
        return Tenant("nobody" if principal is None else principal.subject)

    @operation
    async def handler(tenant: Tenant) -> str:
        return tenant

    app = app_of(("GET", "/", handler), provide={Tenant: greet})
    async with running(app, tables=False) as client:
        assert await (await client.get("/")).get_json() == "nobody"
        assert await (await client.get("/", headers=authorization(app, subject="bob"))).get_json() == "bob"


async def test_services_take_settings_and_each_other() -> None:
    """Settings, per-request services, app-scoped services and instances, in any order of provision."""

    class Port(int):
        pass

    class Address(str):
        __slots__ = ()

    def address(settings: Settings, port: Port, name: Tenant) -> Address:
        return Address(f"{settings.environment}:{port}:{name}")

    @operation
    async def handler(address: Address, settings: Settings) -> list[str]:
        return [address, str(settings.environment)]

    provide = {Address: address, Tenant: app_scope(lambda: Tenant("t")), Port: Port(7)}
    answer = await send(app_of(("GET", "/", handler), provide=provide), "GET", "/")

    assert answer.json == ["testing:7:t", "testing"]


async def test_other_defaults_of_a_provided_factory_stay() -> None:
    """Its parameters with a default are not query parameters: a request cannot set them."""

    def make(retries: int = 3) -> Trail:
        return Trail([str(retries)])

    @operation
    async def handler(trail: Trail) -> list[str]:
        return trail

    app = app_of(("GET", "/", handler), provide={Trail: make})

    assert (await send(app, "GET", "/")).json == ["3"]
    assert (await send(app, "GET", "/?retries=9")).status == 422


def yields() -> Iterator[Trail]:
    yield Trail(["sync"])


async def yields_async() -> AsyncIterator[Trail]:
    yield Trail(["async"])


def takes(word: str) -> Trail:
    return Trail([word])


@asynccontextmanager
async def manages(word: str) -> AsyncIterator[Trail]:
    yield Trail([word])


FACTORIES: dict[str, tuple[Callable[..., Any], str]] = {
    "generator": (yields, "sync"),
    "async generator": (yields_async, "async"),
    "partial": (functools.partial(takes, "partial"), "partial"),
    "context manager": (contextmanager(yields), "sync"),
    "async context manager": (asynccontextmanager(yields_async), "async"),
    "partial of one": (functools.partial(manages, "both"), "both"),
}


@pytest.mark.parametrize("scope", [lambda factory: factory, app_scope], ids=["request", "app"])
@pytest.mark.parametrize(("factory", "word"), FACTORIES.values(), ids=FACTORIES.keys())
async def test_kinds_of_factories(factory: Callable[..., Any], word: str, scope: Callable[..., Any]) -> None:
    """Generators, partials and context managers make services, for a request or for the app."""

    @operation
    async def handler(trail: Trail) -> list[str]:
        return trail

    assert (await send(app_of(("GET", "/", handler), provide={Trail: scope(factory)}), "GET", "/")).json == [word]


# -- Depends


class ItemRead(ReadSchema, model=Item):
    name: str


async def load_item(item_id: UUID, session: AsyncSession, principal: Principal) -> Item:
    events.append("load")
    item = await session.get(Item, item_id)
    if item is None:
        raise NotFound("no such item")
    if item.name != principal.subject:
        raise Forbidden("not yours")
    return item


OwnItem = Annotated[Item, Depends(load_item, raises=[NotFound, Forbidden])]


async def describe(item: OwnItem, loud: bool = False) -> str:
    return item.name.upper() if loud else item.name


async def store(name: str) -> UUID:
    async with db.transaction() as session:
        item = Item(name=name)
        session.add(item)
        await session.flush()
        return item.id


async def test_a_function_loads_what_the_handler_works_on(database_url: str) -> None:
    """It takes path variables, session and caller, runs once per request, and what it raises is the answer."""

    @operation
    async def read(item: OwnItem, about: Annotated[str, Depends(describe)], again: OwnItem) -> dict[str, Any]:
        return {"name": item.name, "about": about, "same": item is again}

    app = make_app(database_url, routes(("GET", "/<uuid:item_id>", read)))
    async with running(app) as client:
        ada = authorization(app, subject="ada")
        own, other = await store("ada"), await store("bob")
        found = await client.get(f"/{own}?loud=true", headers=ada)
        assert (found.status_code, await found.get_json()) == (200, {"name": "ada", "about": "ADA", "same": True})
        assert events == ["load"]
        assert (await client.get(f"/{other}", headers=ada)).status_code == 403
        assert (await client.get(f"/{uuid4()}", headers=ada)).status_code == 404
        assert (await client.get(f"/{own}")).status_code == 401
        assert (await client.get(f"/{own}?louder=1", headers=ada)).status_code == 422
        assert (await client.get(f"/{own}?loud=maybe", headers=ada)).status_code == 422


async def test_a_function_may_load_under_preconditions(database_url: str) -> None:
    """`@conditional` finds the session in the function, and what it loaded is checked and changed in one unit."""

    @conditional
    @operation
    async def rename(item: OwnItem) -> ItemRead:
        check_preconditions(item)
        item.price = 5
        return ItemRead.model_validate(item)

    app = make_app(database_url, routes(("PUT", "/<uuid:item_id>", rename)))
    async with running(app) as client:
        ada, own = authorization(app, subject="ada"), await store("ada")
        assert (await client.put(f"/{own}", headers=ada)).status_code == 428
        assert (await client.put(f"/{own}", headers={**ada, "If-Match": "*"})).status_code == 200
        assert (await client.put(f"/{own}", headers={**ada, "If-Match": '"1-x"'})).status_code in {400, 412}


async def test_a_function_reads_headers_and_body_once() -> None:
    """`headers` and `data` of a function are read like the handler's, and the handler does not get them."""

    class Wanted(BaseModel):
        x_tenant: str

    class Body(BaseModel):
        name: str

    def joined(headers: Wanted, data: Body) -> str:
        return f"{headers.x_tenant}/{data.name}"

    @operation
    async def handler(words: Annotated[str, Depends(joined)]) -> str:
        return words

    app = app_of(("POST", "/", handler))

    assert (await send(app, "POST", "/", json={"name": "n"}, headers={"X-Tenant": "t"})).json == "t/n"
    assert (await send(app, "POST", "/", json={"nom": "n"}, headers={"X-Tenant": "t"})).status == 422
    assert (await send(app, "POST", "/", json={"name": "n"})).errors == [("x-tenant", "missing")]


class TenantHeaders(BaseModel):
    x_tenant: str


class Page(BaseModel):
    size: int = 5


class Note(BaseModel):
    text: str


class Lang(BaseModel):
    lang: str = "en"


def of_headers(headers: TenantHeaders) -> Tenant:
    return Tenant(headers.x_tenant)


def of_everything(query_args: Page, cookies: Lang, data: Note, number: int, limit: int = 3) -> Trail:
    return Trail([str(query_args.size), cookies.lang, data.text, str(number), str(limit)])


async def test_a_provided_factory_reads_the_request() -> None:
    """Headers, cookies, the query string, the body and path variables are read, checked and documented for it."""

    @operation
    async def read(tenant: Tenant) -> str:
        return tenant

    @operation
    async def write(trail: Trail, number: int) -> list[str]:
        return list(trail)

    app = app_of(
        ("GET", "/", read), ("POST", "/<int:number>", write), provide={Tenant: of_headers, Trail: of_everything}
    )
    async with running(app, tables=False) as client:
        assert await (await client.get("/", headers={"X-Tenant": "ada"})).get_json() == "ada"
        assert (await client.get("/")).status_code == 422
        sent = {"json": {"text": "t"}, "headers": {"Cookie": "lang=de"}}
        assert await (await client.post("/7?size=9", **sent)).get_json() == ["9", "de", "t", "7", "3"]
        assert [(await client.post(path, **sent)).status_code for path in ("/7?size=x", "/7?limit=1")] == [422, 422]
        assert (await client.post("/7", json={"txt": "t"})).status_code == 422
        paths = (await (await client.get("/openapi.json")).get_json())["paths"]
    parameters = {(one["name"], one["in"]) for one in paths["/{number}"]["post"]["parameters"]}
    assert {("number", "path"), ("size", "query"), ("lang", "cookie")} <= parameters
    assert "requestBody" in paths["/{number}"]["post"]
    assert ("x-tenant", "header") in {(one["name"], one["in"]) for one in paths["/"]["get"]["parameters"]}


async def test_a_request_does_not_set_what_a_provided_factory_has() -> None:
    """A default stays, and a provided type is made, although the handler has query parameters of these names."""

    def make(tenant: Tenant, size: int = 100) -> Trail:
        return Trail([tenant, str(size)])

    @operation
    async def handler(trail: Trail, tenant: str = "query", size: int = 10) -> list[str]:
        return [*trail, tenant, str(size)]

    app = app_of(("GET", "/", handler), provide={Trail: make, Tenant: lambda: Tenant("made")})

    assert (await send(app, "GET", "/?size=7&tenant=mallory")).json == ["made", "100", "mallory", "7"]


# -- clean-up


async def test_a_transaction_of_a_service_ends_with_the_request(postgres_url: str) -> None:
    """A factory that wraps its `yield` in a transaction of its own sees the failure, and keeps nothing."""

    async def ledger() -> AsyncIterator[Trail]:
        async with db.transaction() as session:
            session.add(Shelf(label="kept"))
            yield Trail()

    @operation
    async def fail(trail: Trail) -> None:
        raise NotFound("nothing")

    @operation
    async def add(trail: Trail, session: AsyncSession) -> None:
        session.add(Item(name="x"))

    blueprint = routes(("POST", "/fail", fail), ("POST", "/", add))
    async with running(make_app(postgres_url, blueprint, provide={Trail: ledger})) as client:
        assert (await client.post("/fail")).status_code == 404
        assert await count_shelves() == 0
        assert (await client.post("/")).status_code == 204
        assert (await count_shelves(), await count_items()) == (1, 1)
        # Now its commit fails: the label is taken. The handler's work is not kept either.
        assert (await client.post("/")).status_code == 409
        assert (await count_shelves(), await count_items()) == (1, 1)


async def test_callbacks_belong_to_the_unit_that_they_stand_in(postgres_url: str) -> None:
    """`on_commit` in a handler means the request's commit, also while a service has a transaction of its own open."""

    async def ledger() -> AsyncIterator[Trail]:
        async with db.transaction() as session:
            session.add(Shelf(label="kept"))
            yield Trail()
            on_commit(lambda: events.append("of the ledger"))

    @operation
    async def add(trail: Trail, session: AsyncSession) -> None:
        on_commit(lambda: events.append("of the handler"))
        session.add(Item(name="once"))

    app = make_app(postgres_url, routes(("POST", "/", add)), provide={Trail: ledger})
    async with running(app) as client:
        assert (await client.post("/")).status_code == 204
        assert events == ["of the ledger", "of the handler"]
        events.clear()
        assert (await client.post("/")).status_code == 409
    assert events == []


# -- every failure reaches them


def return_response() -> Any:
    return Response("gone", status=410, content_type="text/plain", headers={"X-Reason": "sold"})


def return_response_and_status() -> Any:
    return Response("gone", content_type="text/plain", headers={"X-Reason": "sold"}), 410


def return_status() -> Any:
    return "gone", 410, {"X-Reason": "sold"}


RETURNS = [return_response, return_response_and_status, return_status]


@pytest.mark.parametrize("make", RETURNS)
async def test_services_see_an_error_that_the_handler_returns(make: Callable[[], Any], database_url: str) -> None:
    """A transaction of a service rolls back, whether the request has one or not, and the answer is the handler's."""

    async def ledger() -> AsyncIterator[Trail]:
        async with db.transaction() as session:
            session.add(Shelf(label="kept"))
            yield Trail()

    @operation
    async def alone(trail: Trail) -> str:
        return cast(str, make())

    @operation
    async def together(trail: Trail, session: AsyncSession) -> str:
        session.add(Item(name="x"))
        return cast(str, make())

    views = routes(("POST", "/", alone), ("POST", "/together", together))
    paths = ["/", "/together"] if database_url.startswith("postgresql") else ["/"]  # SQLite has one writer
    async with running(make_app(database_url, views, provide={Trail: ledger})) as client:
        for path in paths:
            answer = await client.post(path)
            assert (answer.status_code, answer.headers["X-Reason"]) == (410, "sold")
            assert "Gone" in await answer.get_data(as_text=True)
            assert (await count_shelves(), await count_items()) == (0, 0)


async def test_an_error_that_was_returned_has_a_name_for_services() -> None:
    """`ErrorReturned` has the response; to swallow it changes nothing, to raise another makes that one the answer."""
    ended: list[int] = []

    def note(loud: bool = False) -> Iterator[Trail]:
        try:
            yield Trail()
        except ErrorReturned as error:
            ended.append(error.response.status_code)
            events.append(str(error))
            if loud:
                raise Forbidden("of the service") from error

    @operation
    async def fail(trail: Annotated[Trail, Depends(note)], loud: bool = False) -> Response:
        problem = '{"type": "about:blank", "title": "Conflict", "status": 409}'
        return Response(problem, status=409, content_type="application/problem+json")

    app = app_of(("GET", "/", fail))
    assert [(await send(app, "GET", path)).status for path in ("/", "/?loud=true")] == [409, 403]
    assert ended == [409, 409]
    assert events == ["the handler returned the status 409, so the unit of work is rolled back"] * 2


class Odd(BaseModel):
    name: str


def fail_to_flush(session: AsyncSession) -> Any:
    session.add_all([Item(name="twice"), Item(name="twice")])
    return Odd(name="x")


def fail_to_serialize(session: AsyncSession) -> Any:
    return {"nom": object()}


def fail_to_check(session: AsyncSession) -> Any:
    return Odd(name="x")


@pytest.mark.parametrize(
    ("work", "status", "seen"),
    [
        (fail_to_flush, 409, "IntegrityError"),
        (fail_to_serialize, 500, "ResponseInvalid"),
        (fail_to_check, 500, "PreconditionsUnchecked"),
    ],
)
async def test_services_see_what_fails_after_the_handler(
    work: Callable[[AsyncSession], Any], status: int, seen: str, database_url: str
) -> None:
    """The flush, the making of the answer and its preconditions come before the code after a `yield`."""

    async def note(session: AsyncSession) -> AsyncIterator[Trail]:
        session.add(Shelf(label="kept"))
        try:
            yield Trail()
        except Exception as error:
            events.append(type(error).__name__)
            raise

    @operation
    async def handler(trail: Trail, session: AsyncSession) -> Odd:
        return cast(Odd, work(session))

    view = conditional(handler) if work is fail_to_check else handler
    blueprint = routes(("PUT", "/", view))
    async with running(make_app(database_url, blueprint, provide={Trail: note})) as client:
        assert (await client.put("/", headers={"If-Match": "*"})).status_code == status
        assert events == [seen]
        assert await count_shelves() == 0


async def test_a_function_after_the_request_comes_after_all(database_url: str) -> None:
    """When one raises, the commits stand, those of services and that of the request: no half is kept."""

    async def note(session: AsyncSession) -> AsyncIterator[Trail]:
        yield Trail()
        session.add(Shelf(label="kept"))

    @operation
    async def add(trail: Trail, session: AsyncSession) -> None:
        session.add(Item(name="x"))

    app = make_app(database_url, routes(("POST", "/", add)), provide={Trail: note})

    @app.after_request
    async def fail(response: Any) -> Any:
        raise LookupError("after all")

    async with running(app) as client:
        assert (await client.post("/")).status_code == 500
        assert (await count_items(), await count_shelves()) == (1, 1)


async def test_what_a_clean_up_writes_is_in_the_answer(database_url: str) -> None:
    """The answer is made anew after the clean-up: its tag is that of the row as it is stored."""

    async def reprice(session: AsyncSession) -> AsyncIterator[Trail]:
        yield Trail()
        (await session.scalars(select(Item))).one().price = 9

    @operation
    async def add(trail: Trail, session: AsyncSession) -> ItemRead:
        item = Item(name="x")
        session.add(item)
        await session.flush()
        return ItemRead.model_validate(item)

    @operation
    async def read(session: AsyncSession) -> ItemRead:
        return ItemRead.model_validate((await session.scalars(select(Item))).one())

    views = routes(("POST", "/", add), ("GET", "/", read))
    async with running(make_app(database_url, views, provide={Trail: reprice})) as client:
        made, found = await client.post("/"), await client.get("/")
        version = [answer.headers["ETag"].strip('"').partition("-")[0] for answer in (made, found)]
        assert (made.status_code, version) == (200, ["2", "2"])


async def test_a_failed_commit_is_the_answer_whatever_services_kept(postgres_url: str) -> None:
    """The commit comes after the clean-up: no answer says success, and a service that has committed has committed."""

    async def ledger() -> AsyncIterator[Trail]:
        async with db.transaction() as session:
            session.add(Shelf(label="kept"))
            yield Trail()

    @operation(status=201)
    async def owe(trail: Trail, session: AsyncSession) -> None:
        session.add(Item(name="x"))
        await session.execute(text("INSERT INTO debt VALUES (1, 2)"))

    async with running(make_app(postgres_url, routes(("POST", "/", owe)), provide={Trail: ledger})) as client:
        async with db.transaction() as session:
            await session.execute(
                text("CREATE TABLE debt (id int PRIMARY KEY, of int REFERENCES debt DEFERRABLE INITIALLY DEFERRED)")
            )
        assert (await client.post("/")).status_code == 409
        assert (await count_items(), await count_shelves()) == (0, 1)


async def test_the_clean_up_runs_before_the_commit(database_url: str) -> None:
    """What it writes to the session of the request is committed with the rest; if it fails, nothing is."""

    async def closing(session: AsyncSession) -> AsyncIterator[Trail]:
        trail = Trail()
        yield trail
        session.add(Shelf(label="closing"))
        if trail:
            raise Conflict("the clean-up says no")

    @operation
    async def add(trail: Trail, session: AsyncSession, bad: bool = False) -> None:
        session.add(Item(name="x"))
        if bad:
            trail.append("bad")

    app = make_app(database_url, routes(("POST", "/", add)), provide={Trail: closing})
    async with running(app) as client:
        assert (await client.post("/?bad=1")).status_code == 409
        assert (await count_items(), await count_shelves()) == (0, 0)
        assert (await client.post("/")).status_code == 204
        assert (await count_items(), await count_shelves()) == (1, 1)


async def fail_with(trail: Trail) -> None:
    raise Conflict("of the handler")


def swallowing() -> Iterator[Trail]:
    try:
        yield Trail()
    except Conflict:
        events.append("swallowed")


async def swallowing_async() -> AsyncIterator[Trail]:
    try:
        yield Trail()
    except Conflict:
        events.append("swallowed")


def translating() -> Iterator[Trail]:
    try:
        yield Trail()
    except Conflict as error:
        raise Forbidden("translated") from error


async def translating_async() -> AsyncIterator[Trail]:
    try:
        yield Trail()
    except Conflict as error:
        raise Forbidden("translated") from error


@pytest.mark.parametrize(
    ("factory", "status", "seen"),
    [
        (swallowing, 409, ["swallowed"]),
        (swallowing_async, 409, ["swallowed"]),
        (translating, 403, []),
        (translating_async, 403, []),
    ],
)
async def test_the_code_after_the_yield_gets_the_exception(
    factory: Callable[..., Any], status: int, seen: list[str]
) -> None:
    """To swallow it changes nothing; to raise another makes that one the answer."""
    app = app_of(("GET", "/", operation(fail_with)), provide={Trail: factory})

    assert (await send(app, "GET", "/")).status == status
    assert events == seen


async def test_services_that_were_made_later_are_closed_first_and_may_fail_the_earlier_ones() -> None:
    """The failure of one clean-up is thrown into the services that are still open."""

    def first() -> Iterator[Tenant]:
        try:
            yield Tenant("t")
        except Forbidden:
            events.append("first saw it")
            raise

    def second(tenant: Tenant) -> Iterator[Trail]:
        yield Trail()
        raise Forbidden("at the end")

    @operation
    async def handler(trail: Trail) -> None:
        events.append("handled")

    answer = await send(app_of(("GET", "/", handler), provide={Tenant: first, Trail: second}), "GET", "/")

    assert (answer.status, events) == (403, ["handled", "first saw it"])


def yields_twice() -> Iterator[Trail]:
    yield Trail()
    yield Trail()


async def yields_twice_async() -> AsyncIterator[Trail]:
    yield Trail()
    yield Trail()


def yields_never() -> Iterator[Trail]:
    yield from ()


async def yields_never_async() -> AsyncIterator[Trail]:
    for nothing in list[Trail]():
        yield nothing


@pytest.mark.parametrize("factory", [yields_twice, yields_twice_async, yields_never, yields_never_async])
async def test_a_factory_yields_once(factory: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """One that yields twice or never is a mistake of the service, by name."""

    @operation
    async def handler(trail: Trail) -> None: ...

    assert (await send(app_of(("GET", "/", handler), provide={Trail: factory}), "GET", "/")).status == 500
    assert f"{factory.__name__} " in caplog.text
    assert "a factory yields its service once" in caplog.text


async def test_the_deadline_reaches_services(database_url: str) -> None:
    """A factory that hangs, before or after its `yield`, is a 504; the clean-up sees the cancellation."""

    async def slow(session: AsyncSession, when: str) -> AsyncIterator[Trail]:
        if when == "before":
            await asyncio.sleep(30)
        session.add(Shelf(label=when))
        try:
            yield Trail()
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        if when == "after":
            await asyncio.sleep(30)

    @operation
    async def handler(when: str, trail: Trail) -> None:
        if when == "during":
            await asyncio.sleep(30)

    app = make_app(
        database_url, routes(("POST", "/<when>", handler)), provide={Trail: slow}, settings={"request_timeout": 0.3}
    )
    async with running(app) as client:
        for when in ("before", "during", "after"):
            assert (await client.post(f"/{when}")).status_code == 504
        assert await count_shelves() == 0
        assert (await client.post("/never")).status_code == 204
        assert await count_shelves() == 1
    assert events == ["cancelled"]


# -- the graph


class Mailer:
    """Nobody provides it."""


def make_a(trail: Trail) -> Tenant:
    return Tenant()


def make_b(tenant: Tenant) -> Trail:
    return Trail()


def needs_mailer(mailer: Mailer) -> Trail:
    return Trail()


def needs_session(session: AsyncSession) -> Trail:
    return Trail()


def takes_text(number: str) -> Trail:
    return Trail([number])


def takes_page(query_args: Page) -> Trail:
    return Trail()


def takes_no_model(headers: str) -> Trail:
    return Trail([headers])


def needs_anything(thing) -> Trail:  # type: ignore[no-untyped-def]  # the mistake
    return Trail()


def needs_itself(word: "Annotated[str, Depends(needs_itself)]") -> str:
    return word


@operation
async def wants_trail(trail: Trail) -> None: ...


@operation
async def wants_number(trail: Trail, number: int = 0) -> None: ...


@operation
async def wants_query(trail: Trail, query_args: Lang) -> None: ...


@operation
async def wants_words(words: Annotated[str, Depends(needs_itself)]) -> None: ...


async def start(app: Quart) -> str:
    with pytest.raises(TypeError) as caught:
        await app.startup()
    return str(caught.value)


@pytest.mark.parametrize(
    ("handler", "provide", "words"),
    [
        (wants_trail, {Trail: needs_mailer}, "wants_trail -> Trail: nothing provides Mailer for parameter 'mailer'"),
        (wants_trail, {Trail: make_b, Tenant: make_a}, "Trail -> Tenant -> Trail: these services need each other"),
        (wants_trail, {Trail: needs_anything}, "wants_trail -> Trail: parameter 'thing' has no annotation"),
        (
            wants_number,
            {Trail: takes_text},
            "wants_number -> Trail: parameter 'number' is read once for the request, as int and not as str",
        ),
        (
            wants_query,
            {Trail: takes_page},
            "parameter 'query_args' is read once for the request, as Lang and not as Page",
        ),
        (wants_trail, {Trail: takes_no_model}, "wants_trail: headers needs a pydantic model"),
        (wants_trail, {}, "parameter 'trail' is neither a variable of the rule nor a type"),
        (
            wants_trail,
            {Trail: app_scope(needs_session)},
            "'session': AsyncSession belongs to a request",
        ),
        (wants_trail, {Trail: app_scope(make_b), Tenant: lambda: Tenant()}, "'tenant': Tenant belongs to a request"),
        (wants_trail, {Trail: app_scope(needs_mailer)}, "Trail: nothing provides Mailer for parameter 'mailer'"),
        (
            wants_trail,
            {Trail: app_scope(make_b), Tenant: app_scope(make_a)},
            "Trail -> Tenant -> Trail: these services need each other",
        ),
        (wants_words, {}, "needs_itself -> needs_itself: these services need each other"),
        (wants_trail, {Trail: needs_session}, "a service takes a session, and the app has no database"),
    ],
)
async def test_a_graph_that_does_not_fit_keeps_the_app_from_starting(
    handler: Callable[..., Any], provide: Any, words: str
) -> None:
    """The error shows the way from the handler to the mistake, and the remedy."""
    assert words in await start(app_of(("GET", "/", handler), provide=provide))


def test_inputs_that_contradict_each_other_are_refused_at_import() -> None:
    """A function and the handler read one request: one name, one annotation, one default."""

    def page(size: int = 5) -> str:
        return str(size)

    with pytest.raises(TypeError, match="parameter 'size' is read once for the request, and is declared otherwise"):

        @operation
        async def handler(size: int = 10, word: Annotated[str, Depends(page)] = "") -> None: ...


# -- replacing


class Fake:
    """Not a Mailer, and speaks like one."""

    name = "fake"

    def __call__(self) -> None:
        raise AssertionError("a fake that can be called is not a factory")


@pytest.mark.parametrize("scope", [lambda factory: factory, app_scope], ids=["request", "app"])
async def test_a_fake_of_any_type_replaces_a_service(scope: Callable[..., Any]) -> None:
    """Duck typing: any object, before the start or while the app runs."""

    @operation
    async def handler(tenant: Tenant) -> str:
        return str(getattr(tenant, "name", tenant))

    app = app_of(("GET", "/", handler), provide={Tenant: scope(lambda: Tenant("real"))})
    async with running(app, tables=False) as client:
        assert await (await client.get("/")).get_json() == "real"
        services_of(app).replace(Tenant, Fake())
        assert await (await client.get("/")).get_json() == "fake"
        services_of(app).replace(Tenant, lambda: Tenant("made"))
        assert await (await client.get("/")).get_json() == "made"
        with pytest.raises(RuntimeError, match="replace it before"):
            services_of(app).replace(Tenant, app_scope(lambda: Tenant("late")))


async def test_a_function_in_depends_is_replaced_too() -> None:
    """By a value or by another function."""

    def load() -> str:
        return "real"

    @operation
    async def handler(word: Annotated[str, Depends(load)]) -> str:
        return word

    for fake in ("fake", lambda: "fake"):
        app = app_of(("GET", "/", handler))
        services_of(app).replace(load, fake)
        assert (await send(app, "GET", "/")).json == "fake"


def add(first: int, second: int) -> int:
    return first + second


class Loader:
    """Can be called, and is made by calling it."""

    def __init__(self, size: int = 1) -> None:
        self.size = size

    def __call__(self, size: int = 2) -> str:
        return f"loaded {size}"

    def __str__(self) -> str:
        return f"made {self.size}"


@dataclass
class Listing:
    """Equal to others, so it has no hash."""

    def __call__(self) -> str:
        return "listed"


sum_of = functools.partial(add, 1)
load_words = Loader()


@pytest.mark.parametrize("fake", ["fake", lambda: "fake", functools.partial(str, "fake"), type("fake", (), {})])
@pytest.mark.parametrize(
    ("dependency", "rule", "path", "real"),
    [
        (Loader, "/", "/?size=3", "made 3"),
        (sum_of, "/<int:second>", "/3", "4"),
        (load_words, "/", "/?size=3", "loaded 3"),
    ],
    ids=["class", "partial", "object"],
)
async def test_whatever_stands_in_depends_is_replaced(
    dependency: Any, rule: str, path: str, real: str, fake: Any
) -> None:
    """A class, a partial function and an object that can be called work like functions, and are replaced like them."""

    @operation
    async def handler(word: Annotated[Any, Depends(dependency)]) -> str:
        return str(word)

    app = app_of(("GET", rule, handler))
    assert (await send(app, "GET", path)).json == real
    services_of(app).replace(dependency, fake)
    assert "fake" in (await send(app, "GET", path)).json


def load_more() -> str:
    return "more"


async def test_only_what_an_operation_depends_on_is_replaced() -> None:
    """A function that nothing depends on is refused at once; one that a function depends on is found."""

    def load(more: Annotated[str, Depends(load_more)]) -> str:
        return more

    @operation
    async def handler(word: Annotated[str, Depends(load)]) -> str:
        return word

    app = app_of(("GET", "/", handler))
    services_of(app).replace(load_more, "less")
    assert (await send(app, "GET", "/")).json == "less"
    strangers: list[Any] = [add, Loader, sum_of, [], "load"]
    for stranger in strangers:
        with pytest.raises(LookupError, match="is not provided, so nothing can replace it"):
            services_of(app).replace(stranger, "less")
    with pytest.raises(TypeError, match=r"runs for each request; leave app_scope\(\) out"):
        services_of(app).replace(load_more, app_scope(lambda: "less"))


async def test_services_of_the_app_are_there_for_scripts() -> None:
    """`get` returns instances and app-scoped services, and says why it cannot return others."""
    app = app_of(provide={Tenant: app_scope(lambda: Tenant("t")), Trail: lambda: Trail()})
    with pytest.raises(LookupError, match="does the app run"):
        services_of(app).get(Tenant)
    async with running(app, tables=False):
        assert services_of(app).get(Tenant) == "t"
        with pytest.raises(LookupError, match="Trail is made for each request"):
            services_of(app).get(Trail)


def test_only_functions_are_dependencies() -> None:
    """`Depends` refuses at import what cannot be called."""
    with pytest.raises(TypeError, match=r"Depends\(\) takes a function, not a str"):
        Depends("load")  # type: ignore[arg-type]  # the mistake
    with pytest.raises(TypeError, match="has a hash; give Listing one"):
        Depends(Listing())
    assert issubclass(ServiceError, TypeError)
