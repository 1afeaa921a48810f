"""Preconditions of changes: who may, who comes too late, who must say what is meant."""

import asyncio
from functools import wraps
from typing import Any
from uuid import UUID

import pytest
from quart.testing.app import LifespanError
from quart.views import MethodView
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import check_preconditions, conditional, get_or_404, operation, public
from ligand_async.web.conditional import is_conditional
from tests.services import Item, Shelf, db, make_app, routes, running
from tests.web.versioned_shop import ITEM, NEVER, SOON, ItemBody, send, shop, tag_of

CHANGES = ["PUT", "PATCH", "DELETE"]


async def price() -> int | None:
    """Return what the item costs, or None where it is gone."""
    async with db.read() as session:
        item = await session.get(Item, ITEM)
        return None if item is None else item.price


@pytest.mark.parametrize("method", CHANGES)
async def test_a_change_with_the_current_tag_is_made(database_url: str, method: str) -> None:
    """`If-Match` with what a read was answered with."""
    async with shop(database_url) as client:
        response = await send(client, method, {"If-Match": await tag_of(client)})

        assert response.status_code in {200, 204}
        assert await price() == {"PUT": 0, "PATCH": 9, "DELETE": None}[method]


@pytest.mark.parametrize("method", CHANGES)
async def test_a_change_with_an_old_tag_is_refused(database_url: str, method: str) -> None:
    """412, as a problem, and nothing is changed."""
    async with shop(database_url) as client:
        old = await tag_of(client)
        await send(client, "PATCH", {"If-Match": old})
        response = await send(client, method, {"If-Match": old})

        assert (response.status_code, response.mimetype) == (412, "application/problem+json")
        assert await price() == 9


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize("required", [True, False])
async def test_a_change_without_a_precondition_is_refused(database_url: str, method: str, *, required: bool) -> None:
    """428, unless the setting says that none is needed."""
    async with shop(database_url, require_preconditions=required) as client:
        response = await send(client, method)

        assert (response.status_code == 428) is required
        assert (await price() == 3) is required


async def test_what_does_not_exist_is_404_first(database_url: str) -> None:
    """A precondition counts only where the request would otherwise be served (RFC 9110 section 13.2.1)."""
    async with shop(database_url) as client:
        statuses = [
            (await send(client, "DELETE", headers, f"/items/{UUID(int=9)}")).status_code
            for headers in ({}, {"If-Match": '"x"'}, {"If-Match": "*"})
        ]
    assert statuses == [404, 404, 404]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": 'W/"{tag}"'}, 412),
        ({"If-Match": '"other", "{tag}"'}, 200),
        ({"If-Match": ""}, 412),
        ({"If-Match": '""'}, 412),
        ({"If-Match": '"", "{tag}"'}, 200),
        ({"If-Match": '"{tag}"', "If-None-Match": 'W/"", "x'}, 200),
        ({"If-Match": '"{tag}"', "If-Unmodified-Since": NEVER}, 200),
        ({"If-Match": '"other"', "If-Unmodified-Since": SOON}, 412),
        ({"If-Unmodified-Since": SOON}, 200),
        ({"If-Unmodified-Since": NEVER}, 412),
        ({"If-Unmodified-Since": "yesterday"}, 428),
        ({"If-None-Match": "*"}, 412),
        ({"If-None-Match": '"{tag}"'}, 412),
        ({"If-None-Match": 'W/"{tag}"'}, 412),
        ({"If-None-Match": '"other"'}, 428),
        ({"If-Match": '"{tag}"', "If-None-Match": '"{tag}"'}, 412),
        ({"If-Match": '"{tag}"', "If-None-Match": '"other"'}, 200),
        ({"If-Modified-Since": NEVER}, 428),
        ({"If-Match": '"{tag}"', "If-Modified-Since": SOON}, 200),
    ],
)
async def test_conditions_are_decided_in_the_order_of_the_rfc(
    sqlite_url: str, headers: dict[str, str], status: int
) -> None:
    """RFC 9110 section 13.2.2: match before date, strongly; then none-match, weakly; dates of reads mean nothing here.

    What names no state (a date that is none, a tag that is not to be) is no precondition in the sense of a 428.
    """
    async with shop(sqlite_url) as client:
        tag = (await tag_of(client)).strip('"')
        sent = {name: value.replace("{tag}", tag) for name, value in headers.items()}
        assert (await send(client, "PUT", sent)).status_code == status


async def test_a_weak_tag_is_named_as_the_reason(sqlite_url: str) -> None:
    """Row 176: reading again does not help if a proxy weakens all tags, so the 412 says that the tag is weak."""
    async with shop(sqlite_url) as client:
        weak = f"W/{await tag_of(client)}"
        for match, words in (
            (weak, "weak entity tag"),
            (f'{weak}, "other"', "has been changed"),
            ("", "has been changed"),
        ):
            response = await send(client, "PUT", {"If-Match": match})
            assert response.status_code == 412
            assert words in (await response.get_json())["detail"]
        response = await send(client, "GET", {"If-Match": weak})
        assert "weak entity tag" in (await response.get_json())["detail"]


async def test_the_tag_of_another_resource_does_not_match(database_url: str) -> None:
    """Two items at the same version have different tags."""
    async with shop(database_url) as client:
        other = f"/items/{UUID(int=2)}"
        assert (await send(client, "PUT", {"If-None-Match": "*"}, other)).status_code == 200
        tag = await tag_of(client, other)

        assert (await send(client, "DELETE", {"If-Match": tag})).status_code == 412


async def test_the_tag_of_something_deleted_does_not_match_its_successor(database_url: str) -> None:
    """Created again under the same key, it is at version 1 again, and yet another."""
    async with shop(database_url) as client:
        tag = await tag_of(client)
        await send(client, "DELETE", {"If-Match": tag})
        await asyncio.sleep(0.002)  # SQLite's clock has milliseconds
        await send(client, "PUT", {"If-None-Match": "*"})

        assert (await send(client, "PATCH", {"If-Match": tag})).status_code == 412


async def test_put_creates_what_must_not_exist(database_url: str) -> None:
    """`If-None-Match: *` once; then, as without it, somebody has to say what is replaced."""
    async with shop(database_url) as client:
        path = f"/items/{UUID(int=2)}"
        without = (await send(client, "PUT", {}, path)).status_code
        matching = (await send(client, "PUT", {"If-Match": "*"}, path)).status_code
        created = await send(client, "PUT", {"If-None-Match": "*"}, path)
        again = (await send(client, "PUT", {"If-None-Match": "*"}, path)).status_code

        assert (without, matching, created.status_code, again) == (428, 412, 200, 412)


async def test_a_name_that_is_taken_stays_a_409(database_url: str) -> None:
    """Only the key decides whether the resource exists already."""
    async with shop(database_url) as client:
        await send(client, "PUT", {"If-Match": "*"})
        response = await send(client, "PUT", {"If-None-Match": "*"}, f"/items/{UUID(int=2)}")

        assert response.status_code == 409
        assert (await response.get_json(force=True))["errors"][0]["pointer"] == "/name"


async def test_of_two_who_create_one_wins(postgres_url: str) -> None:
    """Neither sees the other's row, and the key decides: the other one is told 412."""
    met = asyncio.Barrier(2)

    @conditional
    @operation
    async def create(session: AsyncSession) -> None:
        check_preconditions(await session.get(Item, UUID(int=7)))
        await met.wait()
        session.add(Item(id=UUID(int=7), name="jug"))

    async with shop(postgres_url, ("PUT", "/jug", create)) as client:
        answers = await asyncio.gather(*(send(client, "PUT", {"If-None-Match": "*"}, "/jug") for _ in range(2)))

    assert sorted(answer.status_code for answer in answers) == [204, 412]


@pytest.mark.parametrize("deletes", [False, True])
async def test_the_database_decides_between_two_who_have_seen_the_same(postgres_url: str, *, deletes: bool) -> None:
    """Both have the right tag when they look, and one of them when they write."""
    met = asyncio.Barrier(2)

    @conditional
    @operation
    async def change(session: AsyncSession) -> None:
        item = await get_or_404(session, Item, ITEM)
        check_preconditions(item)
        await met.wait()
        item.price += 1
        if deletes:
            await session.delete(item)

    async with shop(postgres_url, ("PUT", "/cup", change)) as client:
        tag = await tag_of(client)
        answers = await asyncio.gather(*(send(client, "PUT", {"If-Match": tag}, "/cup") for _ in range(2)))

        assert sorted(answer.status_code for answer in answers) == [204, 412]
        assert await price() == (None if deletes else 4)


@pytest.mark.parametrize(("seen", "status"), [(True, 412), (False, 204)])
async def test_a_change_beside_the_entity_is_decided_too(postgres_url: str, *, seen: bool, status: int) -> None:
    """A handler that writes only elsewhere relies on the version as well: a change of it in between is a 412.

    But not for a client that named no state.
    """

    @conditional
    @operation
    async def label(session: AsyncSession) -> None:
        check_preconditions(await get_or_404(session, Item, ITEM))
        async with db.transaction() as other:
            (await get_or_404(other, Item, ITEM)).price = 50
        session.add(Shelf(label="new"))

    async with shop(postgres_url, ("PUT", "/label", label), require_preconditions=False) as client:
        headers = {"If-Match": await tag_of(client)} if seen else {}
        response = await send(client, "PUT", headers, "/label")
        async with db.read() as session:
            shelves = (await session.execute(text("SELECT count(*) FROM shelf"))).scalar()

        assert (response.status_code, shelves) == (status, 1 if seen else 2)


async def test_a_change_of_nothing_is_no_conflict(database_url: str) -> None:
    """What the handler leaves alone keeps its tag."""

    @conditional
    @operation
    async def nothing(session: AsyncSession) -> None:
        check_preconditions(await get_or_404(session, Item, ITEM))

    async with shop(database_url, ("PATCH", "/nothing", nothing)) as client:
        tag = await tag_of(client)
        assert (await send(client, "PATCH", {"If-Match": tag}, "/nothing")).status_code == 204
        assert await tag_of(client) == tag


async def test_a_stale_write_without_a_precondition_is_a_409(postgres_url: str) -> None:
    """Nothing was expected, so no expectation failed: the two have collided."""
    met = asyncio.Barrier(2)

    async def change(session: AsyncSession) -> None:
        item = await get_or_404(session, Item, ITEM)
        if is_conditional(request_view):
            check_preconditions(item)
        await met.wait()
        item.price += 1

    for request_view in (operation(change), conditional(operation(change))):
        async with shop(postgres_url, ("PUT", "/cup", request_view), require_preconditions=False) as client:
            answers = await asyncio.gather(*(send(client, "PUT", {}, "/cup") for _ in range(2)))
            async with db.transaction() as session:
                await session.execute(text("DELETE FROM item"))
                await session.execute(text("DELETE FROM shelf"))

        assert sorted(answer.status_code for answer in answers) == [204, 409]


async def test_a_unit_that_runs_again_checks_again(postgres_url: str) -> None:
    """Each attempt forgets what the one before had checked."""
    ran: list[int] = []

    @conditional
    @operation(retry_safe=True)
    async def collide(session: AsyncSession) -> None:
        ran.append(1)
        if len(ran) == 1:
            check_preconditions(await get_or_404(session, Item, ITEM))
            await session.execute(text("DO $$ BEGIN RAISE EXCEPTION 'collision' USING ERRCODE = '40001'; END $$"))

    async with shop(postgres_url, ("PUT", "/cup", collide)) as client:
        response = await send(client, "PUT", {"If-Match": "*"}, "/cup")

    assert (response.status_code, len(ran)) == (500, 2)


async def test_a_change_that_checks_nothing_is_not_made(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A mark that promises preconditions and a handler that forgets them: a 500 that says so, and no row."""

    @conditional
    @operation
    async def forget(session: AsyncSession) -> None:
        (await get_or_404(session, Item, ITEM)).price = 50

    async with shop(database_url, ("PUT", "/cup", forget)) as client:
        assert (await send(client, "PUT", {"If-Match": "*"}, "/cup")).status_code == 500
        assert await price() == 3
    assert "forget is @conditional but did not call check_preconditions()" in caplog.text


async def test_checking_without_the_mark_is_an_error(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The documentation would not know: a 500 that names the mark, and nothing is changed."""

    @operation
    async def unmarked(session: AsyncSession) -> None:
        item = await get_or_404(session, Item, ITEM)
        item.price = 50
        check_preconditions(item)

    async with shop(sqlite_url, ("PUT", "/cup", unmarked)) as client:
        assert (await send(client, "PUT", {"If-Match": "*"}, "/cup")).status_code == 500
        assert await price() == 3
    assert "works in a @conditional operation only" in caplog.text


def test_checking_outside_a_request_is_an_error() -> None:
    """There is nothing to check against."""
    with pytest.raises(RuntimeError, match="a @conditional operation only"):
        check_preconditions(None)


@pytest.mark.parametrize("what", ["unversioned", "unsaved", "no entity"])
async def test_what_has_no_version_cannot_be_checked(
    sqlite_url: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A TypeError that says what is taken."""

    @conditional
    @operation
    async def check(session: AsyncSession) -> None:
        shelf = Shelf(label="low")
        session.add(shelf)
        await session.flush()
        check_preconditions({"unversioned": shelf, "unsaved": Item(name="x"), "no entity": "x"}[what])

    async with shop(sqlite_url, ("PUT", "/", check)) as client:
        assert (await send(client, "PUT", {"If-Match": "*"}, "/")).status_code == 500
    assert "pass an entity of a Versioned model" in caplog.text


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_post_needs_no_precondition(sqlite_url: str, method: str) -> None:
    """428 is for the methods that replace, change and remove; a precondition that is sent counts on any."""

    @conditional
    @operation
    async def act(session: AsyncSession) -> None:
        check_preconditions(await get_or_404(session, Item, ITEM))

    async with shop(sqlite_url, ("POST", "/act", act), (method, "/act", act)) as client:
        assert (await send(client, "POST", {}, "/act")).status_code == 204
        assert (await send(client, "POST", {"If-Match": '"x"'}, "/act")).status_code == 412
        assert (await send(client, method, {}, "/act")).status_code == 428


async def handler(session: AsyncSession) -> None: ...


@conditional
async def no_operation() -> str:
    return ""


async def test_decorators_stand_in_any_order(sqlite_url: str) -> None:
    """Above, below, and with another one in between, also on the method of a class."""

    @operation
    async def operated(session: AsyncSession) -> None:
        check_preconditions(None)

    @wraps(operated)
    async def between(*arguments: Any, **path: Any) -> Any:
        return await operated(*arguments, **path)

    @operation
    @conditional
    async def below(session: AsyncSession) -> None:
        check_preconditions(None)

    @public
    class View(MethodView):
        @conditional
        @operation
        async def put(self, session: AsyncSession) -> None:
            check_preconditions(await session.get(Item, ITEM))

    app = make_app(sqlite_url, routes(("PUT", "/between", conditional(between)), ("PUT", "/below", below)))
    app.add_url_rule("/method", view_func=View.as_view("method"))
    async with running(app) as client:
        statuses = [(await client.put(path)).status_code for path in ("/between", "/below", "/method")]

    assert statuses == [428, 428, 428]


def test_a_mark_says_nothing_of_other_views_of_the_same_handler() -> None:
    """What is marked is the operation, not the function below it."""
    marked, unmarked = conditional(operation(handler)), operation(handler)

    assert (is_conditional(marked), is_conditional(unmarked)) == (True, False)


def test_only_handlers_are_marked() -> None:
    """A class or a blueprint checks nothing: a TypeError at import."""
    for mistake in (MethodView, routes()):
        with pytest.raises(TypeError, match="decorates single handlers"):
            conditional(mistake)  # type: ignore[type-var]  # the mistake itself


class Unmarked(MethodView):
    @conditional
    async def put(self) -> str:
        return ""


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (no_operation, "has @conditional but not @operation"),
        (Unmarked.as_view("unmarked"), "has @conditional but not @operation"),
        (conditional(operation(session="replica")(handler)), "a replica may be behind"),
    ],
    ids=["function", "method", "replica"],
)
async def test_a_mark_that_cannot_be_kept_stops_the_start(sqlite_url: str, view: Any, words: str) -> None:
    """Without `@operation` nothing would be decided, and a replica decides on what was."""
    app = make_app(sqlite_url)
    app.add_url_rule("/x", "x", view, methods=["PUT"])
    with pytest.raises(LifespanError, match=words):
        async with app.test_app():
            pass


async def test_a_conditional_operation_takes_a_session(sqlite_url: str) -> None:
    """The database decides, so there must be one."""

    @conditional
    @operation
    async def without() -> None:
        check_preconditions(None)

    with pytest.raises(LifespanError, match="takes no session"):
        async with make_app(sqlite_url, routes(("PUT", "/", without))).test_app():
            pass


async def test_the_document_shows_preconditions(sqlite_url: str) -> None:
    """A mark is enough: 412 and 428, the headers of the request, the tag of the answer; no tag of what is deleted."""
    async with shop(sqlite_url) as client:
        document = await (await client.get("/openapi.json")).get_json()
    operations = document["paths"]["/items/{item_id}"]

    for method in ("put", "patch", "delete"):
        names = [one["name"] for one in operations[method]["parameters"] if one["in"] == "header"]
        assert names == ["If-Match", "If-None-Match", "If-Unmodified-Since"]
        assert {"412", "428"} <= operations[method]["responses"].keys()
    tagged = {(method, status) for method, one in operations.items() for status in ("200", "204", "304")
              if "ETag" in one["responses"].get(status, {}).get("headers", {})}  # fmt: skip
    assert tagged == {("get", "200"), ("get", "304"), ("put", "200"), ("patch", "204")}


async def test_the_document_follows_the_setting(sqlite_url: str) -> None:
    """Where no precondition is needed, 428 is no answer."""
    async with shop(sqlite_url, require_preconditions=False) as client:
        document = await (await client.get("/openapi.json")).get_json()

    assert document["paths"]["/items/{item_id}"]["put"]["responses"].keys() & {"412", "428"} == {"412"}


async def test_a_header_that_the_handler_reads_itself_is_described_once(sqlite_url: str) -> None:
    """By its own model."""

    class Own(ItemBody):
        if_match: str

    @conditional
    @operation
    async def own(headers: Own, session: AsyncSession) -> None:
        check_preconditions(None)

    async with shop(sqlite_url, ("PUT", "/own", own)) as client:
        document = await (await client.get("/openapi.json")).get_json()
    names = [one["name"].lower() for one in document["paths"]["/own"]["put"]["parameters"]]

    assert names.count("if-match") == 1
