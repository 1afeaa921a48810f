"""What the fault matrix says of bodies: section B, rows 40 to 49, over a real socket and on both databases."""

import gzip
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from quart import Quart, request
from quart_schema import DataSource, validate_request
from sqlalchemy import JSON, BigInteger, SmallInteger, Text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import ligand_async
from ligand_async import Database, Form, Identified, Model, Settings, operation
from tests.http import is_problem, talk
from tests.servers import serving
from tests.services import Answer, routes

JSON_TYPE = {"Content-Type": "application/json"}
FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}
SECRET = "s3cret-word"


class Base(Model, DeclarativeBase):
    """The tables of this service."""


class Note(Identified, Base):
    """One column of each kind that a body can break."""

    __tablename__ = "strict_note"

    text: Mapped[str] = mapped_column(Text, default="")
    small: Mapped[int] = mapped_column(SmallInteger, default=0)
    number: Mapped[int] = mapped_column(default=0)
    big: Mapped[int] = mapped_column(BigInteger, default=0)
    more: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class NoteBody(BaseModel):
    """Written by hand, with no bounds: what the database takes is not said."""

    text: str = ""
    small: int = 0
    number: int = 0
    big: int = 0
    weight: float = 0.0
    flag: bool = False
    id: UUID | None = None
    more: dict[str, Any] = {}


class FormBody(BaseModel):
    """The same as a form."""

    text: str = ""
    number: int = 0
    names: list[str] = []


database = Database(Base)


@operation(status=201)
async def store(data: NoteBody, session: AsyncSession) -> None:
    """Store a note."""
    session.add(Note(**data.model_dump(include={"text", "small", "number", "big", "more"})))


@operation
async def send_form(data: Annotated[FormBody, Form()]) -> FormBody:
    """Read a form."""
    return data


@operation
async def search(number: int = 0, names: Annotated[list[str], Field()] = []) -> dict[str, Any]:  # noqa: B006  (read only)
    """Read a query string."""
    return {"number": number, "names": names}


async def plain() -> Any:
    """Read JSON as any Quart view does."""
    return {"read": await request.get_json()}


async def plain_text() -> Any:
    """Read text as any Quart view does."""
    return str(len(await request.get_data(as_text=True)))


async def plain_form() -> Any:
    """Read a form as any Quart view does."""
    return dict(await request.form)


@validate_request(NoteBody)
async def decorated(data: NoteBody) -> Any:
    """Read a body by quart-schema's decorator."""
    return {"text": data.text}


@validate_request(FormBody, source=DataSource.FORM)
async def decorated_form(data: FormBody) -> Any:
    """Read a form by quart-schema's decorator."""
    return {"text": data.text}


VIEWS = {
    "/notes": store,
    "/form": send_form,
    "/plain": plain,
    "/plain-text": plain_text,
    "/plain-form": plain_form,
    "/decorated": decorated,
    "/decorated-form": decorated_form,
}
READERS = ["/notes", "/plain", "/decorated"]  # of JSON


def make_service(url: str) -> Quart:
    """Make the service on a database."""
    views = [("POST", rule, view) for rule, view in VIEWS.items()]
    return ligand_async.create_app(
        __name__,
        title="Strict",
        version="1",
        settings=Settings.load("testing", database_url=url, max_form_fields=50, max_form_files=3),
        database=database,
        blueprints=[routes(*views, ("GET", "/search", search))],
    )


async def send_all(url: str, *bodies: bytes, path: str = "/notes", **headers: str) -> list[Answer]:
    """Post bodies to a service under a real server."""
    app = make_service(url)
    async with app.test_app(), app.app_context():
        await database.create_tables()
        async with serving(app) as port:
            sent = {**JSON_TYPE, **{name.replace("_", "-"): value for name, value in headers.items()}}
            return [await talk(port, path, method="POST", body=body, headers=sent) for body in bodies]


@pytest.fixture
async def port(sqlite_url: str) -> AsyncIterator[int]:
    """A service under a real server, on SQLite."""
    app = make_service(sqlite_url)
    async with app.test_app(), app.app_context():
        await database.create_tables()
        async with serving(app) as port:
            yield port


async def post(port: int, body: bytes, path: str = "/notes", headers: dict[str, str] | None = None) -> Answer:
    """Post a body."""
    return await talk(port, path, method="POST", body=body, headers=JSON_TYPE if headers is None else headers)


NOT_UTF8 = {
    "a stray byte": b'{"text": "\xff"}',
    "an overlong form": b'{"text": "\xc0\x80"}',
    "a surrogate in bytes": b'{"text": "\xed\xa0\x80"}',
    "UTF-16": '{"text": "a"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"text": "a"}'.encode("utf-16-le"),
    "UTF-32": '{"text": "a"}'.encode("utf-32"),
    "a byte order mark": b"\xef\xbb\xbf{}",
}


@pytest.mark.parametrize("path", READERS)
@pytest.mark.parametrize("name", NOT_UTF8)
async def test_what_is_not_utf_8(port: int, path: str, name: str) -> None:
    """Row 40: a 400, by an operation, by a plain view and by quart-schema's decorator."""
    assert is_problem(await post(port, NOT_UTF8[name], path), 400)


async def test_text_that_is_not_utf_8(port: int) -> None:
    """Row 40: a view that asks for text gets text, or its client a 400."""
    assert is_problem(await post(port, b"\xff", "/plain-text", {"Content-Type": "text/plain"}), 400)


@pytest.mark.parametrize("path", READERS)
@pytest.mark.parametrize("depth", [5_000, 100_000])
@pytest.mark.parametrize("brackets", ["[]", '{"a":}'])
async def test_what_is_too_deep(port: int, path: str, depth: int, brackets: str) -> None:
    """Row 41: a 400 at any depth."""
    opening, closing = brackets[:-1], brackets[-1]
    body = b'{"more": ' + opening.encode() * depth + b"1" + closing.encode() * depth + b"}"

    assert is_problem(await post(port, body, path), 400)


@pytest.mark.parametrize("path", VIEWS)
@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "nonsense"])
async def test_a_compressed_body(port: int, path: str, coding: str) -> None:
    """Row 42: a 415 that says what would be taken, whoever reads the body."""
    kind = FORM_TYPE if "form" in path else JSON_TYPE
    answer = await post(port, gzip.compress(b"{}"), path, {**kind, "Content-Encoding": coding})

    assert is_problem(answer, 415)
    assert answer.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("kind", [None, "text/plain", "application/jsonp", "application/x-www-form-urlencoded", "x"])
async def test_another_content_type(port: int, kind: str | None) -> None:
    """Row 43: missing or wrong, it is a 415."""
    assert is_problem(await post(port, b"{}", headers={} if kind is None else {"Content-Type": kind}), 415)


@pytest.mark.parametrize("digits", [400, 4_000, 5_000, 100_000])
@pytest.mark.parametrize("field", ["number", "big", "weight", "more"])
async def test_an_endless_integer(port: int, field: str, digits: int) -> None:
    """Row 44: a 422 that points at it; beyond what Python reads, a 400."""
    number = b"1" * digits
    body = b'{"more": {"n": %s}}' % number if field == "more" else b'{"%s": %s}' % (field.encode(), number)
    answer = await post(port, body)

    assert is_problem(answer, 422) or (digits > 4_300 and is_problem(answer, 400))
    assert number[:50] not in answer.raw


@pytest.mark.parametrize(
    ("field", "number"),
    [("small", 2**15), ("small", -(2**15) - 1), ("number", 2**31), ("big", 2**63), ("big", -(2**63) - 1)],
)
async def test_an_integer_beyond_its_column(database_url: str, field: str, number: int) -> None:
    """Row 44: a 422 where a schema written by hand has no bounds. SQLite itself bounds at 64 bits only."""
    (answer,) = await send_all(database_url, json.dumps({field: number}).encode())

    if database_url.startswith("sqlite") and field != "big":
        assert answer.status == 201
    else:
        assert is_problem(answer, 422)
        assert str(number).encode() not in answer.raw


@pytest.mark.parametrize("path", READERS)
@pytest.mark.parametrize("place", ['{"weight": %s}', '{"more": {"a": [1, %s]}}'])
@pytest.mark.parametrize(
    ("number", "status"), [("NaN", 400), ("Infinity", 400), ("-Infinity", 400), ("1e999", 422), ("-1E+400", 422)]
)
async def test_a_number_that_is_none(port: int, path: str, place: str, number: str, status: int) -> None:
    """Row 45: in a column of JSON as anywhere else; what is no JSON is a 400, what no double holds a 422."""
    answer = await post(port, (place % number).encode(), path)

    assert is_problem(answer, status)
    if status == 422:
        assert answer.errors == [("/weight" if "weight" in place else "/more/a/1", "finite_number")]


@pytest.mark.parametrize("path", READERS)
@pytest.mark.parametrize("body", [b'{"text": "a", "text": "b"}', b'{"more": {"a": 1, "\\u0061": 2}}'])
async def test_a_key_that_is_there_twice(port: int, path: str, body: bytes) -> None:
    """Row 46: a 400 at any depth, also where it is spelt in two ways."""
    answer = await post(port, body, path)

    assert is_problem(answer, 400)
    assert answer.json["detail"].startswith("the body has a duplicate key at line 1 column ")


@pytest.mark.parametrize("path", READERS)
@pytest.mark.parametrize("text", ["\\ud800", "\\udc00", "\\ud800\\ud800", "a\\udfff"])
async def test_a_lone_surrogate(port: int, path: str, text: str) -> None:
    """Row 47: a 400 in a value and in a key."""
    assert is_problem(await post(port, f'{{"text": "{text}"}}'.encode(), path), 400)
    assert is_problem(await post(port, f'{{"more": {{"{text}": 1}}}}'.encode(), path), 400)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ('{"text": "a\\u0000b"}', "/text"),
        ('{"more": {"a": [{"b": "\\u0000"}]}}', "/more/a/0/b"),
        ('{"more": {"a\\u0000": 1}}', "/more"),
    ],
)
async def test_a_nul_in_a_body(database_url: str, body: str, pointer: str) -> None:
    """Row 94: PostgreSQL stores U+0000 nowhere, so no body holds it, on either database; a 422 points at it."""
    (answer,) = await send_all(database_url, body.encode())

    assert is_problem(answer, 422)
    assert answer.errors == [(pointer, "nul_character")]


async def test_a_backslash_is_no_nul(port: int) -> None:
    r"""Row 94: the six characters `\u0000` in a text are not U+0000."""
    assert (await post(port, rb'{"text": "\\u0000"}')).status == 201


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"colour": "red"}, [("/colour", "extra_forbidden")]),
        ({"text": "a", "a/b~c": 1}, [("/a~1b~0c", "extra_forbidden")]),
        ({"a" * 65: 1}, [("", "extra_forbidden")]),
        ({"<script>": 1}, [("", "extra_forbidden")]),
        ({"line\nbreak": 1}, [("", "extra_forbidden")]),
    ],
)
async def test_an_unknown_key(port: int, body: dict[str, Any], errors: list[tuple[str, str]]) -> None:
    """Row 48: a 422 that names it, or what holds it where the name is too odd to repeat."""
    answer = await post(port, json.dumps(body).encode())

    assert (answer.status, answer.errors) == (422, errors)


async def test_an_unknown_parameter(port: int) -> None:
    """Row 48: in the query string too."""
    named = await talk(port, "/search?colour=red")
    odd = await talk(port, "/search?%3Cscript%3E=1")

    assert (named.status, named.errors) == (422, [("colour", "extra_forbidden")])
    assert (odd.status, odd.json["errors"]) == (
        422,
        [{"detail": "Extra inputs are not permitted", "code": "extra_forbidden"}],
    )


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ('{"number": "5"}', ("/number", "int_type")),
        ('{"number": true}', ("/number", "int_type")),
        ('{"number": 5.0}', ("/number", "int_type")),
        ('{"number": 1e2}', ("/number", "int_type")),
        ('{"number": null}', ("/number", "int_type")),
        ('{"weight": "1"}', ("/weight", "float_type")),
        ('{"flag": 1}', ("/flag", "bool_type")),
        ('{"flag": "true"}', ("/flag", "bool_type")),
        ('{"text": 1}', ("/text", "string_type")),
        ('{"more": []}', ("/more", "dict_type")),
        ('{"id": 5}', ("/id", "uuid_type")),
    ],
)
async def test_another_type(port: int, body: str, error: tuple[str, str]) -> None:
    """Row 49: nothing is converted in a body."""
    answer = await post(port, body.encode())

    assert (answer.status, answer.errors) == (422, [error])


async def test_query_strings_and_forms_coerce(port: int) -> None:
    """Row 49: they are text, so `5` is an integer; a repeated name is a list where one is declared."""
    assert (await talk(port, "/search?number=5&names=a&names=b")).json == {"number": 5, "names": ["a", "b"]}
    assert (await talk(port, "/search?number=5&number=6")).errors == [("number", "int_type")]
    form = await post(port, b"number=5&names=a&names=b", "/form", FORM_TYPE)
    assert form.json == {"text": "", "number": 5, "names": ["a", "b"]}


MALFORMED_FORMS = {
    "a stray byte": b"text=\xff",
    "an escaped stray byte": b"text=%ff",
    "an escaped surrogate": b"text=%ed%a0%80",
}


@pytest.mark.parametrize("path", ["/form", "/plain-form", "/decorated-form"])
@pytest.mark.parametrize("name", MALFORMED_FORMS)
async def test_a_form_that_is_not_utf_8(port: int, path: str, name: str) -> None:
    """Row 40: a 400, whoever reads it."""
    assert is_problem(await post(port, MALFORMED_FORMS[name], path, FORM_TYPE), 400)


def multipart(*parts: tuple[str, str | None, bytes]) -> tuple[bytes, dict[str, str]]:
    """Write a multipart form of (name, file name, content)."""
    written = b""
    for name, filename, content in parts:
        file = f'; filename="{filename}"' if filename else ""
        written += f'--x\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"
    return written + b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize("path", ["/form", "/plain-form"])
async def test_a_multipart_value_that_is_not_utf_8(port: int, path: str) -> None:
    """Row 40: a 400 and no replacement character."""
    body, headers = multipart(("text", None, b"\xff"))

    assert is_problem(await post(port, body, path, headers), 400)


@pytest.mark.parametrize("path", ["/form", "/plain-form", "/decorated-form"])
async def test_a_form_of_too_many_fields(port: int, path: str) -> None:
    """Row 50: a 413 beyond `max_form_fields`, in either encoding."""
    body, headers = multipart(*[("names", None, b"a")] * 51)

    assert is_problem(await post(port, b"&".join([b"names=a"] * 51), path, FORM_TYPE), 413)
    assert is_problem(await post(port, body, path, headers), 413)
    assert (await post(port, b"&".join([b"names=a"] * 50), path, FORM_TYPE)).status == 200


async def test_a_form_of_too_many_files(port: int) -> None:
    """Row 50: a 413 beyond `max_form_files`."""
    body, headers = multipart(*[("file", "a.txt", b"a")] * 4)

    assert is_problem(await post(port, body, "/plain-form", headers), 413)


async def test_a_field_that_is_too_long(port: int) -> None:
    """Row 50: one value has 64 KiB at most, in either encoding; an upload has not."""
    long = b"a" * (64 * 1024 + 1)
    body, headers = multipart(("text", None, long))
    upload, _ = multipart(("file", "a.txt", long))

    assert is_problem(await post(port, b"text=" + long, "/form", FORM_TYPE), 413)
    assert is_problem(await post(port, body, "/form", headers), 413)
    assert (await post(port, upload, "/plain-form", headers)).status == 200


async def test_a_nul_in_a_form(port: int) -> None:
    """Row 94: as in any body."""
    answer = await post(port, b"text=a%00b", "/form", FORM_TYPE)

    assert is_problem(answer, 422)
    assert answer.errors == [("/text", "nul_character")]


async def test_pointers_lead_into_what_was_sent(port: int) -> None:
    """Row 48: the names of our schemas, such as the members of a union, are no part of a pointer."""
    answer = await post(port, b'{"id": "s3cret-word"}')

    assert answer.errors == [("/id", "uuid_parsing")]
    assert SECRET.encode() not in answer.raw
