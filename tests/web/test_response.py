"""Parts of a body (RFC 9110 section 14), of files, static files and bytes."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quart import Blueprint, Quart, Response, current_app, request, send_file

from ligand_async import public
from ligand_async.web.response import _read_ranges, _within
from tests.services import app_of

CONTENT = bytes(range(100))
WHOLE: tuple[int, str | None, bytes] = (200, None, CONTENT)


def part(begin: int, end: int) -> tuple[int, str | None, bytes]:
    return 206, f"bytes {begin}-{end - 1}/100", CONTENT[begin:end]


def views_of(path: Path) -> list[Blueprint]:
    """Return views of the same bytes: a file, a stream, bytes, and static files of a blueprint."""
    files = Blueprint("files", __name__, static_folder=str(path.parent), static_url_path="/assets")

    @files.get("/file")
    async def send_path() -> Response:
        return await send_file(path, conditional=True)

    @files.get("/stream")
    async def send_stream() -> Response:
        return await send_file(BytesIO(CONTENT), mimetype="application/octet-stream", conditional=True)

    @files.get("/bytes")
    async def send_bytes() -> Response:
        response: Response = current_app.response_class(CONTENT)
        return await response.make_conditional(request, accept_ranges=True, complete_length=100)

    return [public(files)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of a hundred bytes, in a directory of its own."""
    path = tmp_path / "files" / "data.bin"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def app(path: Path) -> Quart:
    """A service that sends the file."""
    app = app_of()
    for blueprint in views_of(path):
        app.register_blueprint(blueprint)
    return app


RANGES: dict[str, tuple[int, str | None, bytes]] = {
    "bytes=0-0": part(0, 1),
    "bytes=0-99": part(0, 100),
    "bytes=10-19": part(10, 20),
    "bytes=90-": part(90, 100),
    "bytes=90-1000": part(90, 100),
    "bytes=-10": part(90, 100),
    "bytes=-1000": part(0, 100),
    "Bytes=10-19": part(10, 20),
    "bytes= 10-19 , ": part(10, 20),
    "bytes=10-19,1000-": part(10, 20),
    "bytes=0-9,20-29": WHOLE,
    "bytes=0-9,-10": WHOLE,
    "bytes=9-0": WHOLE,
    "bytes=x-y": WHOLE,
    "bytes=-": WHOLE,
    "bytes=": WHOLE,
    "bytes=1-2-3": WHOLE,
    "bytes=+1-2": WHOLE,
    "bytes=0-" + "9" * 30: WHOLE,
    "items=0-9": WHOLE,
    "bytes": WHOLE,
}


@pytest.mark.parametrize("target", ["/file", "/stream", "/bytes", "/assets/data.bin"])
async def test_parts_of_a_body(app: Quart, target: str) -> None:
    """One range is cut out; what cannot be understood, or is several ranges, is answered with the whole."""
    client = app.test_client()
    for value, (status, content_range, content) in RANGES.items():
        response = await client.get(target, headers={"Range": value})

        found = response.status_code, response.headers.get("Content-Range"), await response.get_data()
        assert found == (status, content_range, content), value
        assert response.headers["Content-Length"] == str(len(content)), value
        assert response.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("target", ["/file", "/stream", "/bytes", "/assets/data.bin"])
@pytest.mark.parametrize("value", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=100-,200-"])
async def test_a_part_past_the_end_is_416(app: Quart, target: str, value: str) -> None:
    """The problem says how long the body is (section 15.5.17)."""
    response = await app.test_client().get(target, headers={"Range": value})

    assert (response.status_code, response.headers["Content-Range"]) == (416, "bytes */100")
    assert (await response.get_json())["title"] == "Range Not Satisfiable"


async def test_a_head_has_no_parts(app: Quart) -> None:
    """Ranges are defined for GET alone (section 14.2)."""
    response = await app.test_client().head("/file", headers={"Range": "bytes=0-9"})

    assert (response.status_code, response.headers["Content-Length"]) == (200, "100")


async def test_conditions_come_before_parts(app: Quart) -> None:
    """Section 13.2.2: a client that has the whole gets 304, and a part only if it has parts of the same body."""
    client = app.test_client()
    for target in ("/file", "/assets/data.bin"):
        first = (await client.get(target)).headers
        expected = {
            ("If-None-Match", first["ETag"]): 304,
            ("If-Modified-Since", first["Last-Modified"]): 304,
            ("If-Range", first["ETag"]): 206,
            ("If-Range", f"W/{first['ETag']}"): 200,
            ("If-Range", '"other"'): 200,
            ("If-Range", first["Last-Modified"]): 206,
            ("If-Range", "Mon, 30 Nov 2026 10:00:00 GMT"): 200,
            ("If-Range", "yesterday"): 200,
        }
        for (name, value), status in expected.items():
            response = await client.get(target, headers={"Range": "bytes=0-9", name: value})
            assert response.status_code == status, (name, value)


async def test_an_empty_body_has_no_parts(app: Quart, path: Path) -> None:
    """Every range begins past its end."""
    path.write_bytes(b"")

    assert (await app.test_client().get("/file", headers={"Range": "bytes=0-"})).status_code == 416
    assert (await app.test_client().get("/file")).status_code == 200


@given(st.lists(st.tuples(st.none() | st.integers(0, 200), st.none() | st.integers(0, 200))), st.integers(0, 150))
def test_parts_lie_within_the_body(ranges: list[tuple[int | None, int | None]], length: int) -> None:
    """Whatever is asked for, what is cut out is a part of the body, and what is malformed is not read."""
    text = "bytes=" + ",".join(f"{'' if a is None else a}-{'' if b is None else b}" for a, b in ranges)
    is_sound = all((a, b) != (None, None) and not (a is not None and b is not None and b < a) for a, b in ranges)

    assert _read_ranges(text) == (ranges if is_sound else [])
    for one in _read_ranges(text):
        found = _within(one, length)
        assert found is None or 0 <= found[0] < found[1] <= length


STOCK: dict[str, tuple[dict[str, str], Callable[[Any], bool]]] = {
    "several ranges": ({"Range": "bytes=0-9,20-29"}, lambda response: response.status_code == 416),
    "another unit": ({"Range": "items=0-9"}, lambda response: response.status_code == 416),
    "malformed": ({"Range": "bytes=x-y"}, lambda response: response.status_code == 416),
    "a suffix": ({"Range": "bytes=-10"}, lambda response: response.headers.get("Content-Range") != "bytes 90-99/100"),
}


@pytest.mark.ligand_conformance("off", reason="a stock Quart has no document")
@pytest.mark.parametrize("case", STOCK)
async def test_a_stock_quart_does_otherwise(path: Path, case: str) -> None:
    """Once it does as we do, the override is not needed any more."""
    headers, is_wrong = STOCK[case]
    app = Quart(__name__)
    for blueprint in views_of(path):
        app.register_blueprint(blueprint)

    assert is_wrong(await app.test_client().get("/file", headers=headers))
