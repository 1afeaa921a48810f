"""Requests that name a key are served once."""

import asyncio
from datetime import timedelta
from typing import Annotated, Any

import pytest
from pydantic import AliasChoices, BaseModel, Field
from quart import Response
from quart.testing.app import LifespanError
from quart.views import MethodView
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase

from ligand_async import Database, Model, idempotent, on_commit, operation
from ligand_async.data import utc_now
from ligand_async.web import Depends
from ligand_async.web.idempotency import IdempotentMark, idempotent_mark
from tests.services import make_app, routes
from tests.web.orders import TABLE, Base, add, count, new_key, orders, shop

CUP = {"item": "cup"}


async def said(response: Any) -> tuple[int, dict[str, str], bytes]:
    """Return what an answer says, apart from what every answer has of its own."""
    ours = {"content-type", "content-length", "etag", "x-order"}
    headers = {name.lower(): value for name, value in response.headers.items() if name.lower() in ours}
    return response.status_code, headers, await response.get_data()


async def test_the_same_request_again_gets_the_same_reply(database_url: str) -> None:
    """Status, headers and body, and a header that says so; the work was done once."""
    async with shop(database_url) as client:
        key = new_key()
        first, again = [await client.post("/orders", json=CUP, headers=key) for _ in range(2)]

        assert await said(first) == await said(again)
        assert first.status_code == 201
        assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (False, "true")
        assert (await count(), await count(TABLE)) == (1, 1)


async def test_a_retry_gets_what_a_function_after_the_request_hid(database_url: str) -> None:
    """It made a 500 of committed work, whose reply is stored: the work is not done twice."""
    failures = [LookupError("after all")]

    async def fail_once(response: Response) -> Response:
        if failures:
            raise failures.pop()
        return response

    async with shop(database_url) as client:
        client.app.after_request(fail_once)
        key = new_key()
        statuses = [(await client.post("/orders", json=CUP, headers=key)).status_code for _ in range(2)]

        assert statuses == [500, 201]
        assert await count() == 1


async def test_without_a_key_each_request_is_served(database_url: str) -> None:
    """And nothing is kept."""
    async with shop(database_url) as client:
        statuses = [(await client.post("/orders", json=CUP)).status_code for _ in range(2)]

        assert statuses == [201, 201]
        assert (await count(), await count(TABLE)) == (2, 0)


async def test_another_key_is_another_request(database_url: str) -> None:
    """Two orders of the same."""
    async with shop(database_url) as client:
        for _ in range(2):
            await client.post("/orders", json=CUP, headers=new_key())
        assert await count() == 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/orders", b'{"item": "pot"}'),
        ("/orders", b'{"item":"cup"}'),
        ("/orders?gift=true", b'{"item": "cup"}'),
    ],
    ids=["another value", "other bytes", "another query"],
)
async def test_another_request_under_the_same_key_is_refused(sqlite_url: str, path: str, body: bytes) -> None:
    """422 of a type of its own that names the header."""
    async with shop(sqlite_url) as client:
        key = new_key() | {"Content-Type": "application/json"}
        await client.post("/orders", data=b'{"item": "cup"}', headers=key)
        response = await client.post(path, data=body, headers=key)
        problem = await response.get_json(force=True)

        assert await count() == 1
    assert (response.status_code, problem["type"]) == (422, "/problems/idempotency-key-reused")
    assert problem["errors"][0]["header"] == "Idempotency-Key"


async def test_a_key_belongs_to_its_caller(sqlite_url: str) -> None:
    """Nobody gets another's reply; those that nobody knows share theirs."""
    async with shop(sqlite_url) as client:
        key = new_key()
        callers: list[dict[str, str]] = [{}, {"X-Subject": "ann"}, {"X-Subject": "bob"}]
        first = [await client.post("/orders", json=CUP, headers=key | caller) for caller in callers]
        again = [await client.post("/orders", json=CUP, headers=key | caller) for caller in callers]

        assert [await said(reply) for reply in first] == [await said(reply) for reply in again]
        assert await count() == 3


async def test_a_key_belongs_to_its_operation(sqlite_url: str) -> None:
    """The same key elsewhere is another one, also under another path of the same rule."""
    async with shop(sqlite_url) as client:
        key = new_key()
        ids = [(await (await client.post("/orders", json=CUP)).get_json())["id"] for _ in range(2)]
        any_state = key | {"If-Match": "*"}
        renamed = [await client.patch(f"/orders/{id_}", json={"item": "pot"}, headers=any_state) for id_ in ids]

        assert [reply.status_code for reply in renamed] == [204, 204]
        assert all("Idempotency-Replayed" not in reply.headers for reply in renamed)


async def test_a_reply_goes_before_preconditions(database_url: str) -> None:
    """The tag that was current then is old now, because the request was served: it is not refused for that."""
    async with shop(database_url) as client:
        id_ = (await (await client.post("/orders", json=CUP)).get_json())["id"]
        path, any_state = f"/orders/{id_}", {"If-Match": "*"}
        tag = (await client.patch(path, json={"item": "jug"}, headers=any_state)).headers["ETag"]
        sent = new_key() | {"If-Match": tag}
        first, again = [await client.patch(path, json={"item": "pot"}, headers=sent) for _ in range(2)]

        assert await said(first) == await said(again)
        assert (again.status_code, again.headers["ETag"]) == (204, first.headers["ETag"])


async def test_an_error_is_not_kept(database_url: str) -> None:
    """It was rolled back, so the same request may succeed another time."""
    async with shop(database_url) as client:
        key = new_key()
        refused = [await client.post("/orders", json={"item": "nothing"}, headers=key) for _ in range(2)]

        assert [reply.status_code for reply in refused] == [409, 409]
        assert (await count(), await count(TABLE)) == (0, 0)
        assert (await client.post("/orders", json=CUP, headers=key)).status_code == 201


async def test_a_cookie_is_not_kept(sqlite_url: str) -> None:
    """It is a credential of the first answer."""
    async with shop(sqlite_url) as client:
        key = new_key()
        first, again = [await client.post("/orders", json=CUP, headers=key) for _ in range(2)]

    assert ("Set-Cookie" in first.headers, "Set-Cookie" in again.headers) == (True, False)


async def test_credentials_are_not_kept(sqlite_url: str) -> None:
    """Neither the headers of HTTP that hold some, nor those that the service names, in any case of letters."""
    hidden = {"Authorization": "s3cret", "authentication-info": "s3cret", "x-upload-token": "s3cret"}

    @idempotent(without_headers=["X-Upload-Token", "X-Other"])
    @operation
    async def upload(session: AsyncSession) -> tuple[str, int, dict[str, str]]:
        return "done", 200, {"X-Kept": "yes", **hidden}

    async with shop(sqlite_url, ("POST", "/uploads", upload)) as client:
        key = new_key()
        first, again = [await client.post("/uploads", headers=key) for _ in range(2)]
        async with orders.read() as session:
            row = (await session.execute(TABLE.select())).one()

    assert all(first.headers[name] == "s3cret" for name in hidden)
    assert (again.headers["Idempotency-Replayed"], again.headers["X-Kept"]) == ("true", "yes")
    assert "s3cret" not in str(again.headers) + str(row)


@pytest.mark.parametrize(("names", "error"), [("X-Token", TypeError), (["X Token"], ValueError), ([""], ValueError)])
def test_names_of_headers_are_checked(names: Any, error: type[Exception]) -> None:
    """A mistake in them would store what must not be stored."""
    with pytest.raises(error, match="without_headers"):
        idempotent(without_headers=names)


class Headers(BaseModel):
    x_tenant: str = ""
    x_shop: Annotated[str, Field(validation_alias=AliasChoices("Shop", "Store"))] = ""


class Cookies(BaseModel):
    tenant: str = ""


def read_locale(headers: Headers) -> str:
    return headers.x_tenant


Locale = Annotated[str, Depends(read_locale)]


@idempotent
@operation
async def declared(session: AsyncSession, headers: Headers, cookies: Cookies) -> str:
    return f"{headers.x_tenant}{headers.x_shop}{cookies.tenant}"


@idempotent
@operation
async def served(session: AsyncSession, locale: Locale) -> str:
    return locale


@pytest.mark.parametrize(
    ("view", "first", "second"),
    [
        (declared, {"X-Tenant": "one"}, {"X-Tenant": "two"}),
        (declared, {}, {"X-Tenant": "two"}),
        (declared, {"X-Tenant": "one"}, {}),
        (declared, {"Shop": "one"}, {"Store": "one"}),
        (declared, {"Cookie": "tenant=one"}, {"Cookie": "tenant=two"}),
        (served, {"X-Tenant": "one"}, {"X-Tenant": "two"}),
        (served, {"Shop": "one"}, {}),
    ],
)
async def test_declared_headers_and_cookies_belong_to_the_request(
    sqlite_url: str, view: Any, first: dict[str, str], second: dict[str, str]
) -> None:
    """Row 134: another value of an input that the operation, or one of its services, declares is another request."""
    async with shop(sqlite_url, ("POST", "/declared", view)) as client:
        key = new_key()
        answers = [await client.post("/declared", headers=key | sent) for sent in (first, second, first)]

    assert [answer.status_code for answer in answers] == [200, 422, 200]
    assert answers[2].headers["Idempotency-Replayed"] == "true"
    assert (await answers[1].get_json(force=True))["type"] == "/problems/idempotency-key-reused"


async def test_undeclared_headers_do_not_belong_to_the_request(sqlite_url: str) -> None:
    """A proxy may add some on the way, and a client that repeats a request has another trace."""
    async with shop(sqlite_url, ("POST", "/declared", declared)) as client:
        key = new_key()
        for trace in ("1", "2"):
            answer = await client.post("/declared", headers=key | {"X-Trace": trace, "Cookie": f"seen={trace}"})

    assert answer.headers["Idempotency-Replayed"] == "true"


async def test_a_key_belongs_to_its_host(sqlite_url: str) -> None:
    """Row 134: two hosts are two tenants, and two spellings of a host are one."""
    async with shop(sqlite_url) as client:
        key = new_key()
        hosts = ("one.example", "two.example", "ONE.example.:80")
        answers = [await client.post("/orders", json=CUP, headers=key | {"Host": host}) for host in hosts]
        replayed = [answer.headers.get("Idempotency-Replayed") for answer in answers]

        assert (replayed, await count()) == ([None, None, "true"], 2)


async def test_a_key_belongs_to_the_tenant_of_its_caller(sqlite_url: str) -> None:
    """Row 134: one caller with other variables for row-level security does not get the reply of the other tenant."""
    current = {"app.tenant": ""}
    database = Database(Base, idempotency=True, variables=lambda _: current, ignore_variables_on_sqlite=True)

    @idempotent
    @operation
    async def name_tenant(session: AsyncSession) -> str:
        return current["app.tenant"]

    app = make_app(sqlite_url, routes(("POST", "/tenant", name_tenant)), database=database)
    async with app.test_app(), app.app_context():
        await database.create_tables()
        client, key, answers = app.test_client(), new_key(), []
        for current["app.tenant"] in ("one", "two", "one"):
            answer = await client.post("/tenant", headers=key)
            answers.append((await answer.get_json(), answer.headers.get("Idempotency-Replayed")))

    assert answers == [("one", None), ("two", None), ("one", "true")]


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ('"a"', 201),
        ("a", 201),
        ('"a b\\"c\\\\"', 201),
        ("k" * 255, 201),
        (f'"{"k" * 255}"', 201),
        ("k" * 256, 400),
        ("", 400),
        ('""', 400),
        ('"a', 400),
        ("a b", 400),
        ("a;b=1", 400),
        ("ä", 400),
    ],
)
async def test_a_key_is_a_string_of_a_structured_field(sqlite_url: str, key: str, status: int) -> None:
    """With or without its quotes, up to 255 characters; else 400, naming the header."""
    async with shop(sqlite_url) as client:
        response = await client.post("/orders", json=CUP, headers={"Idempotency-Key": key})
        problem = await response.get_json(force=True)

    assert response.status_code == status
    if status == 400:
        assert problem["errors"][0]["header"] == "Idempotency-Key"


async def test_quotes_are_no_part_of_a_key(sqlite_url: str) -> None:
    """A client that learns to write them still gets its reply."""
    async with shop(sqlite_url) as client:
        replies = [await client.post("/orders", json=CUP, headers={"Idempotency-Key": key}) for key in ('"a"', "a")]

    assert "Idempotency-Replayed" in replies[1].headers


async def test_a_key_may_be_required(sqlite_url: str) -> None:
    """400 without one, before anything is done; a form is a request like any other."""
    async with shop(sqlite_url) as client:
        key = new_key()
        without = await client.post("/forms", form=CUP)
        first, again = [await client.post("/forms", form=CUP, headers=key) for _ in range(2)]

        assert (without.status_code, first.status_code) == (400, 201)
        assert await said(first) == await said(again)
        assert await count() == 1


async def test_one_of_a_hundred_at_once_is_served(database_url: str) -> None:
    """One row, one reply; the others get it, or are told to come back for it."""
    async with shop(database_url) as client:
        key = new_key()
        replies = await asyncio.gather(*(client.post("/orders", json=CUP, headers=key) for _ in range(100)))

        assert {reply.status_code for reply in replies} == {201, 409}
        assert all(reply.headers["Retry-After"] == "1" for reply in replies if reply.status_code == 409)
        assert len({await reply.get_data() for reply in replies if reply.status_code == 201}) == 1
        assert (await count(), await count(TABLE)) == (1, 1)


async def test_another_process_that_has_the_key_is_seen(postgres_url: str) -> None:
    """By the database's own lock, for which nobody waits: 409."""
    started, go_on = asyncio.Event(), asyncio.Event()

    @idempotent
    @operation(status=201)
    async def slow(session: AsyncSession) -> None:
        await add(session, "cup")
        started.set()
        await go_on.wait()

    async with (
        shop(postgres_url, ("POST", "/slow", slow)) as client,
        shop(postgres_url, ("POST", "/slow", slow)) as other,
    ):
        key = new_key()
        first = asyncio.create_task(client.post("/slow", headers=key))
        await started.wait()
        meanwhile = await other.post("/slow", headers=key)
        go_on.set()
        statuses = [(await first).status_code, (await other.post("/slow", headers=key)).status_code]

        assert (await meanwhile.get_json(force=True))["type"] == "/problems/request-in-progress"
        assert (meanwhile.status_code, statuses) == (409, [201, 201])
        assert await count() == 1


async def test_a_reply_expires(database_url: str) -> None:
    """After that the same key is a new one."""
    async with shop(database_url) as client:
        key = new_key()
        await client.post("/orders", json=CUP, headers=key)
        async with orders.transaction() as session:
            await session.execute(update(TABLE).values(expires_at=utc_now()))
        again = await client.post("/orders", json={"item": "pot"}, headers=key)

        assert (again.status_code, "Idempotency-Replayed" in again.headers) == (201, False)
        assert (await count(), await count(TABLE)) == (2, 1)


async def test_a_reply_is_kept_for_a_day(sqlite_url: str) -> None:
    """Or for as long as the mark says."""

    @idempotent(expires=timedelta(minutes=5))
    @operation
    async def short(session: AsyncSession) -> None: ...

    async with shop(sqlite_url, ("POST", "/short", short)) as client:
        lives = []
        for path, body in (("/orders", CUP), ("/short", None)):
            await client.post(path, json=body, headers=new_key())
            async with orders.transaction() as session:
                seconds = "SELECT unixepoch(expires_at) - unixepoch('now') FROM idempotency_key"
                lives.append((await session.execute(text(seconds))).scalar_one())
                await session.execute(text("DELETE FROM idempotency_key"))

    assert lives == [pytest.approx(86_400, abs=2), pytest.approx(300, abs=2)]


async def test_what_follows_a_commit_is_not_repeated(database_url: str) -> None:
    """A mail is sent once."""
    sent: list[bool] = []

    @idempotent
    @operation
    async def mail(session: AsyncSession) -> None:
        on_commit(lambda: sent.append(True))

    async with shop(database_url, ("POST", "/mails", mail)) as client:
        key = new_key()
        for _ in range(3):
            assert (await client.post("/mails", headers=key)).status_code == 204
    assert sent == [True]


async def test_a_stream_cannot_be_kept(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A 500 that says so, and nothing is done."""

    @idempotent
    @operation
    async def stream(session: AsyncSession) -> Response:
        await add(session, "cup")

        async def parts() -> Any:
            yield b"part"

        return Response(parts())

    async with shop(sqlite_url, ("POST", "/stream", stream)) as client:
        assert (await client.post("/stream", headers=new_key())).status_code == 500
        assert await count() == 0
    assert "returned a stream, which cannot be stored" in caplog.text


async def test_neither_keys_nor_callers_are_stored(sqlite_url: str) -> None:
    """Digests are."""
    async with shop(sqlite_url) as client:
        await client.post("/orders", json=CUP, headers={"Idempotency-Key": "tell-no-one", "X-Subject": "ann"})
        async with orders.read() as session:
            row = (await session.execute(TABLE.select())).one()

    assert "tell-no-one" not in str(row)
    assert "ann" not in str(row)


class Plain(Model, DeclarativeBase): ...


@operation
async def reads() -> None: ...


async def handle(session: AsyncSession) -> None: ...


@idempotent
async def no_operation() -> str:
    return ""


@idempotent
@operation(session="snapshot")
async def snapshot(session: AsyncSession) -> None: ...


@idempotent
@operation
async def writes(session: AsyncSession) -> None: ...


class Class(MethodView):
    @idempotent
    @operation
    async def put(self, session: AsyncSession) -> None:
        await session.flush()


@pytest.mark.parametrize(
    ("view", "methods", "words"),
    [
        (no_operation, ["POST"], "has @idempotent but not @operation"),
        (idempotent(reads), ["POST"], "takes no session that writes"),
        (snapshot, ["POST"], "takes no session that writes"),
        (writes, ["PUT", "POST"], "is @idempotent but answers PUT; only POST and PATCH"),
        (Class.as_view("class"), ["PUT"], "is @idempotent but answers PUT; only POST and PATCH"),
        (writes, ["POST"], "but replies have no table"),
    ],
    ids=["no operation", "no session", "snapshot", "put", "method", "no table"],
)
async def test_a_mark_that_cannot_be_kept_stops_the_start(
    sqlite_url: str, view: Any, methods: list[str], words: str
) -> None:
    """Each mistake says what to do."""
    app = make_app(sqlite_url, database=Database(Plain))
    app.add_url_rule("/x", "x", view, methods=methods)
    with pytest.raises(LifespanError, match=words):
        async with app.test_app():
            pass


def test_the_mark_says_what_it_was_given() -> None:
    """With brackets or without; a time that is none is refused at import."""
    bare, called = idempotent_mark(snapshot), idempotent_mark(idempotent(required=True)(operation(handle)))

    assert (bare, called) == (IdempotentMark(), IdempotentMark(required=True))
    assert IdempotentMark().expires == timedelta(hours=24)
    with pytest.raises(ValueError, match="must be longer than zero"):
        idempotent(expires=timedelta())
    with pytest.raises(TypeError, match="@idempotent decorates single handlers"):
        idempotent(MethodView)


def test_two_databases_on_one_base_have_one_table() -> None:
    """The second finds the first one's; without the option there is none."""
    first, second, third = Database(Plain, idempotency=True), Database(Plain, idempotency=True), Database(Plain)

    assert first.idempotency_key is second.idempotency_key
    assert third.idempotency_key is None


async def test_the_document_shows_the_key(sqlite_url: str) -> None:
    """The header, whether it is required, its problems, and the header of the answer."""
    async with shop(sqlite_url) as client:
        paths = (await (await client.get("/openapi.json")).get_json())["paths"]

    for path, required in (("/orders", False), ("/forms", True)):
        parameter = paths[path]["post"]["parameters"][-1]
        assert (parameter["name"], parameter["required"]) == ("Idempotency-Key", required)
        assert {"400", "409", "422"} <= paths[path]["post"]["responses"].keys()
        assert "Idempotency-Replayed" in paths[path]["post"]["responses"]["201"]["headers"]
