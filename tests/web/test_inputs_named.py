"""Single headers and cookies by annotation, and what functions in `Depends` take of the request."""

import enum
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from quart import Request

from ligand_async import operation
from ligand_async.web import Body, Cookie, Depends, Form, Header, OperationError, ServiceError, services_of
from tests.services import app_of, running, send


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


class Agent(BaseModel):
    user_agent: str


class Item(BaseModel):
    name: str


@operation
async def read_named(
    x_level: Annotated[Level, Header()],
    tags: Annotated[list[str], Header("X-Tag")] = [],  # noqa: B006  (it is not changed)
    trace: Annotated[Annotated[str, Field(max_length=3)] | None, Header("X-Trace")] = None,
    theme: Annotated[str, Cookie()] = "light",
    visits: Annotated[int, Cookie("n")] = 0,
) -> list[Any]:
    """Read them."""
    return [x_level.name, tags, trace, theme, visits]


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([("X-Level", "2")], ["HIGH", [], None, "light", 0]),
        (
            [("x-level", "1"), ("X-Tag", "a"), ("X-Tag", "b"), ("X-Trace", "abc"), ("Cookie", "theme=dark; n=7")],
            ["LOW", ["a", "b"], "abc", "dark", 7],
        ),
    ],
)
async def test_one_header_or_cookie_is_a_parameter(headers: Any, found: list[Any]) -> None:
    """It is read by its annotation, under its own name or under the one in the mark."""
    assert (await send(app_of(("GET", "/", read_named)), "GET", "/", headers=headers)).json == found


@pytest.mark.parametrize(
    ("headers", "place"),
    [
        ({}, {"header": "x-level"}),
        ({"X-Level": "3"}, {"header": "x-level"}),
        ({"X-Level": "1", "X-Trace": "abcd"}, {"header": "X-Trace"}),
        ({"X-Level": "1", "Cookie": "n=many"}, {"cookie": "n"}),
    ],
)
async def test_one_that_does_not_fit_is_refused(headers: dict[str, str], place: dict[str, str]) -> None:
    """With a 422 that names it as it is sent."""
    answer = await send(app_of(("GET", "/", read_named)), "GET", "/", headers=headers)

    assert answer.status == 422
    [error] = answer.json["errors"]
    assert place.items() <= error.items()


async def test_they_are_documented() -> None:
    """As parameters of their places, required or with their defaults."""
    document = (await send(app_of(("GET", "/", read_named)), "GET", "/openapi.json")).json
    found = {
        (one["in"], one["name"]): (one["required"], one["schema"].get("default"))
        for one in document["paths"]["/"]["get"]["parameters"]
    }

    assert found == {
        ("header", "x-level"): (True, None),
        ("header", "X-Tag"): (False, []),
        ("header", "X-Trace"): (False, None),
        ("cookie", "theme"): (False, "light"),
        ("cookie", "n"): (False, 0),
    }


@operation
async def read_both(headers: Agent, x_level: Annotated[int, Header]) -> list[Any]:
    return [headers.user_agent, x_level]


async def test_a_model_and_a_single_header_are_read_together() -> None:
    """The parentheses of a mark may be left out."""
    app = app_of(("GET", "/", read_both))

    assert (await send(app, "GET", "/", headers={"User-Agent": "curl", "X-Level": "4"})).json == ["curl", 4]


class Search(list[Any]):
    """What a function makes of a request."""


def search(request: Request, q: str, lang: Annotated[str, Header("Accept-Language")], size: int = 10) -> Search:
    return Search([request.method, q, lang, size])


@operation
async def find(found: Annotated[Search, Depends(search)]) -> list[Any]:
    return list(found)


@operation
async def find_again(q: str, found: Annotated[Search, Depends(search)]) -> list[Any]:
    return [q, *found]


@operation
async def find_below(q: str, found: Annotated[Search, Depends(search)]) -> list[Any]:
    return [q, *found]


@operation
async def find_provided(found: Search) -> list[Any]:
    return list(found)


def search_header(lang: Annotated[str, Header("Accept-Language")], request: Request) -> Search:
    return Search([lang, request.path])


async def test_a_function_takes_the_request_and_required_parameters() -> None:
    """As a handler does: `q: str` is a required query parameter, documented, and a single header is read."""
    async with running(app_of(("GET", "/", find)), tables=False) as client:
        found = await client.get("/?q=a&size=3", headers={"Accept-Language": "de"})
        lacking = await client.get("/", headers={"Accept-Language": "de"})
        document = await (await client.get("/openapi.json")).get_json()

    assert await found.get_json() == ["GET", "a", "de", 3]
    assert (lacking.status_code, (await lacking.get_json())["errors"][0]["parameter"]) == (422, "q")
    parameters = {one["name"]: (one["in"], one["required"]) for one in document["paths"]["/"]["get"]["parameters"]}
    assert parameters == {"q": ("query", True), "size": ("query", False), "Accept-Language": ("header", True)}


@pytest.mark.parametrize(
    ("view", "rule", "path", "found"),
    [
        (find_again, "/", "/?q=a", ["a", "GET", "a", "de", 10]),
        (find_below, "/<q>", "/a", ["a", "GET", "a", "de", 10]),
        (find, "/<q>", "/a", ["GET", "a", "de", 10]),
    ],
)
async def test_an_input_of_a_function_is_that_of_the_handler(view: Any, rule: str, path: str, found: list[Any]) -> None:
    """It is read once, from the path where the rule has it."""
    answer = await send(app_of(("GET", rule, view)), "GET", path, headers={"Accept-Language": "de"})

    assert answer.json == found


async def test_a_factory_of_the_app_takes_the_request_and_a_header() -> None:
    """By the same annotations; what it needs from the query string it takes by `query_args`."""
    app = app_of(("GET", "/", find_provided), provide={Search: search_header})

    assert (await send(app, "GET", "/", headers={"Accept-Language": "de"})).json == ["de", "/"]


async def test_a_call_outside_of_operations_has_no_request() -> None:
    """The error names the parameter and says what to do."""
    app = app_of(("GET", "/", find_provided), provide={Search: search_header})
    async with running(app, tables=False), app.app_context():
        with pytest.raises(ServiceError, match="parameter 'request' takes the request, and no request is served here"):
            await services_of(app).call(take_request)


def path_of(request: Request) -> str:
    return request.path


async def take_request(path: Annotated[str, Depends(path_of)]) -> None: ...


async def structure(item: Annotated[Item, Header()]) -> None: ...


async def twice(headers: Agent, user_agent: Annotated[str, Header()]) -> None: ...


async def header_default(trace: str = Header()) -> None: ...  # type: ignore[assignment]  # as people write it


async def cookie_default(theme: str = Cookie("t")) -> None: ...  # type: ignore[assignment]  # as people write it


async def body_default(item: Item = Body()) -> None: ...  # type: ignore[assignment]  # noqa: B008  (the mistake)


async def form_default(name: str = Form()) -> None: ...  # type: ignore[assignment]  # as people write it


async def depends_default(found: Search = Depends(search)) -> None: ...  # type: ignore[assignment]  # noqa: B008  (the mistake)


def of_header_default(trace: str = Header()) -> str:  # type: ignore[assignment]  # as people write it
    return trace


async def function_default(trace: Annotated[str, Depends(of_header_default)]) -> None: ...


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (structure, "'item' is a structure, and a header holds single values"),
        (twice, "'user_agent' is a field of headers and a parameter"),
        (header_default, r"'trace' has Header\(\) as its default; write trace: Annotated\[str, Header\("),
        (cookie_default, r"'theme' has Cookie\(\) as its default; write theme: Annotated\[str, Cookie\("),
        (body_default, r"'item' has Body\(\) as its default; write item: Annotated\[Item, Body\("),
        (form_default, r"'name' has Form\(\) as its default; write name: Annotated\[str, Form\("),
        (depends_default, r"'found' has Depends\(\) as its default; write found: Annotated\[Search, Depends\("),
        (function_default, r"of_header_default: parameter 'trace' has Header\(\) as its default"),
    ],
)
def test_a_mistake_is_refused_at_import(handler: Callable[..., Any], words: str) -> None:
    """The error quotes the parameter and shows the correct form."""
    with pytest.raises(OperationError, match=words):
        operation(handler)
