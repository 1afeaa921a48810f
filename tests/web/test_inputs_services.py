"""Inputs that services take: they are read, checked and documented together with those of the handler."""

import io
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from quart.datastructures import FileStorage

from ligand_async import Form, operation
from ligand_async.web import Body, Depends, OperationError, UploadedFile, services_of
from tests.services import app_of, running, send

View = Callable[..., Awaitable[Any]]


class Trail(list[str]):
    """A service that says what its factory was given."""


class Note(BaseModel):
    """A body."""

    text: str


class Page(BaseModel):
    """A query string."""

    size: int = 5


class Agent(BaseModel):
    """A header."""

    user_agent: str


def of_level(level: Annotated[int, Field(le=9)]) -> Trail:
    return Trail([str(level)])


def of_text(level: str) -> Trail:
    return Trail([level])


def of_note(note: Note) -> Trail:
    return Trail([note.text])


def of_data(data: Note) -> Trail:
    return Trail([data.text])


def of_photo(data: Annotated[bytes, Body("image/png")]) -> Trail:
    return Trail([data.decode()])


def of_label(label: str, logo: UploadedFile) -> Trail:
    return Trail([label, str(logo.filename)])


def of_page(query_args: Page) -> Trail:
    return Trail([str(query_args.size)])


def of_agent(headers: Agent) -> Trail:
    return Trail([headers.user_agent])


@operation
async def take(trail: Trail) -> list[str]:
    return list(trail)


@operation
async def take_level(level: int, trail: Trail) -> list[str]:
    return [str(level + 1), *trail]


@operation
async def take_note(note: Note, trail: Trail) -> list[str]:
    return [note.text, *trail]


@operation
async def take_form(label: Annotated[str, Form()], logo: UploadedFile, trail: Trail) -> list[str]:
    return [label, *trail]


@operation
async def take_word(word: str, trail: Trail) -> list[str]:
    return [word, *trail]


@operation
async def take_size(size: int, trail: Trail) -> list[str]:
    return [str(size), *trail]


@operation
async def depend(trail: Annotated[Trail, Depends(of_level)]) -> list[str]:
    return list(trail)


@pytest.mark.parametrize("view", [take, depend])
@pytest.mark.parametrize("rule", ["/<level>", "/<int:level>"])
async def test_a_variable_that_only_a_service_takes_is_read_by_its_annotation(rule: str, view: View) -> None:
    """It is validated and documented as one of the handler."""
    app = app_of(("GET", rule, view), provide={Trail: of_level})
    async with running(app, tables=False) as client:
        answers = [await client.get(path) for path in ("/7", "/12")]
        found, document = await answers[0].get_json(), await (await client.get("/openapi.json")).get_json()

    assert ([answer.status_code for answer in answers], found) == ([200, 422], ["7"])
    schema = document["paths"]["/{level}"]["get"]["parameters"][0]["schema"]
    assert (schema["type"], schema["maximum"]) == ("integer", 9)


@pytest.mark.parametrize(
    ("view", "factory", "sent"),
    [
        (take_note, of_note, {"json": {"text": "a"}}),
        (take, of_data, {"json": {"text": "a"}}),
        (take, of_photo, {"data": b"a", "headers": {"Content-Type": "image/png"}}),
    ],
)
async def test_services_take_the_body(view: View, factory: Any, sent: Any) -> None:
    """By the name that the handler gives it, or by `data`, in every form that a handler has."""
    app = app_of(("POST", "/", view), provide={Trail: factory})
    async with running(app, tables=False) as client:
        answer, empty = await client.post("/", **sent), await client.post("/")
        document = await (await client.get("/openapi.json")).get_json()

    assert (answer.status_code, (await answer.get_json())[-1]) == (200, "a")
    assert empty.status_code in {415, 422}
    assert document["paths"]["/"]["post"]["requestBody"]["required"] is True


async def test_services_take_parts_of_a_form() -> None:
    """By name, like all that the handler reads."""
    app = app_of(("POST", "/", take_form), provide={Trail: of_label})
    files = {"logo": FileStorage(io.BytesIO(b"x"), filename="logo.png")}

    assert (await send(app, "POST", "/", form={"label": "a"}, files=files)).json == ["a", "a", "logo.png"]


async def test_single_parameters_join_the_query_string_of_a_service() -> None:
    """It is validated as a whole, and an unknown name is refused."""
    app = app_of(("GET", "/", take_word), provide={Trail: of_page})
    async with running(app, tables=False) as client:
        answers = [await client.get(f"/?{query}") for query in ("word=a&size=3", "word=a", "size=3", "word=a&sizes=3")]
        found = [await answer.get_json() for answer in answers[:2]]

    assert found == [["a", "3"], ["a", "5"]]
    assert [answer.status_code for answer in answers[2:]] == [422, 422]


async def test_a_replaced_service_takes_inputs_of_its_own() -> None:
    """Before the start or while the app runs: what is read of the request follows the services."""
    app = app_of(("GET", "/<int:level>", depend))
    async with running(app, tables=False) as client:
        assert await (await client.get("/7")).get_json() == ["7"]
        services_of(app).replace(of_level, of_agent)
        assert await (await client.get("/12", headers={"User-Agent": "curl"})).get_json() == ["curl"]


@pytest.mark.parametrize(
    ("method", "rule", "view", "factory", "words"),
    [
        ("GET", "/<level>", take_level, of_level, "'level' is read once for the request, as int and not as"),
        ("GET", "/<int:level>", take, of_text, "'level' is annotated str, and its converter makes int"),
        ("POST", "/", take_note, of_data, "a service takes the body as 'data', and the body is 'note'"),
        ("GET", "/", take, of_data, "parameter 'data' is the body, and GET has none"),
        ("GET", "/", take_size, of_page, "'size' is a field of query_args and a parameter"),
        ("GET", "/", take, of_level, "nothing provides int for parameter 'level'"),
    ],
)
async def test_inputs_that_do_not_fit_keep_the_app_from_starting(
    method: str, rule: str, view: View, factory: Any, words: str
) -> None:
    """An input is read once, by one annotation."""
    app = app_of((method, rule, view), provide={Trail: factory})
    with pytest.raises(OperationError, match=re.escape(words)):
        await app.startup()
