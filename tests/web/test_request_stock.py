"""How stock Quart reads bodies that ours refuses. When one of these fails, remove that override in request.py."""

from typing import Any

import pytest
from quart import Quart, request

MULTIPART = "multipart/form-data; boundary=b"
URLENCODED = "application/x-www-form-urlencoded"
JSON = "application/json"


def part(disposition: str, value: bytes = b"1") -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + disposition.encode() + b"\r\n\r\n" + value + b"\r\n"


WHOLE = part('name="a"') + part('name="c"')


async def read_by_stock_quart(body: bytes, content_type: str, **headers: str) -> tuple[int, Any]:
    app = Quart(__name__)

    @app.post("/")
    async def read() -> dict[str, Any]:
        if content_type == JSON:
            return {"json": str(await request.get_json())}
        if content_type == "text/plain":
            return {"text": await request.get_data(as_text=True)}
        form, files = await request.form, await request.files
        return {"fields": [*form.items(multi=True)], "files": len([*files.items(multi=True)])}

    sent = {"Content-Type": content_type, **headers}
    response = await app.test_client().post("/", data=body, headers=sent)
    return response.status_code, await response.get_json()


@pytest.mark.parametrize(
    ("body", "content_type", "fields"),
    [
        (b"nonsense", MULTIPART, []),
        (b"--b\r\n", "multipart/form-data", []),
        (WHOLE, MULTIPART, [["a", "1"]]),
        (part('name="a"', b"\xff") + b"--b--\r\n", MULTIPART, [["a", "\ufffd"]]),
        (b"a=%FF", URLENCODED, [["a", "\ufffd"]]),
    ],
    ids=["malformed", "no boundary", "truncated", "multipart not in UTF-8", "urlencoded not in UTF-8"],
)
async def test_stock_forms_lose_data_silently(body: bytes, content_type: str, fields: list[list[str]]) -> None:
    """Stock Quart 0.22 reads a broken form as an empty, shorter or changed one."""
    assert await read_by_stock_quart(body, content_type) == (200, {"fields": fields, "files": 0})


async def test_stock_forms_have_no_limits() -> None:
    """Stock Quart 0.22 reads any number of urlencoded fields, and counts files among the 1,000 parts of a form."""
    status, read = await read_by_stock_quart(b"&".join([b"a=1"] * 5000), URLENCODED)
    assert (status, len(read["fields"])) == (200, 5000)
    files = b"".join(part(f'name="f"; filename="{number}"') for number in range(500))
    assert await read_by_stock_quart(files + b"--b--\r\n", MULTIPART) == (200, {"fields": [], "files": 500})


@pytest.mark.parametrize(("body", "read"), [(b'{"a":1,"a":2}', "{'a': 2}"), (b'{"a":NaN}', "{'a': nan}")])
async def test_stock_json_is_not_strict(body: bytes, read: str) -> None:
    """Stock Quart 0.22 takes the last of two equal keys, and NaN."""
    assert await read_by_stock_quart(body, JSON) == (200, {"json": read})


async def test_stock_bodies_may_claim_any_encoding() -> None:
    """Stock Quart 0.22 ignores `Content-Encoding`, so it parses a compressed body as if it were not."""
    assert await read_by_stock_quart(b'{"a":1}', JSON, **{"Content-Encoding": "gzip"}) == (200, {"json": "{'a': 1}"})


async def test_stock_text_that_is_not_utf_8_is_a_500() -> None:
    """Stock Quart 0.22 lets the `UnicodeDecodeError` of a client's body pass as its own failure."""
    assert (await read_by_stock_quart(b"\xff", "text/plain"))[0] == 500
