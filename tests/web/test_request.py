"""Forms and uploads."""

from io import BytesIO
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from quart.datastructures import FileStorage
from quart_schema.pydantic import File

from ligand_async import Form, operation
from ligand_async.errors import ContentTooLarge
from ligand_async.web.request import _FormLimits, _StrictFormDataParser
from tests.services import app_of, ask, send


class Login(BaseModel):
    name: Annotated[str, Field(min_length=1)]
    attempts: int = 0
    remember: bool = False
    tags: list[str] = []
    full_name: Annotated[str | None, Field(alias="fullName")] = None
    roles: Annotated[list[str], Field(alias="role")] = []


class Photo(BaseModel):
    caption: str = ""
    image: File
    more: list[File] = []


@operation
async def log_in(data: Annotated[Login, Form()]) -> dict[str, Any]:
    return data.model_dump(exclude_defaults=True)


@operation
async def mark_as_class(data: Annotated[Login, Form]) -> str:
    return data.name


class Note(BaseModel):
    caption: str = "nothing"


@operation
async def send_note(data: Annotated[Note, Form()]) -> str:
    return data.caption


@operation
async def add_photo(data: Annotated[Photo, Form()]) -> list[Any]:
    return [data.caption, data.image.filename, data.image.read().decode(), [file.filename for file in data.more]]


async def test_a_form_is_read_from_text() -> None:
    """Values coerce, a repeated name is a list where one is declared, and aliases are the names that count."""
    body = "name=rex&attempts=3&remember=on&tags=a&role=x&role=y&fullName=Rex+the+First"

    answer = await ask(log_in, method="POST", data=body, headers={"Content-Type": "application/x-www-form-urlencoded"})

    assert answer.json == {
        "name": "rex",
        "attempts": 3,
        "remember": True,
        "tags": ["a"],
        "full_name": "Rex the First",
        "roles": ["x", "y"],
    }


async def test_the_mark_may_be_the_class() -> None:
    """`Form` and `Form()` mean the same."""
    assert (await ask(mark_as_class, method="POST", form={"name": "rex"})).json == "rex"


async def test_a_form_without_uploads_may_be_multipart() -> None:
    """Browsers choose either; both are the same form."""
    boundary = "--x\r\nContent-Disposition: form-data; name="
    body = f'{boundary}"name"\r\n\r\nrex\r\n{boundary}"attempts"\r\n\r\n2\r\n--x--\r\n'

    answer = await ask(log_in, method="POST", data=body, headers={"Content-Type": "multipart/form-data; boundary=x"})

    assert answer.json == {"name": "rex", "attempts": 2}


@pytest.mark.parametrize(
    ("form", "errors"),
    [
        ({}, [("/name", "missing")]),
        ({"name": ""}, [("/name", "string_too_short")]),
        ({"name": "rex", "attempts": "s3cret"}, [("/attempts", "int_parsing")]),
        ({"name": "rex", "other": "1"}, [("/other", "extra_forbidden")]),
        ({"name": "rex", "full_name": "s3cret"}, [("/full_name", "extra_forbidden")]),
    ],
)
async def test_a_form_that_does_not_fit_is_422(form: dict[str, str], errors: list[tuple[str, str]]) -> None:
    """With pointers to the fields, never their values."""
    answer = await ask(log_in, method="POST", form=form)

    assert (answer.status, answer.errors) == (422, errors)
    assert b"s3cret" not in answer.raw


async def test_an_upload_arrives() -> None:
    """With its name and its bytes, beside the fields and other files."""
    answer = await ask(
        add_photo,
        method="POST",
        form={"caption": "me"},
        files={"image": FileStorage(BytesIO(b"pixels"), filename="me.png")},
    )

    assert answer.json == ["me", "me.png", "pixels", []]


async def test_several_uploads_under_one_name() -> None:
    """A list of files takes one as well as many."""
    boundary = '--x\r\nContent-Disposition: form-data; name="{}"; filename="{}"\r\n\r\nbytes\r\n'
    parts = [("image", "a.png"), ("more", "b.png"), ("more", "c.png")]
    body = "".join(boundary.format(*part) for part in parts) + "--x--\r\n"

    answer = await ask(add_photo, method="POST", data=body, headers={"Content-Type": "multipart/form-data; boundary=x"})

    assert answer.json == ["", "a.png", "bytes", ["b.png", "c.png"]]


async def test_text_is_no_upload() -> None:
    """A field where a file was expected is refused."""
    body = '--x\r\nContent-Disposition: form-data; name="image"\r\n\r\ntext\r\n--x--\r\n'

    answer = await ask(add_photo, method="POST", data=body, headers={"Content-Type": "multipart/form-data; boundary=x"})

    assert (answer.status, answer.errors) == (422, [("/image", "file_type")])


@pytest.mark.parametrize(
    ("view", "content_type", "expected"),
    [
        (log_in, "application/json", "application/x-www-form-urlencoded or multipart/form-data"),
        (log_in, "text/plain", "application/x-www-form-urlencoded or multipart/form-data"),
        (add_photo, "application/x-www-form-urlencoded", "multipart/form-data"),
    ],
)
async def test_another_media_type_is_415(view: Any, content_type: str, expected: str) -> None:
    """An upload cannot come url-encoded, a form is not JSON."""
    answer = await ask(view, method="POST", data=b"name=rex", headers={"Content-Type": content_type})

    assert (answer.status, answer.json["detail"]) == (415, f"the body must be sent as {expected}")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x\r\n\r\n--x--"),
        ("multipart/form-data; boundary=x", b"no boundary at all"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\ncut',
        ),
        ("multipart/form-data; boundary=x", b"--x\r\nno header\r\n\r\n--x--"),
        ("multipart/form-data; boundary=x", b""),
        ("application/x-www-form-urlencoded", b"caption=\xff"),
    ],
)
async def test_a_malformed_form_is_400(content_type: str, body: bytes) -> None:
    """Not an empty form, even where every field may be absent."""
    answer = await ask(send_note, method="POST", data=body, headers={"Content-Type": content_type})

    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert answer.json["detail"] == "the body is not a well-formed form"


async def test_an_empty_form_is_a_form() -> None:
    """Nothing was sent, and nothing was needed."""
    empty = await ask(send_note, method="POST", data=b"", headers={"Content-Type": "application/x-www-form-urlencoded"})
    closed = await ask(
        send_note, method="POST", data=b"--x--\r\n", headers={"Content-Type": "multipart/form-data; boundary=x"}
    )

    assert (empty.json, closed.json) == ("nothing", "nothing")


async def test_a_form_over_the_limit_is_413() -> None:
    """Forms count like other bodies."""
    app = app_of(("POST", "/", log_in), settings={"max_body_bytes": 100})

    assert (await send(app, "POST", "/", form={"name": "a" * 200})).status == 413


class Kept(BaseModel):
    file: File


KEPT: list[Any] = []


@operation
async def keep(data: Annotated[Kept, Form()]) -> list[bool]:
    KEPT[:] = [data.file.stream]
    return [data.file.stream._rolled]  # type: ignore[attr-defined]  # it is a SpooledTemporaryFile


@pytest.mark.parametrize(("size", "on_disk"), [(64 * 1024, False), (64 * 1024 + 1, True)])
async def test_a_large_upload_is_kept_on_disk(size: int, on_disk: bool) -> None:
    """Memory holds 64 KiB of it, and when the request is over nothing is left."""
    file = FileStorage(BytesIO(b"a" * size), filename="a")

    answer = await ask(keep, method="POST", files={"file": file})

    assert answer.json == [on_disk]
    assert KEPT[0].closed


class _Endless:
    """A body that must not be read to its end."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = iter(parts)

    def __aiter__(self) -> "_Endless":
        return self

    async def __anext__(self) -> bytes:
        return next(self.parts)  # StopIteration is a RuntimeError here


@pytest.mark.parametrize("name", ["a", 'a"; filename="b'])
async def test_parts_are_counted_while_they_come(name: str) -> None:
    """What follows the first part too many is not read."""
    part = f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n1\r\n'.encode()
    parser = _StrictFormDataParser(limits=_FormLimits(fields=2, files=2))

    with pytest.raises(ContentTooLarge, match="may have 2"):
        await parser.parse(_Endless(part, part, part), "multipart/form-data", None, {"boundary": "x"})


async def test_a_part_has_a_short_head() -> None:
    """One of 240,000 parameters is not parsed."""
    head = "--x\r\nContent-Disposition: form-data; name=name" + "; a=1" * 240_000
    kind = {"Content-Type": "multipart/form-data; boundary=x"}

    answer = await ask(log_in, method="POST", data=head + "\r\n\r\nAda\r\n--x--\r\n", headers=kind)

    assert answer.status in {400, 413}


async def test_limits_are_settings() -> None:
    """`max_form_fields` and `max_form_files`, counted apart."""
    app = app_of(("POST", "/", add_photo), settings={"max_form_fields": 1, "max_form_files": 2})
    boundary = '--x\r\nContent-Disposition: form-data; name="{}"; filename="a"\r\n\r\nbytes\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}

    answers = []
    for files in (2, 3):
        names = ["image", *["more"] * (files - 1)]
        body = "".join(boundary.format(name) for name in names) + "--x--\r\n"
        answers.append(await send(app, "POST", "/", data=body, headers=kind))

    assert [answer.status for answer in answers] == [200, 413]
    assert answers[1].json["detail"] == "a form may have 2 files at most"
