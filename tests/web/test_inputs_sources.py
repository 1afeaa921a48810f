"""Where parameters come from: the path, the query string, the body, a form, a service, by annotation alone."""

import enum
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, model_validator
from quart import Blueprint, Request, Response
from quart.datastructures import FileStorage
from quart.views import MethodView

from ligand_async import Form, operation, public
from ligand_async.web import Body, Depends, OperationError, UploadedFile
from tests.services import Answer, app_of, ask, running

View = Callable[..., Awaitable[Any]]


class Level(enum.Enum):
    """An enumeration of numbers."""

    LOW = 1
    HIGH = 2


class Day(enum.Enum):
    """An enumeration of dates."""

    FIRST = date(2024, 1, 1)
    SECOND = date(2024, 1, 2)


class Share(enum.Enum):
    """An enumeration of decimals."""

    HALF = Decimal("0.5")


class Priority(enum.IntEnum):
    """Members that are numbers."""

    LOW = 1


Sku = NewType("Sku", str)
Positive = NewType("Positive", int)


class Item(BaseModel):
    """A body."""

    name: str
    count: int = 1


class Other(BaseModel):
    """Another body."""

    name: str = ""


class Nested(BaseModel):
    """A model in a model, which no query string can hold."""

    item: Item


class Undescribed(BaseModel):
    """A model without a JSON schema."""

    function: Callable[[], None] | None = None


@dataclass
class Mailer:
    """A service, or a body."""

    server: str


@operation
async def of_level(value: Level) -> str:
    return value.name


@operation
async def of_date(value: date) -> str:
    return value.isoformat()


@operation
async def of_uuid(value: UUID) -> str:
    return str(value)


@operation
async def of_literal(value: Literal[10, 20]) -> int:
    return value


@operation
async def of_true(value: Literal[True]) -> bool:
    return value


@operation
async def of_bool(value: bool) -> bool:
    return value


@operation
async def of_bounds(value: Annotated[int, Field(ge=5)]) -> int:
    return value


@operation
async def of_text_bounds(value: Annotated[str, Field(pattern="^[a-z]+$")]) -> str:
    return value


@operation
async def of_sku(value: Sku) -> str:
    return value


@operation
async def of_number(value: Positive) -> int:
    return value


@operation
async def of_day(value: Day) -> str:
    return value.name


@operation
async def of_share(value: Share) -> str:
    return value.name


@operation
async def of_priority(value: Priority) -> str:
    return value.name


@operation
async def of_union(value: int | Literal["all"]) -> int | str:
    return value


@operation
async def of_anything(value: Any) -> str:
    return type(value).__name__


READ: list[tuple[View, str, Any]] = [
    (of_level, "2", "HIGH"),
    (of_date, "2024-01-01", "2024-01-01"),
    (of_uuid, "8d3bb5e4-6a3e-4a0b-8f0e-0c8f3d1d5a55", "8d3bb5e4-6a3e-4a0b-8f0e-0c8f3d1d5a55"),
    (of_literal, "10", 10),
    (of_true, "true", True),
    (of_bool, "no", False),
    (of_bounds, "5", 5),
    (of_text_bounds, "abc", "abc"),
    (of_sku, "A-1", "A-1"),
    (of_number, "7", 7),
    (of_day, "2024-01-02", "SECOND"),
    (of_share, "0.50", "HALF"),
    (of_priority, "1", "LOW"),
    (of_union, "5", 5),
    (of_union, "all", "all"),
]
REFUSED: list[tuple[View, str, str]] = [
    (of_level, "3", "enum"),
    (of_level, "LOW", "enum"),
    (of_date, "5", "date_from_datetime_parsing"),
    (of_uuid, "x", "uuid_parsing"),
    (of_literal, "30", "literal_error"),
    (of_true, "false", "literal_error"),
    (of_bool, "maybe", "bool_parsing"),
    (of_bounds, "4", "greater_than_equal"),
    (of_text_bounds, "A", "string_pattern_mismatch"),
    (of_number, "x", "int_parsing"),
    (of_day, "2024-01-03", "enum"),
    (of_share, "0.6", "enum"),
]


@pytest.mark.parametrize(("view", "text", "value"), READ)
@pytest.mark.parametrize("place", ["path", "query"])
async def test_texts_are_read_by_annotation(view: View, text: str, value: Any, place: str) -> None:
    """A variable of the path and a query parameter are read by the same rules."""
    path, rule = (f"/{text}", "/<value>") if place == "path" else (f"/?value={text}", "/")

    assert (await ask(view, path, rule=rule)).json == value


@pytest.mark.parametrize(("view", "text", "code"), REFUSED)
@pytest.mark.parametrize("place", ["path", "query"])
async def test_a_text_that_does_not_fit_is_refused(view: View, text: str, code: str, place: str) -> None:
    """A 422 names the parameter."""
    path, rule = (f"/{text}", "/<value>") if place == "path" else (f"/?value={text}", "/")
    answer = await ask(view, path, rule=rule)

    assert (answer.status, answer.errors) == (422, [("value", code)])


@pytest.mark.parametrize(
    ("view", "rule", "path", "status"),
    [
        (of_level, "/<int:value>", "/2", 200),
        (of_level, "/<int:value>", "/3", 422),
        (of_bounds, "/<int:value>", "/4", 422),
        (of_bounds, "/<int:value>", "/x", 404),
        (of_literal, "/<int:value>", "/20", 200),
        (of_number, "/<int:value>", "/7", 200),
        (of_uuid, "/<uuid:value>", "/x", 404),
        (of_text_bounds, "/<any(abc, A):value>", "/abc", 200),
        (of_text_bounds, "/<any(abc, A):value>", "/A", 422),
        (of_text_bounds, "/<any(abc, A):value>", "/b", 404),
        (of_anything, "/<int:value>", "/5", 200),
    ],
)
async def test_the_converter_decides_first(view: View, rule: str, path: str, status: int) -> None:
    """What the converter of the rule refuses is not found; the annotation looks at the rest."""
    assert (await ask(view, path, rule=rule)).status == status


@operation
async def of_texts(
    query: str, levels: list[Level], numbers: Annotated[list[Literal[1, 2]], Field(max_length=2)], day: Day = Day.FIRST
) -> list[Any]:
    return [query, [level.name for level in levels], numbers, day.name]


async def test_query_parameters_need_no_default() -> None:
    """Without a default one is required; lists are read item by item."""
    answer = await ask(of_texts, "/?query=a&levels=1&levels=2&numbers=2&day=2024-01-02")
    missing = await ask(of_texts, "/?levels=1")

    assert answer.json == ["a", ["LOW", "HIGH"], [2], "SECOND"]
    assert missing.errors == [("query", "missing"), ("numbers", "missing")]


class Texts(BaseModel):
    """Values of a header, a cookie, or a form."""

    level: Level
    number: Literal[1, 2] = 1


@operation
async def of_headers(headers: Texts) -> str:
    return headers.level.name


@operation
async def of_cookies(cookies: Texts) -> str:
    return cookies.level.name


@operation
async def of_a_form(login: Annotated[Texts, Form()]) -> str:
    return login.level.name


@pytest.mark.parametrize(
    ("view", "request_"),
    [
        (of_headers, {"headers": {"Level": "2", "Number": "2"}}),
        (of_cookies, {"headers": {"Cookie": "level=2; number=2"}}),
        (of_a_form, {"method": "POST", "form": {"level": "2", "number": "2"}}),
    ],
)
async def test_every_source_of_text_reads_enumerations(view: View, request_: dict[str, Any]) -> None:
    """Headers, cookies and forms read them by value as a query string does."""
    assert (await ask(view, **request_)).json == "HIGH"


@operation
async def of_page(page: int = 1) -> int:
    return page


@operation
async def of_shelf(shelf: str, page: int) -> list[Any]:
    return [shelf, page]


async def test_one_handler_on_two_rules() -> None:
    """A variable of one rule is a query parameter under the other, in requests and in the document."""
    app = app_of(("GET", "/", of_page), ("GET", "/p/<int:page>", of_page))
    app.add_url_rule("/s/<shelf>", "shelf", public(of_shelf))
    app.add_url_rule("/s/<shelf>/<int:page>", "shelf_page", public(of_shelf))
    async with running(app, tables=False) as client:
        paths = (await (await client.get("/openapi.json")).get_json())["paths"]
        answers = [await client.get(path) for path in ("/", "/?page=3", "/p/4", "/p/4?page=5", "/s/a?page=2", "/s/a/3")]
        found = [await answer.get_json() if answer.status_code == 200 else answer.status_code for answer in answers]

    assert found == [1, 3, 4, 422, ["a", 2], ["a", 3]]
    described = {path: [(one["name"], one["in"]) for one in item["get"]["parameters"]] for path, item in paths.items()}
    assert described == {
        "/": [("page", "query")],
        "/p/{page}": [("page", "path")],
        "/s/{shelf}": [("shelf", "path"), ("page", "query")],
        "/s/{shelf}/{page}": [("shelf", "path"), ("page", "path")],
    }


async def test_the_document_has_the_schemas_of_the_path() -> None:
    """Bounds, literals, enumerations and formats, each as tight as converter and annotation together."""
    rules = [
        (of_level, "/level/<value>", {"$ref": "#/components/schemas/Level"}),
        (of_date, "/date/<value>", {"type": "string", "format": "date"}),
        (of_literal, "/literal/<int:value>", {"type": "integer", "enum": [10, 20]}),
        (of_bool, "/bool/<value>", {"type": "boolean"}),
        (of_bounds, "/bounds/<int(max=9):value>", {"type": "integer", "minimum": 5, "maximum": 9}),
        (of_text_bounds, "/any/<any(abc, A):value>", {"type": "string", "pattern": "^[a-z]+$", "enum": ["A", "abc"]}),
        (of_sku, "/sku/<value>", {"type": "string"}),
        (of_number, "/number/<int:value>", {"type": "integer", "minimum": 0}),
    ]
    app = app_of(*[("GET", rule, view) for view, rule, _ in rules])
    async with running(app, tables=False) as client:
        paths = (await (await client.get("/openapi.json")).get_json())["paths"]

    schemas = {path.split("/")[1]: item["get"]["parameters"][0]["schema"] for path, item in paths.items()}
    assert schemas == {rule.split("/")[1]: schema for _, rule, schema in rules}


@operation
async def take_item(item: Item, request: Request, verbose: bool = False) -> list[Any]:
    return [request.method, item.name, verbose]


@operation
async def take_marked(item: Annotated[Item, Body()], mailer: Mailer) -> list[str]:
    return [item.name, mailer.server]


@operation
async def take_items(items: list[Item]) -> int:
    return len(items)


@operation
async def take_optional(item: Item | None = None) -> str | None:
    return None if item is None else item.name


@operation
async def take_mailer(mailer: Mailer) -> str:
    return mailer.server


def of_name(item: Item) -> str:
    return item.name


@operation
async def take_with_dependency(item: Item, name: Annotated[str, Depends(of_name)]) -> list[str]:
    return [item.name, name]


@pytest.mark.parametrize(
    ("view", "body", "value"),
    [
        (take_item, {"name": "a"}, ["POST", "a", False]),
        (take_items, [{"name": "a"}], 1),
        (take_optional, {"name": "a"}, "a"),
        (take_mailer, {"server": "x"}, "x"),
        (take_with_dependency, {"name": "a"}, ["a", "a"]),
    ],
)
async def test_a_model_is_the_body_whatever_its_name(view: View, body: Any, value: Any) -> None:
    """Models, dataclasses and lists of them."""
    assert (await ask(view, method="POST", json=body)).json == value


async def test_an_optional_body_may_be_absent() -> None:
    """In requests and in the document."""
    app = app_of(("POST", "/", take_optional))
    async with running(app, tables=False) as client:
        answer = await client.post("/")
        document = await (await client.get("/openapi.json")).get_json()

    assert (answer.status_code, await answer.get_json()) == (200, None)
    assert document["paths"]["/"]["post"]["requestBody"]["required"] is False


async def test_a_provided_type_wins() -> None:
    """The same class is a service where it is provided, and the body where it is not."""
    app = app_of(("POST", "/", take_marked), ("GET", "/mailer", take_mailer), provide={Mailer: lambda: Mailer("local")})
    async with running(app, tables=False) as client:
        answer = await client.post("/", json={"name": "a"})
        other = await client.get("/mailer")

    assert (await answer.get_json(), await other.get_json()) == (["a", "local"], "local")


@operation
async def take_parts(
    name: Annotated[str, Form()],
    file: UploadedFile,
    tags: Annotated[list[Literal[1, 2]], Form()] = [],  # noqa: B006  (read only)
    more: FileStorage | None = None,
) -> list[Any]:
    return [name, file.filename, tags, more is None]


@operation
async def take_json_part(meta: Annotated[Item, Form()], files: list[FileStorage]) -> list[Any]:
    return [meta.name, len(files)]


class Upload(BaseModel):
    """A form with a part in JSON."""

    meta: Item
    image: UploadedFile
    others: list[Item] = []


@operation
async def take_upload(upload: Annotated[Upload, Form()]) -> list[Any]:
    return [upload.meta.name, upload.image.filename, len(upload.others)]


def part(name: str, content: str, *, filename: str | None = None, kind: str | None = None) -> str:
    """Write one part of a form."""
    file = "" if filename is None else f'; filename="{filename}"'
    type_ = "" if kind is None else f"\r\nContent-Type: {kind}"
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{file}{type_}\r\n\r\n{content}\r\n'


async def post_form(view: View, *parts: str) -> Answer:
    """Post a form of parts."""
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    return await ask(view, method="POST", data="".join(parts) + "--x--\r\n", headers=headers)


async def test_parts_of_a_form_are_parameters() -> None:
    """Texts and uploads, without a model."""
    answer = await post_form(
        take_parts, part("name", "a"), part("file", "text", filename="f.txt"), part("tags", "1"), part("tags", "2")
    )

    assert answer.json == ["a", "f.txt", [1, 2], True]


async def test_an_empty_file_input_is_absent() -> None:
    """A browser sends one without a name and without content; an empty file with a name is a file."""
    empty = await post_form(take_parts, part("name", "a"), part("file", "", filename=""))
    named = await post_form(
        take_parts, part("name", "a"), part("file", "", filename="f"), part("more", "", filename="")
    )

    assert (empty.status, empty.errors) == (422, [("/file", "missing")])
    assert named.json == ["a", "f", [], True]


@pytest.mark.parametrize("how", [{"filename": "blob", "kind": "application/json"}, {"kind": "application/json"}, {}])
async def test_a_part_in_json_is_a_model(how: dict[str, str]) -> None:
    """Sent as a blob, as a part with a type, or as text."""
    image = part("image", "x", filename="i.png")
    answer = await post_form(take_upload, part("meta", '{"name": "a"}', **how), image, part("others", "[]", **how))
    single = await post_form(take_json_part, part("meta", '{"name": "a"}', **how), part("files", "x", filename="f"))

    assert (answer.json, single.json) == (["a", "i.png", 0], ["a", 1])


@pytest.mark.parametrize(
    ("sent", "status", "errors"),
    [
        ('{"name": 5}', 422, [("/meta/name", "string_type")]),
        ('{"name": "a", "count": "1"}', 422, [("/meta/count", "int_type")]),
        ('{"name": "a", "x": 1}', 422, [("/meta/x", "extra_forbidden")]),
        ('{"name": "a", "name": "b"}', 400, None),
        ("{", 400, None),
    ],
)
async def test_a_part_in_json_is_as_strict_as_a_body(sent: str, status: int, errors: Any) -> None:
    """The pointer begins with the name of the part; a part that is not JSON makes the body malformed."""
    answer = await post_form(take_upload, part("meta", sent), part("image", "x", filename="i"))

    assert (answer.status, answer.errors if errors else None) == (status, errors)


async def test_a_text_where_a_file_belongs() -> None:
    """The error says so in plain words."""
    answer = await post_form(take_parts, part("name", "a"), part("file", "text"))

    assert answer.json["errors"] == [{"detail": "Input should be a file", "pointer": "/file", "code": "file_type"}]


async def test_forms_are_documented() -> None:
    """A part in JSON has its media type, and a form with one is multipart only."""
    app = app_of(("POST", "/a", take_upload), ("POST", "/b", take_parts), ("POST", "/c", of_a_form))
    async with running(app, tables=False) as client:
        document = await (await client.get("/openapi.json")).get_json()
    bodies = [document["paths"][path]["post"]["requestBody"]["content"] for path in ("/a", "/b", "/c")]

    encoding = {name: {"contentType": "application/json"} for name in ("meta", "others")}
    assert bodies[0]["multipart/form-data"]["encoding"] == encoding
    assert [set(body) for body in bodies] == [
        {"multipart/form-data"},
        {"multipart/form-data"},
        {"multipart/form-data", "application/x-www-form-urlencoded"},
    ]
    joined = document["components"]["schemas"]["TakePartsForm"]
    assert joined["properties"]["file"] == {"type": "string", "format": "binary"}
    assert (joined["required"], joined["additionalProperties"]) == (["name", "file"], False)


async def two_models(first: Item, second: Other) -> None: ...


async def two_bodies(data: Item, other: Annotated[Other, Body()]) -> None: ...


async def body_and_form(item: Annotated[Item, Body()], name: Annotated[str, Form()]) -> None: ...


async def bare_bytes(raw: bytes) -> None: ...


async def model_from_xml(item: Annotated[Item, Body("application/xml")]) -> None: ...


async def nested_query(query_args: Nested) -> None: ...


async def nested_headers(headers: Nested) -> None: ...


async def undescribed_query(query_args: Undescribed) -> None: ...


async def undescribed_body(data: Undescribed) -> None: ...


async def yields() -> Any:
    yield 1


async def iterates() -> Iterator[int]:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (two_models, "'first' and 'second' are models, .* one body.*first: Annotated\\[Item, Body\\(\\)\\]"),
        (two_bodies, "'data' and 'other' take the body"),
        (body_and_form, "'item' and 'name' take the body.*a part of a form"),
        (bare_bytes, "'raw' takes the body as it is sent; write Annotated\\[bytes, Body\\("),
        (model_from_xml, "'item' .* application/xml is not JSON; take the body as bytes"),
        (nested_query, "nested_query: query_args: field 'item' is a structure, and a query string holds single values"),
        (nested_headers, "nested_headers: headers: field 'item' is a structure, and a header"),
        (undescribed_query, "undescribed_query: parameter 'query_args' cannot be read or described"),
        (undescribed_body, "undescribed_body: parameter 'data' cannot be read from a body"),
        (yields, "yields yields, and an operation returns.*return Response\\(stream\\(\\)"),
        (iterates, "iterates: its return annotation is an iterator.*return Response\\(stream\\(\\)"),
    ],
)
def test_a_mistake_is_refused_at_import(handler: Callable[..., Any], words: str) -> None:
    """The message names the handler and the parameter, and shows what to write."""
    with pytest.raises(OperationError, match=words):
        operation(handler)


async def start(app: Any) -> str:
    """Start an app that does not start, and return what it says."""
    with pytest.raises(OperationError) as refusal:
        await app.startup()
    return str(refusal.value)


@operation
async def mailer_and_body(data: Item, mailer: Mailer) -> None: ...


@operation
async def mailer_and_item(item: Item, mailer: Mailer) -> None: ...


@operation
async def named_data(data: str) -> None: ...


@pytest.mark.parametrize(
    ("view", "method", "rule", "words"),
    [
        (take_item, "GET", "/", "parameter 'item' is the body, and GET has none; .* write query_args: Item"),
        (mailer_and_body, "POST", "/", "parameter 'mailer': the body is 'data' already, and nothing provides Mailer"),
        (mailer_and_item, "POST", "/", "parameters 'item' and 'mailer' could each be the body"),
        (named_data, "POST", "/<data>", "variable 'data' has the name of a parameter that is read from elsewhere"),
        (take_item, "POST", "/<item>", "'item' is a variable of the path, which cannot hold Item"),
    ],
)
async def test_a_mistake_keeps_the_app_from_starting(view: View, method: str, rule: str, words: str) -> None:
    """What depends on the rule or on the services is checked at the start."""
    with pytest.raises(OperationError, match=words):
        await app_of((method, rule, view)).startup()


async def test_operation_above_the_route_is_refused() -> None:
    """The route has registered the bare function; its parameters would be ignored."""
    blueprint = public(Blueprint("late", __name__))

    async def late() -> Response:
        raise NotImplementedError

    operation(blueprint.get("/late")(late))

    app = app_of()
    app.register_blueprint(blueprint)

    assert "/late (" in (words := await start(app))
    assert "@operation stands above the decorator of the route" in words


async def test_an_operation_on_a_websocket_is_refused() -> None:
    """A websocket has neither body nor response."""
    app = app_of()
    app.websocket("/ws")(of_page)

    assert "is a websocket" in await start(app)


async def test_methods_of_a_class_are_looked_at_each() -> None:
    """A body is refused on `get` only."""

    class Items(MethodView):
        @operation
        async def get(self, item: Item) -> None: ...

        @operation
        async def put(self, item: Item) -> None: ...

    app = app_of()
    app.add_url_rule("/items", view_func=Items.as_view("items"))

    assert "Items.get" in (words := await start(app))
    assert "Items.put" not in words


class Range(BaseModel):
    """A query string with a rule over two of its parameters."""

    low: int = 0
    high: int = 9

    @model_validator(mode="after")
    def check(self) -> "Range":
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


@operation
async def of_range(query_args: Range) -> int:
    return query_args.low


async def test_a_rule_over_several_parameters_names_none() -> None:
    """The error has its sentence, and no name that was not sent."""
    answer = await ask(of_range, "/?low=5&high=3")

    assert (answer.status, answer.json["errors"]) == (
        422,
        [{"detail": "Value error, low must not be above high", "code": "value_error"}],
    )
