"""Downloads: names that every browser saves, tags, parts, and what the document says of them."""

from collections.abc import AsyncIterator
from email.message import Message
from typing import Annotated, Any

import pytest
from quart import Blueprint, Response

from ligand_async import Settings, create_app, operation, public
from ligand_async.web import Download, LigandClient, make_download

FILE = b"0123456789"
files = public(Blueprint("files", __name__, url_prefix="/files"))


@files.get("/")
@operation
async def read_file(name: str, tag: str | None = None) -> Annotated[Response, Download("text/plain")]:
    """Download a file."""
    return await make_download(FILE, "text/plain", filename=name, tag=tag)


@files.post("/")
@operation
async def make_file() -> Annotated[Response, Download("text/plain")]:
    """Download a file that is made for it."""
    return await make_download(FILE, "text/plain", filename="a.txt")


@pytest.fixture
async def client() -> AsyncIterator[LigandClient]:
    app = create_app("files", title="Files", version="1", settings=Settings.load("testing"), blueprints=[files])
    async with app.test_app():
        yield app.test_client()  # type: ignore[misc]  # the class of this app


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.pdf", 'attachment; filename="a.pdf"'),
        ("a b;c.pdf", 'attachment; filename="a b;c.pdf"'),
        ("Übersicht.pdf", "attachment; filename=\"Ubersicht.pdf\"; filename*=UTF-8''%C3%9Cbersicht.pdf"),
        ("счёт.pdf", "attachment; filename=\".pdf\"; filename*=UTF-8''%D1%81%D1%87%D1%91%D1%82.pdf"),
        ("счёт", "attachment; filename=\"download\"; filename*=UTF-8''%D1%81%D1%87%D1%91%D1%82"),
        ("50%41.pdf", "attachment; filename=\"50_41.pdf\"; filename*=UTF-8''50%2541.pdf"),
        ('a"b.pdf', 'attachment; filename="a_b.pdf"'),
        ("a\\b\r\nSet-Cookie: c.pdf", 'attachment; filename="a_b__Set-Cookie_ c.pdf"'),
        ("../../etc/passwd", 'attachment; filename="_.._etc_passwd"'),
        ("..", 'attachment; filename="download"'),
        ("", 'attachment; filename="download"'),
    ],
)
async def test_a_name_is_sent_safely(client: LigandClient, name: str, header: str) -> None:
    """It is in ASCII, whole for clients that read RFC 8187, and neither a path nor a second header."""
    response = await client.get("/files/", query_string={"name": name})
    message = Message()
    message["Content-Disposition"] = response.headers["Content-Disposition"]

    assert response.headers["Content-Disposition"] == header
    assert header.isascii()
    assert message.get_content_disposition() == "attachment"
    assert message.get_filename()


async def test_a_file_is_cached_by_its_caller_only(client: LigandClient) -> None:
    """A shared cache keeps nothing of it; the client asks whether it is current, and gets a 304 if it is."""
    first = await client.get("/files/?name=a")
    again = await client.get("/files/?name=a", headers={"If-None-Match": first.headers["ETag"]})
    other = await client.get("/files/?name=a&tag=mine", headers={"If-None-Match": first.headers["ETag"]})

    assert first.headers["Cache-Control"] == again.headers["Cache-Control"] == "private, no-cache"
    assert (again.status_code, await again.get_data()) == (304, b"")
    assert (other.status_code, other.headers["ETag"]) == (200, '"mine"')


async def test_a_part_is_sent(client: LigandClient) -> None:
    """One range is a 206 with the name of the file; one past the end is a 416 with its length; HEAD has no parts."""
    part = await client.get("/files/?name=a", headers={"Range": "bytes=2-4"})
    past = await client.get("/files/?name=a", headers={"Range": "bytes=10-"})
    head = await client.head("/files/?name=a", headers={"Range": "bytes=2-4"})

    assert (part.status_code, await part.get_data(), part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert part.headers["Content-Disposition"] == 'attachment; filename="a"'
    assert (past.status_code, past.headers["Content-Range"]) == (416, "bytes */10")
    assert "Content-Disposition" not in past.headers
    assert (head.status_code, head.headers["Content-Length"]) == (200, "10")


async def test_the_document_has_what_happens(client: LigandClient) -> None:
    """A GET is documented with its headers, with 206, 304 and 416; a POST has no parts."""
    paths = (await (await client.get("/openapi.json")).get_json())["paths"]
    responses: dict[str, Any] = paths["/files/"]["get"]["responses"]

    assert {"200", "206", "304", "416"} <= responses.keys()
    assert {"ETag", "Accept-Ranges", "Content-Disposition"} <= responses["200"]["headers"].keys()
    assert responses["206"]["headers"].keys() - responses["200"]["headers"].keys() == {"Content-Range"}
    assert responses["206"]["content"] == responses["200"]["content"] == {"text/plain": {"schema": {"type": "string"}}}
    assert responses["416"]["headers"].keys() == {"Content-Range"}
    assert "Range" in {parameter["name"] for parameter in paths["/files/"]["get"]["parameters"]}
    assert not {"206", "304", "416"} & paths["/files/"]["post"]["responses"].keys()
