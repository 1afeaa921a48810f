"""What will go: told in the document and with each answer."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel
from quart import Blueprint
from quart.typing import TestClientProtocol as Client

from ligand_async import CursorParams, Page, deprecated, operation, public
from ligand_async.testing import watch
from tests.docs.documents import describe, operations
from tests.services import NEVER_OPENED, make_app, running

GONE = {
    "Deprecation": "@1767225600",
    "Sunset": "Thu, 31 Dec 2026 00:00:00 GMT",
    "Link": '<https://example.org/news>; rel="deprecation"',
}


class Thing(BaseModel):
    name: str


old = deprecated(since="2026-01-01", sunset="2026-12-31", link="https://example.org/news")(
    public(Blueprint("old", __name__, url_prefix="/old"))
)


@old.get("/things")
@operation
async def list_things(query_args: CursorParams) -> Page[Thing]:
    """List things."""
    page: Page[Thing] = Page(items=[], next_cursor=None, total=None)
    return page


@old.get("/newer")
@deprecated(since=datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2))))
@operation
async def read_newer() -> str:
    """Read what was deprecated later."""
    return "x"


async def ask(client: Client, path: str) -> dict[str, str]:
    headers = (await client.get(path)).headers
    return {name: headers[name] for name in GONE if name in headers}


async def test_every_answer_says_so() -> None:
    """Successes and errors carry the headers of the nearest mark, and the document knows them."""
    app = make_app(NEVER_OPENED, old, database=None)
    watch(app)
    async with running(app, tables=False) as client:
        assert await ask(client, "/old/things") == GONE
        assert await ask(client, "/old/things?x=1") == GONE
        assert await ask(client, "/old/newer") == {"Deprecation": "@1772359200"}
        assert await ask(client, "/old/nothing") == await ask(client, "/docs") == {}


def test_the_document_says_so() -> None:
    """The operation is deprecated, in words and with the headers of each answer."""
    told = operations(describe(make_app(NEVER_OPENED, old, database=None)))
    things, newer = told["list_old_things"], told["read_old_newer"]
    assert (things["deprecated"], newer["deprecated"]) == (True, True)
    assert things["description"].endswith(
        "Deprecated since 2026-01-01, gone from 2026-12-31 on. [Read more](<https://example.org/news>)."
    )
    assert all(GONE.keys() <= answer["headers"].keys() for answer in things["responses"].values())
    assert "Other pages" in things["responses"]["200"]["headers"]["Link"]["description"]
    assert "Sunset" not in newer["responses"]["200"]["headers"]


@pytest.mark.parametrize(
    "said",
    [
        {"since": datetime(2026, 1, 1)},  # noqa: DTZ001  (without offset, which is the mistake)
        {"since": "2026-01-01T00:00:00"},
        {"since": "soon"},
        {"since": date(2026, 1, 2), "sunset": "2026-01-01"},
        {"since": date(2026, 1, 2), "link": "https://example.org/a>b"},
        {"since": date(2026, 1, 2), "link": "https://example.org/\r\nX: y"},
    ],
)
def test_what_cannot_be_meant_is_refused(said: dict[str, Any]) -> None:
    """A moment has an offset, an end comes after its beginning, a link fits into a header."""
    with pytest.raises(ValueError, match=r"\S"):
        deprecated(**said)


def test_a_moment_may_be_written_in_any_way() -> None:
    """A date begins in UTC."""
    stamps = [deprecated(since=since) for since in (date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01")]
    assert len({vars(stamp(type("X", (), {})))["_ligand_deprecated"] for stamp in stamps}) == 1
