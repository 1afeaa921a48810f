"""What a handler returns: exactly what it promised, or a 500 and nothing kept."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, computed_field, field_serializer, model_validator
from quart import Response, current_app
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from ligand_async import Conflict, Page, operation, public
from ligand_async.web import OperationError
from ligand_async.web.output import _make_json_response
from tests.services import Item, app_of, ask, db, make_app, routes, running

T = TypeVar("T")
ID = UUID("8d3bb5e4-6a3e-4a0b-8f0e-0c8f3d1d5a55")


class Toy(BaseModel):
    name: Annotated[str, Field(min_length=1)]
    weight: float = 0.0
    price: Annotated[int, Field(ge=0)] = 0


class Aliased(BaseModel):
    long_name: Annotated[str, Field(alias="longName")]


class Box(BaseModel, Generic[T]):
    content: T


class Measured(BaseModel):
    numerator: int
    denominator: int

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorator above a property
    @property
    def ratio(self) -> float:
        return self.numerator / self.denominator if self.denominator else math.nan


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")


class Names(RootModel[list[str]]): ...


class Mapping(TypedDict):
    weight: float


@dataclass
class Point:
    x: float
    label: str = ""


class Everything(BaseModel):
    id: UUID
    cost: Decimal
    at: datetime


def returning(annotation: Any, value: Any, **options: Any) -> Any:
    """Make an operation that returns a value under an annotation."""

    async def handler() -> Any:
        return value() if callable(value) else value

    handler.__annotations__["return"] = annotation
    return operation(**options)(handler)


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (Toy, Toy(name="a"), {"name": "a", "weight": 0.0, "price": 0}),
        (Toy, {"name": "a", "price": "5"}, {"name": "a", "weight": 0.0, "price": 5}),
        (list[Toy], [Toy(name="a")], [{"name": "a", "weight": 0.0, "price": 0}]),
        (Box[Toy], Box[Toy](content=Toy(name="a")), {"content": {"name": "a", "weight": 0.0, "price": 0}}),
        (Page[Toy], Page[Toy](items=[], total=0), {"items": [], "next_cursor": None, "total": 0}),
        (Aliased, Aliased.model_validate({"longName": "a"}), {"longName": "a"}),
        (Toy | None, None, None),
        (Names, Names(["a"]), ["a"]),
        (Point, Point(1), {"x": 1.0, "label": ""}),
        (Mapping, {"weight": 1}, {"weight": 1.0}),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (str, "text", "text"),
        (int, 5, 5),
        (bool, False, False),
        (Measured, Measured(numerator=1, denominator=2), {"numerator": 1, "denominator": 2, "ratio": 0.5}),
        (Loose, Loose.model_validate({"a": [1.5]}), {"a": [1.5]}),
        (
            Everything,
            Everything(id=ID, cost=Decimal("1.50"), at=datetime(2024, 2, 29, tzinfo=UTC)),
            {"id": str(ID), "cost": "1.50", "at": "2024-02-29T00:00:00Z"},
        ),
    ],
    ids=str,
)
async def test_a_value_is_written_by_its_annotation(annotation: Any, value: Any, expected: Any) -> None:
    """Schemas, lists, generics, dataclasses, scalars: validated and written as JSON."""
    answer = await ask(returning(annotation, value))

    assert (answer.status, answer.headers["Content-Type"], answer.json) == (200, "application/json", expected)


@pytest.mark.parametrize(
    ("annotation", "value", "status", "length"),
    [
        (None, None, 204, None),
        (tuple[None, int], (None, 205), 205, "0"),
        (tuple[None, int], (None, 202), 202, "0"),
        (tuple[Toy | None, int], (None, 204), 204, None),
        (tuple[Toy | None, int], (None, 304), 304, None),
    ],
)
async def test_nothing_is_an_empty_answer(annotation: Any, value: Any, status: int, length: str | None) -> None:
    """No body, no type of one, and no length with 204 and 304 (RFC 9110 section 8.6)."""
    app = app_of(("GET", "/", returning(annotation, value)))
    connection: Any  # a response that the client makes of it adds headers of its own
    async with running(app, tables=False) as client, client.request("/") as connection:
        await connection.send_complete()

    assert (connection.status_code, bytes(connection.response_data)) == (status, b"")
    assert "Content-Type" not in connection.headers
    assert connection.headers.get("Content-Length") == length


async def test_an_empty_answer_may_have_another_status() -> None:
    """202 with nothing to say."""
    assert (await ask(returning(None, None, status=202))).status == 202


async def test_head_is_get() -> None:
    """FAULTS 24: the same status and headers; the server leaves the body out."""
    app = app_of(("GET", "/", returning(Toy, Toy(name="a"))))
    async with running(app, tables=False) as client:
        got, head = await client.get("/"), await client.head("/")

    assert head.status_code == got.status_code
    for name in ("Content-Type", "Content-Length"):
        assert head.headers[name] == got.headers[name]


@pytest.mark.ligand_conformance("off", reason="answers with a status that was not declared")
async def test_value_status_and_headers() -> None:
    """A tuple says more than the value; its headers win."""
    view = returning(
        tuple[Toy, int, dict[str, str]],
        lambda: (Toy(name="a"), 202, {"X-Toy": "a", "Content-Type": "application/vnd.toy+json"}),
    )

    answer = await ask(view)

    assert (answer.status, answer.headers["X-Toy"]) == (202, "a")
    assert answer.headers["Content-Type"] == "application/vnd.toy+json"


@pytest.mark.ligand_conformance("off", reason="answers with a status that was not declared")
@pytest.mark.parametrize(
    "annotation", [Response, Annotated[Response, "by hand"], Toy | Response, Response | None, tuple[Response, int]]
)
async def test_a_response_passes_as_it_is(annotation: Any) -> None:
    """Made by hand, alone or as one of several."""
    answer = await ask(returning(annotation, lambda: Response("hand made", 203, {"X-Hand": "1"})))

    assert (answer.status, answer.raw, answer.headers["X-Hand"]) == (203, b"hand made", "1")


@pytest.mark.ligand_conformance("off", reason="answers with a status that was not declared")
async def test_a_response_with_status_and_headers() -> None:
    """The tuple's words go before the response's own."""
    view = returning(tuple[Response, int, dict[str, str]], lambda: (Response("x", 200), 203, {"X-Hand": "2"}))

    answer = await ask(view)

    assert (answer.status, answer.headers["X-Hand"]) == (203, "2")


async def test_the_other_part_of_a_union_is_a_schema() -> None:
    """`Toy | Response` may return a toy."""
    assert (await ask(returning(Toy | Response, Toy(name="a")))).json["name"] == "a"


async def test_an_error_status_is_a_problem() -> None:
    """A text that comes with it is the detail, and headers are kept."""
    view = returning(tuple[str, int, dict[str, str]], ("not today", 418, {"Retry-After": "5"}))

    answer = await ask(view)

    assert (answer.status, answer.headers["Content-Type"]) == (418, "application/problem+json")
    assert (answer.json["detail"], answer.headers["Retry-After"]) == ("not today", "5")


def mutated(name: str, value: Any) -> Toy:
    toy = Toy(name="a")
    setattr(toy, name, value)
    return toy


def stale(point: Point, label: Any) -> Point:
    point.label = label
    return point


BROKEN: dict[str, tuple[Any, Callable[[], Any]]] = {
    "NaN in a field": (Toy, lambda: Toy(name="s3cret", weight=math.nan)),
    "Infinity in a field": (Toy, lambda: Toy(name="s3cret", weight=math.inf)),
    "NaN in a list": (list[float], lambda: [1.0, -math.inf]),
    "NaN in a mapping": (dict[str, Any], lambda: {"a": [{"s3cret": math.nan}]}),
    "NaN in a page": (Page[Toy], lambda: Page[Toy](items=[Toy(name="s3cret", weight=math.nan)], total=1)),
    "NaN in a dataclass": (Point, lambda: Point(math.nan)),
    "NaN in a typed dict": (Mapping, lambda: {"weight": math.nan}),
    "NaN in an extra": (Loose, lambda: Loose.model_validate({"a": math.nan})),
    "NaN in a model within anything": (dict[str, Any], lambda: {"a": Toy(name="s3cret", weight=math.nan)}),
    "NaN computed": (Measured, lambda: Measured(numerator=1, denominator=0)),
    "NaN decimal": (Everything, lambda: Everything.model_construct(id=ID, cost=Decimal("NaN"), at=datetime.now(UTC))),
    "NaN by pattern": (dict[Annotated[str, Field(pattern="^a$")], float], lambda: {"a": math.nan}),
    "a constructed type": (Toy, lambda: Toy.model_construct(name=["s3cret"])),
    "a constructed constraint": (Toy, lambda: Toy.model_construct(name="", price=0)),
    "a constructed gap": (Toy, lambda: Toy.model_construct(price=1)),
    "a mutated type": (Toy, lambda: mutated("price", "s3cret")),
    "a mutated number as text": (Toy, lambda: mutated("price", "5")),
    "a mutated constraint": (Toy, lambda: mutated("price", -1)),
    "within a list": (list[Toy], lambda: [mutated("price", -1)]),
    "within a generic": (Page[Toy], lambda: Page[Toy].model_construct(items=[mutated("price", -1)], total=1)),
    "within an alias": (Aliased, lambda: Aliased.model_construct(long_name=5)),
    "a dataclass": (Point, lambda: stale(Point(1), ["s3cret"])),
    "a dict of the wrong type": (Toy, lambda: {"name": 5, "s3cret": 1}),
    "a dict with a gap": (Toy, lambda: {"price": 5}),
    "another model": (Toy, lambda: Aliased.model_validate({"longName": "s3cret"})),
    "an entity": (Toy, lambda: Item(name="s3cret")),
    "nothing": (Toy, lambda: None),
    "something": (None, lambda: Toy(name="s3cret")),
    "a pair of values": (Toy, lambda: (Toy(name="s3cret"), Toy(name="b"))),
    "four values": (Toy, lambda: (Toy(name="s3cret"), 200, {}, 1)),
    "a status that is none": (tuple[Toy, int], lambda: (Toy(name="s3cret"), 99)),
    "a value where a response was promised": (Response, lambda: Toy(name="s3cret")),
}


def break_promise(number: int, annotation: Any, value: Callable[[], Any]) -> Any:
    """Return an operation that adds a row and returns what its annotation does not allow."""

    async def handler(session: AsyncSession) -> Any:
        session.add(Item(name="cup"))
        return value()

    handler.__name__ = f"broken_{number}"
    handler.__annotations__["return"] = annotation
    return operation(handler)


async def test_what_the_schema_refuses_leaves_no_row(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A 500 that the log ascribes to the handler, no row, and the value is neither in the answer nor in the log."""
    views = [("POST", f"/{number}", break_promise(number, *broken)) for number, broken in enumerate(BROKEN.values())]
    found = {}
    async with running(make_app(database_url, routes(*views))) as client:
        for number, name in enumerate(BROKEN):
            with caplog.at_level(logging.INFO):
                response = await client.post(f"/{number}")
            async with db.read() as session:
                rows = await session.scalar(select(func.count()).select_from(Item))
            shown = "s3cret" in caplog.text or b"s3cret" in await response.get_data()
            found[name] = (response.status_code, response.content_type, rows, "handler" in caplog.text, shown)
            caplog.clear()

    assert found == dict.fromkeys(BROKEN, (500, "application/problem+json", 0, True, False))


async def test_the_log_says_what_was_wrong_with_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    """By pointer and code, so that it can be mended."""
    await ask(returning(list[Toy], lambda: [mutated("price", -1)]))

    assert "returned a value unlike its annotation: /0/price: greater_than_equal" in caplog.text


async def test_an_instance_is_not_made_again() -> None:
    """Looking into an instance calls nothing that made it; pydantic asks "after" validators of every instance."""
    calls: list[str] = []

    class Counted(BaseModel):
        words: list[str]

        @model_validator(mode="before")
        @classmethod
        def split(cls, value: Any) -> Any:
            calls.append("made")
            return {"words": value["words"].split(",")}

        @model_validator(mode="after")
        def look(self) -> "Counted":
            calls.append("looked at")
            return self

        def model_post_init(self, _context: Any) -> None:
            calls.append("made")

    value = Counted(words="a,b")  # type: ignore[arg-type]  # what its validator takes
    calls.clear()

    assert (await ask(returning(Counted, value))).json == {"words": ["a", "b"]}
    assert calls == ["looked at"]


async def test_a_subclass_may_stand_for_its_base() -> None:
    """What it has more is neither sent nor refused."""

    class Base(BaseModel):
        model_config = ConfigDict(extra="forbid")
        name: str

    class Derived(Base):
        secret: str

    assert (await ask(returning(Base, Derived(name="a", secret="b")))).json == {"name": "a"}


async def test_a_serializer_that_fails_is_a_500() -> None:
    """With nothing of the value in the answer."""

    class Failing(BaseModel):
        name: str

        @field_serializer("name")
        def fail(self, name: str) -> str:
            raise ValueError(f"cannot write {name}")

    answer = await ask(returning(Failing, Failing(name="s3cret")))

    assert answer.status == 500
    assert b"s3cret" not in answer.raw


async def test_a_returned_error_keeps_nothing(database_url: str) -> None:
    """Returned as a status, as a response or raised: an error rolls back, and is not exchanged for the database's."""

    @operation
    async def as_status(session: AsyncSession) -> tuple[str, int]:
        session.add(Item(name="status"))
        return "no", 409

    @operation
    async def as_response(session: AsyncSession) -> Response:
        session.add(Item(name="response"))
        return Response("no", 409)

    @operation
    async def pending(session: AsyncSession) -> tuple[str, int]:
        session.add(Item(name=None))
        return "mine", 403

    @operation
    async def as_problem(session: AsyncSession) -> None:
        session.add(Item(name="problem"))
        await session.flush()
        raise Conflict("no")

    views = [("POST", f"/{view.__name__}", view) for view in (as_status, as_response, as_problem, pending)]
    async with running(make_app(database_url, routes(*views))) as client:
        statuses = [(await client.post(path)).status_code for _, path, _ in views]
        async with db.read() as session:
            rows = await session.scalar(select(func.count()).select_from(Item))

    assert (statuses, rows) == ([409, 409, 409, 403], 0)


class Pair(NamedTuple):
    """A value of two numbers, which looks like a value and a status."""

    x: float
    y: int


class Wait(BaseModel):
    """Another schema."""

    seconds: int


ByStatus = tuple[Toy, Literal[200]] | tuple[Wait, Literal[202], dict[str, str]] | tuple[str, Literal[409]]


async def test_a_named_tuple_is_a_value() -> None:
    """It is an array, whatever its members look like."""
    single, many = [await ask(returning(*one)) for one in ((Pair, Pair(1, 404)), (list[Pair], [Pair(1, 404)]))]

    assert (single.status, single.json, many.json) == (200, [1.0, 404], [[1.0, 404]])


@pytest.mark.parametrize(
    "annotation",
    [
        tuple[float, float],
        tuple[Toy, str],
        tuple[Toy, Literal["202"]],
        tuple[Toy, bool],
        tuple[Toy, int, int],
        tuple[Toy, ...],
        tuple[Toy, int] | tuple[float, float],
        tuple,
    ],
    ids=str,
)
def test_a_tuple_of_another_form_is_refused(annotation: Any) -> None:
    """At import, with what to write instead."""
    with pytest.raises(OperationError, match=r"\(value, status\) or \(value, status, headers\).* or as a NamedTuple"):
        returning(annotation, None)


@pytest.mark.parametrize(
    ("value", "status", "body"),
    [
        ((Toy(name="a"), 200), 200, {"name": "a", "weight": 0.0, "price": 0}),
        ((Wait(seconds=1), 202, {"X-Wait": "1"}), 202, {"seconds": 1}),
    ],
)
async def test_each_status_has_its_own_schema(value: Any, status: int, body: Any) -> None:
    """A value is written by the schema of its status."""
    answer = await ask(returning(ByStatus, value))

    assert (answer.status, answer.json) == (status, body)


async def test_an_error_by_status_is_a_problem() -> None:
    """Its text is the detail."""
    answer = await ask(returning(ByStatus, ("taken", 409)))

    assert (answer.status, answer.json["detail"]) == (409, "taken")


@pytest.mark.parametrize("value", [(Toy(name="a"), 202), (Toy(name="a"), 201), Wait(seconds=1)], ids=str)
async def test_a_status_keeps_its_promise(value: Any) -> None:
    """A value of another status, or a status that is not named, is a fault of the service."""
    assert (await ask(returning(ByStatus, value))).status == 500


async def test_statuses_are_documented() -> None:
    """Each with its schema; an error as a problem."""
    views = [returning(ByStatus, None), returning(tuple[Toy, Literal[202]], None), returning(Toy | ByStatus, None)]
    app = app_of()
    for number, view in enumerate(views):
        app.add_url_rule(f"/{number}", f"view_{number}", public(view))
    async with running(app, tables=False) as client:
        paths = (await (await client.get("/openapi.json")).get_json())["paths"]

    def schemas(path: str) -> dict[str, Any]:
        responses = paths[path]["get"]["responses"]
        return {
            status: next(iter(one["content"].values()))["schema"]
            for status, one in responses.items()
            if status != "304"
        }

    toy, wait, problem = ({"$ref": f"#/components/schemas/{name}"} for name in ("Toy", "Wait", "Problem"))
    assert schemas("/0") == {"200": toy, "202": wait, "409": problem, "422": problem, "default": problem}
    assert schemas("/1") == {"202": toy, "422": problem, "default": problem}
    assert schemas("/2") == schemas("/0")


@pytest.mark.parametrize(("status", "length"), [(204, None), (205, "0"), (304, None)])
@pytest.mark.parametrize("how", ["value", "response", "plain"])
async def test_an_empty_status_has_no_body(status: int, length: str | None, how: str) -> None:
    """Whatever was returned: a value, a response, or the text of a plain view."""

    async def plain_view() -> Any:
        return "text", status

    views = {
        "value": returning(tuple[Toy, int], (Toy(name="a"), status)),
        "response": returning(Response, lambda: Response("text", status)),
        "plain": plain_view,
    }
    app = app_of(("GET", "/", views[how]))
    connection: Any  # a response that the client makes of it adds headers of its own
    async with running(app, tables=False) as client, client.request("/") as connection:
        await connection.send_complete()

    assert (connection.status_code, bytes(connection.response_data)) == (status, b"")
    assert "Content-Type" not in connection.headers
    assert connection.headers.get("Content-Length") == length


@pytest.mark.parametrize("status", [200, 201, 202, 203, 418])
async def test_a_response_of_json_is_as_quart_makes_it(status: int) -> None:
    """The response that is made without checks has all that the class gives to one that is made with them."""
    async with app_of().app_context():
        made = _make_json_response(b'{"a": 1}', status)
        stock = current_app.response_class(b'{"a": 1}', status=status, content_type="application/json")

        assert {name: value for name, value in vars(made).items() if name != "response"} == {
            name: value for name, value in vars(stock).items() if name != "response"
        }
        assert type(made.response) is type(stock.response)
        assert vars(made.response) == vars(stock.response)
        assert (type(made), made.status, made.mimetype) == (type(stock), stock.status, "application/json")


async def test_a_response_class_of_a_service_makes_its_responses() -> None:
    """A service's own class of responses is called as Quart calls it."""

    class Marked(Response):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.headers["X-Marked"] = "yes"

    app = app_of()
    app.response_class = Marked  # type: ignore[assignment]  # as services do
    async with app.app_context():
        made = _make_json_response(b"{}", 200)

    assert made.headers["X-Marked"] == "yes"
