"""What an answer is known by: entity tags, dates, and 304 for those who have it."""

from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, computed_field
from quart import Response
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import ReadSchema, check_preconditions, conditional, get_or_404, on_commit, operation
from tests.services import Item, Shelf, ask, db
from tests.web.versioned_shop import ITEM, NEVER, PATH, SOON, ItemRead, send, shop, tag_of


class ShelfOfItem(BaseModel):
    label: str


class ItemOnShelf(BaseModel):
    name: str
    shelf: ShelfOfItem | None


class ItemShown(ReadSchema, model=Item): ...


class ItemName(BaseModel):
    name: str


class ItemShout(BaseModel):
    name: str

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own form
    @property
    def shout(self) -> str:
        return self.name.upper()


def reading(schema: type[BaseModel]) -> Any:
    async def read(session: AsyncSession) -> Any:
        return await get_or_404(session, Item, ITEM, into=schema)

    read.__annotations__["return"] = schema
    return operation(read)


async def test_one_thing_has_a_strong_tag(database_url: str) -> None:
    """The same for every read, another after a change; private, and to be asked about each time."""
    async with shop(database_url) as client:
        first, second = await client.get(PATH), await client.get(PATH)
        await send(client, "PATCH", {"If-Match": first.headers["ETag"]})
        third = await client.get(PATH)

    assert first.headers["ETag"] == second.headers["ETag"] != third.headers["ETag"]
    assert first.headers["ETag"].startswith('"')
    assert first.headers["Cache-Control"] == "private, no-cache"


async def test_a_change_is_answered_with_the_tag_of_its_result(database_url: str) -> None:
    """It serves for the next change without another read, and is the one that a read gets."""
    async with shop(database_url) as client:
        replaced = await send(client, "PUT", {"If-Match": "*"})
        assert replaced.headers["ETag"] == await tag_of(client)

        patched = await send(client, "PATCH", {"If-Match": replaced.headers["ETag"]})
        assert patched.status_code == 204
        deleted = await send(client, "DELETE", {"If-Match": patched.headers["ETag"]})

    assert (deleted.status_code, "ETag" in deleted.headers, "Last-Modified" in deleted.headers) == (200, False, False)


async def test_what_was_deleted_by_any_method_has_no_tag(database_url: str) -> None:
    """There is nothing left that it could be the tag of."""

    @conditional
    @operation
    async def sell(session: AsyncSession) -> ItemRead:
        item = await get_or_404(session, Item, ITEM)
        check_preconditions(item)
        sold = ItemRead.model_validate(item, from_attributes=True)
        await session.delete(item)
        return sold

    async with shop(database_url, ("POST", "/sale", sell)) as client:
        response = await client.post("/sale", headers={"If-Match": await tag_of(client)})

    assert (response.status_code, "ETag" in response.headers) == (200, False)


async def test_what_was_created_has_the_tag_of_its_first_version(database_url: str) -> None:
    """A read schema knows its entity, so the first change needs no read; also if it was made before the last flush."""

    @operation(status=201)
    async def create(session: AsyncSession) -> ItemShown:
        item = Item(name="jug")
        session.add(item)
        await session.flush()
        shown = ItemShown.model_validate(item)
        item.price = 7  # which makes it version 2, and not what is shown
        return shown

    async with shop(database_url, ("POST", "/items", create)) as client:
        document = await (await client.get("/openapi.json")).get_json()
        assert "ETag" in document["paths"]["/items"]["post"]["responses"]["201"]["headers"]
        created = await client.post("/items")
        assert (created.status_code, "Last-Modified" in created.headers) == (201, True)
        path = f"/items/{(await created.get_json())['id']}"
        assert (await client.get(path, headers={"If-Match": created.headers["ETag"]})).status_code == 200
        assert (await send(client, "PATCH", {"If-Match": created.headers["ETag"]}, path)).status_code == 204


async def test_a_read_schema_has_the_same_tag_from_a_row_and_from_its_entity(database_url: str) -> None:
    """However it was read, the thing is the same."""

    @operation
    async def by_row(session: AsyncSession) -> ItemShown:
        return await get_or_404(session, Item, ITEM, into=ItemShown)

    @operation
    async def by_entity(session: AsyncSession) -> ItemShown:
        return ItemShown.model_validate(await get_or_404(session, Item, ITEM))

    async with shop(database_url, ("GET", "/row", by_row), ("GET", "/entity", by_entity)) as client:
        row, entity = await client.get("/row"), await client.get("/entity")

    for name in ("ETag", "Last-Modified"):
        assert row.headers[name] == entity.headers[name]


async def test_a_list_has_a_weak_tag(database_url: str) -> None:
    """Of what it says: it stays while that stays, and is no precondition."""
    async with shop(database_url) as client:
        first, second = await tag_of(client, "/items"), await tag_of(client, "/items")
        await send(client, "PUT", {"If-Match": "*"})
        third = await tag_of(client, "/items")
        refused = await send(client, "PUT", {"If-Match": first})

    assert first == second != third
    assert first.startswith('W/"')
    assert refused.status_code == 412


async def test_a_read_without_a_database_has_a_weak_tag() -> None:
    """Every answer to a GET that is made of a value."""

    @operation
    async def read() -> list[int]:
        return [1]

    assert (await ask(read)).headers["ETag"].startswith('W/"')


@pytest.mark.parametrize("path", [PATH, "/items"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_who_has_it_is_answered_304(database_url: str, path: str, method: str) -> None:
    """No body, and of the headers those that RFC 9110 section 15.4.5 lists."""
    async with shop(database_url) as client:
        tag = await tag_of(client, path)
        response = await send(client, method, {"If-None-Match": tag}, path)
        body = await response.get_data()

    assert (response.status_code, body) == (304, b"")
    assert (response.headers["ETag"], response.headers["Cache-Control"]) == (tag, "private, no-cache")
    # In lower case they were sent; the test client makes its own up.
    assert not {"content-type", "content-length", "last-modified"} & set(response.headers.keys())


async def test_a_head_has_the_tag_of_its_get(database_url: str) -> None:
    """And its date."""
    async with shop(database_url) as client:
        read, head = await client.get(PATH), await client.head(PATH)

    for name in ("ETag", "Last-Modified"):
        assert head.headers[name] == read.headers[name]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": '"{tag}"'}, 304),
        ({"If-None-Match": 'W/"{tag}"'}, 304),
        ({"If-None-Match": '"other", "{tag}"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-None-Match": ""}, 200),
        ({"If-None-Match": 'W/""'}, 200),
        ({"If-None-Match": '"other"', "If-Modified-Since": SOON}, 200),
        ({"If-None-Match": '"{tag}"', "If-Modified-Since": NEVER}, 304),
        ({"If-Modified-Since": SOON}, 304),
        ({"If-Modified-Since": NEVER}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Match": '"{tag}"'}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": '"other"', "If-None-Match": '"{tag}"'}, 412),
        ({"If-Match": '"{tag}"', "If-None-Match": '"{tag}"'}, 304),
        ({"If-Unmodified-Since": NEVER}, 412),
        ({"If-Unmodified-Since": SOON, "If-None-Match": '"{tag}"'}, 304),
        ({"If-Match": "*", "If-Unmodified-Since": NEVER}, 200),
    ],
)
async def test_conditions_of_reads_are_decided_in_the_order_of_the_rfc(
    sqlite_url: str, headers: dict[str, str], status: int
) -> None:
    """RFC 9110 section 13.2.2: match or date, then none-match or date; tags go before dates."""
    async with shop(sqlite_url) as client:
        tag = (await tag_of(client)).strip('"')
        sent = {name: value.replace("{tag}", tag) for name, value in headers.items()}
        assert (await client.get(PATH, headers=sent)).status_code == status


async def test_the_date_is_that_of_the_last_change(database_url: str) -> None:
    """`updated_at` in whole seconds, which the client may send back."""
    async with shop(database_url) as client:
        response = await client.get(PATH)
        async with db.read() as session:
            item = await get_or_404(session, Item, ITEM)
        assert response.last_modified == item.updated_at.replace(microsecond=0)
        sent_back = {"If-Modified-Since": response.headers["Last-Modified"]}
        assert (await client.get(PATH, headers=sent_back)).status_code == 304
        sent_back = {"If-Unmodified-Since": response.headers["Last-Modified"]}
        assert (await send(client, "PUT", sent_back)).status_code == 200


@pytest.mark.parametrize(("schema", "dated"), [(ItemName, True), (ItemOnShelf, False), (ItemShout, False)])
async def test_only_columns_of_the_thing_itself_have_a_date(
    database_url: str, schema: type[BaseModel], *, dated: bool
) -> None:
    """What is nested or computed may change at another time."""
    async with shop(database_url, ("GET", "/cup", reading(schema))) as client:
        response = await client.get("/cup")

    assert ("Last-Modified" in response.headers) is dated
    assert response.headers["ETag"].startswith('"')


async def test_what_is_nested_is_part_of_the_tag(database_url: str) -> None:
    """A client does not keep the old label of a shelf because the item on it is the same; and may change the item."""
    async with shop(database_url, ("GET", "/cup", reading(ItemOnShelf))) as client:
        tag = await tag_of(client, "/cup")
        async with db.transaction() as session:
            (await session.scalars(select(Shelf))).one().label = "low"
        response = await client.get("/cup", headers={"If-None-Match": tag})
        assert response.status_code == 200
        assert response.headers["ETag"] != tag
        assert (await send(client, "PUT", {"If-Match": tag})).status_code == 200


async def test_representations_of_one_version_have_tags_of_their_own(database_url: str) -> None:
    """Whoever may see more does not get 304 for having seen less; either tag names the version that is changed."""
    async with shop(database_url, ("GET", "/cup", reading(ItemName))) as client:
        less = await tag_of(client, "/cup")

        assert (await client.get(PATH, headers={"If-None-Match": less})).status_code == 200
        assert (await send(client, "PUT", {"If-Match": less})).status_code == 200


async def test_what_is_read_from_a_replica_is_no_precondition(database_url: str) -> None:
    """It may be behind: its tag is weak, it has no date, and 304 is all that it is good for."""

    @operation(session="replica")
    async def read(session: AsyncSession) -> ItemRead:
        return await get_or_404(session, Item, ITEM, into=ItemRead)

    async with shop(database_url, ("GET", "/cup", read)) as client:
        response = await client.get("/cup")
        tag = response.headers["ETag"]
        assert tag.startswith('W/"')
        assert "Last-Modified" not in response.headers
        assert (await client.get("/cup", headers={"If-None-Match": tag})).status_code == 304
        assert (await send(client, "PUT", {"If-Match": tag})).status_code == 412


async def test_a_tag_of_the_handler_stays(sqlite_url: str) -> None:
    """It is what conditions are compared with, whole."""

    @operation
    async def own() -> tuple[str, int, dict[str, str]]:
        return "hello", 200, {"ETag": '"a"', "Cache-Control": "public, max-age=60", "Vary": "Accept-Language"}

    kept = await ask(own)
    known = await ask(own, headers={"If-None-Match": '"a"'})
    others = [(await ask(own, headers={"If-Match": tag})).status for tag in ('"a"', '"a-b"')]

    assert kept.headers["ETag"] == '"a"'
    assert known.status == 304
    assert (known.headers["Cache-Control"], known.headers["Vary"]) == ("public, max-age=60", "Accept-Language")
    assert others == [200, 412]


async def test_what_is_not_to_be_stored_has_no_tag() -> None:
    """A handler that says `no-store` means it."""

    @operation
    async def secret() -> tuple[str, int, dict[str, str]]:
        return "hello", 200, {"Cache-Control": "no-store"}

    assert "ETag" not in (await ask(secret)).headers


async def test_what_is_made_by_hand_has_no_tag() -> None:
    """A response of the handler's own may be a stream."""

    @operation
    async def by_hand() -> Response:
        return Response("hello")

    assert "ETag" not in (await ask(by_hand)).headers


@pytest.mark.ligand_conformance("off", reason="answers with a status that was not declared")
@pytest.mark.parametrize(("method", "status"), [("POST", 200), ("GET", 202), ("GET", 204), ("PUT", 204)])
async def test_other_answers_have_no_tag(method: str, status: int) -> None:
    """A weak tag is for what can be read again: 200 of GET."""

    @operation
    async def answer() -> tuple[str | None, int]:
        return (None if status == 204 else "hello"), status

    assert "ETag" not in (await ask(answer, method=method)).headers


async def test_a_304_keeps_what_the_handler_did(database_url: str) -> None:
    """A GET that writes on purpose has done so, whatever the client knows already."""
    told: list[bool] = []

    @operation(session="write")
    async def count(session: AsyncSession) -> str:
        await session.execute(text("UPDATE item SET price = price + 1"))
        on_commit(lambda: told.append(True))
        return "counted"

    async with shop(database_url, ("GET", "/count", count)) as client:
        tag = await tag_of(client, "/count")
        assert (await client.get("/count", headers={"If-None-Match": tag})).status_code == 304
        async with db.read() as session:
            assert (await get_or_404(session, Item, ITEM)).price == 5
    assert told == [True, True]


async def test_a_read_that_checks_has_a_strong_tag(sqlite_url: str) -> None:
    """What is made by hand of the entity that was checked is known by its version."""

    @conditional
    @operation
    async def read(session: AsyncSession) -> dict[str, int]:
        item = await get_or_404(session, Item, ITEM)
        check_preconditions(item)
        return {"price": item.price}

    async with shop(sqlite_url, ("GET", "/price", read)) as client:
        tag = await tag_of(client, "/price")
        assert tag.startswith('"')
        assert (await send(client, "PUT", {"If-Match": tag})).status_code == 200
        assert (await client.get("/price", headers={"If-Match": tag})).status_code == 412


async def test_a_missing_thing_has_no_tag(sqlite_url: str) -> None:
    """A problem is no representation of it."""
    async with shop(sqlite_url) as client:
        response = await client.get(f"/items/{UUID(int=9)}", headers={"If-None-Match": "*"})

    assert (response.status_code, "ETag" in response.headers) == (404, False)
