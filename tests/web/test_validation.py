"""Mistakes are counted before they are made, and what is right is read as ever."""

import json
import tracemalloc
from collections.abc import Callable
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    OnErrorOmit,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.functional_validators import WrapValidator
from quart import Quart

from bench.refusals import SHAPES, Shape, make_app
from ligand_async.web.validation import LARGE, MAX_ERRORS, MAX_WRONG, StrictValidator, TooManyMistakes, UnknownKeys

QUICK = 128 * 1024  # bytes


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Pet(Closed):
    name: str
    age: int = 0


class Cat(Closed):
    kind: Literal["cat"] = "cat"
    lives: int


class Node(Closed):
    value: int
    left: "Node | None" = None
    right: "Node | None" = None
    others: list["Node"] = []


class Sum(Closed):
    left: "Sum | int"
    right: "Sum | int"


class Wide(BaseModel):
    model_config = ConfigDict(extra="allow")
    pets: list[Pet] = []


class Renamed(Closed):
    name: str

    @model_validator(mode="before")
    @classmethod
    def drop(cls, value: Any) -> Any:
        """Leave out what older clients send."""
        return {key: one for key, one in value.items() if not key.startswith("old")}


def take_any(value: Any, handler: Callable[[Any], Any]) -> Any:
    try:
        return handler(value)
    except ValidationError:
        return []


def read(type_: Any, document: Any) -> Any:
    """Read a document as a body is read: the value, or the errors; an empty list if they cannot be told."""
    raw, validator = json.dumps(document).encode(), StrictValidator(TypeAdapter(type_).core_schema)
    try:
        if len(raw) > LARGE:
            validator.check_size(raw, document)
        return validator.validate_json(raw)
    except UnknownKeys as error:
        return [{"loc": (*error.place, name), "type": "extra_forbidden"} for name in error.names]
    except (ValidationError, TooManyMistakes) as error:
        return validator.find_mistakes(error, raw, document)


def places(errors: Any) -> list[tuple[Any, ...]]:
    return [error["loc"] for error in errors]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
async def test_refusing_needs_no_more_memory_than_taking(shape: Shape) -> None:
    """Python's memory at its peak is at most twice that of a valid body, for every shape."""

    async def peak(app: Quart, body: bytes) -> tuple[int, int]:
        client = app.test_client()
        for _ in range(2):  # the first one fills caches
            tracemalloc.start()
            response = await client.post("/", data=body, headers={"Content-Type": shape.media_type})
            await response.get_data()
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return response.status_code, most

    async with make_app(shape).test_app() as app:
        taken, needed = await peak(app, shape.body(wrong=False, size=QUICK))  # type: ignore[arg-type]  # a Quart
        refused, needed_to_refuse = await peak(app, shape.body(wrong=True, size=QUICK))  # type: ignore[arg-type]  # the same

    assert taken == 204
    assert refused in {400, 413, 422}
    assert needed_to_refuse <= 2 * needed


@pytest.mark.parametrize(
    ("type_", "document"),
    [
        (list[int], list(range(1000))),
        (tuple[str, ...], ["a"] * 500),
        (tuple[int, Pet], [1, {"name": "a"}]),
        (set[int], list(range(300))),
        (dict[UUID, list[int]], {str(UUID(int=number)): [number] for number in range(300)}),
        (dict[int, str], {"1": "a", "-2": "b"}),
        (list[int] | list[str], ["a"] * 500),
        (list[int | Pet], [1, {"name": "a"}] * 300),
        (list[Annotated[Cat | Pet, Field(union_mode="left_to_right")]], [{"name": "a"}, {"lives": 9}] * 300),
        (dict[str, list[Cat] | list[Pet]], {str(number): [{"name": "a"}] * 3 for number in range(300)}),
        (list[OnErrorOmit[int]], [1, "x"] * 300),
        (list[Annotated[list[int], WrapValidator(take_any)]], [["x"] * 3, [1]] * 300),
        (Node, {"value": 1, "left": {"value": 2, "others": [{"value": 3}] * 300}}),
        (Wide, {**{f"k{number}": number for number in range(5000)}, "pets": [{"name": "a"}]}),
        (dict[str, int] | Pet, {f"k{number}": number for number in range(5000)}),
        (Renamed, {**{f"old{number}": number for number in range(5000)}, "name": "a"}),
    ],
)
def test_what_is_right_is_read_as_ever(type_: Any, document: Any) -> None:
    """However many parts it has, also where members of unions are tried in vain for each of them."""
    adapter: TypeAdapter[Any] = TypeAdapter(type_)

    assert read(type_, document) == adapter.validate_json(json.dumps(document))


@pytest.mark.parametrize("before", [0, 50, 5000])
def test_a_hundred_of_many_mistakes_are_told(before: int) -> None:
    """The first one, wherever it is, and those of the items that follow it, at their places."""
    document = {"pets": [{"name": "a"}] * before + [{"name": 1}] * 500, "more": 1}

    assert places(read(Wide, document)) == [("pets", before + number, "name") for number in range(MAX_WRONG)]


def test_missing_and_unknown_keys_are_told_at_their_places() -> None:
    """Also in lists in lists, of which only one is read on."""
    document = [[{"name": "a"}], [{"name": "a"}, *[{"age": 1, "x": 1}] * 200], [{}] * 200]

    found = places(read(list[list[Pet]], document))

    assert found[:3] == [(1, 1, "name"), (1, 1, "x"), (1, 2, "name")]
    assert {place[0] for place in found} == {1}
    assert len(found) == 2 * MAX_WRONG


def test_few_mistakes_are_all_told() -> None:
    """As pydantic tells them, wherever they are."""
    document = {"pets": [{"name": "a"}, {"name": 1, "x": 1}, {}], "pet": 1}

    assert places(read(Wide, document)) == [("pets", 1, "name"), ("pets", 1, "x"), ("pets", 2, "name")]


@pytest.mark.parametrize(
    ("type_", "document"),
    [
        (list[int], ["x"] * 5000),
        (dict[str, int], {str(number): "x" for number in range(5000)}),
        (dict[UUID, int], {str(number): 1 for number in range(5000)}),
        (set[int] | None, ["x"] * 5000),
        (list[int] | list[float], ["x"] * 5000),
        (dict[str, int] | list[int], {str(number): "x" for number in range(5000)}),
        (Pet, {f"k{number}": 1 for number in range(5000)}),
        (Pet | list[int], {f"k{number}": 1 for number in range(5000)}),
        (list[Pet | None], [{f"k{number}": 1 for number in range(5000)}]),
        (Annotated[Pet, BeforeValidator(lambda value: value)], {f"k{number}": 1 for number in range(5000)}),
        (Renamed, {f"k{number}": 1 for number in range(5000)}),
        (list[Node], [{"value": "", "left": {}, "right": {}}] * 2000),
        (Node, {"value": 1, "others": [{"value": ""}] * 5000}),
        (list[Sum], [{"left": {"left": "", "right": ""}, "right": {"left": "", "right": ""}}] * 2000),
    ],
)
def test_the_number_of_errors_is_bounded(type_: Any, document: Any) -> None:
    """Whatever is repeated, there is an answer, and pydantic makes no more errors than are read."""
    validator, raw = StrictValidator(TypeAdapter(type_).core_schema), json.dumps(document).encode()
    made = 0
    try:
        validator.check_size(raw, document)
        validator.validate_json(raw)
    except ValidationError as error:
        made = error.error_count()
    except (TooManyMistakes, UnknownKeys):
        pass

    assert made <= MAX_ERRORS
    assert read(type_, document)
    assert len(read(type_, document)) <= MAX_ERRORS


def test_a_failure_leaves_nothing_behind() -> None:
    """What one document has wrong is not counted for the next one."""
    validator = StrictValidator(TypeAdapter(list[int]).core_schema)
    document = ["x"] * (MAX_WRONG - 1)
    raw = json.dumps(document).encode()
    for _ in range(3):
        with pytest.raises(ValidationError) as failure:
            validator.validate_json(raw)
        assert len(validator.find_mistakes(failure.value, raw, document)) == MAX_WRONG - 1
