"""pydantic's schemas, closed and exact."""

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import pytest
from pydantic import (
    MISSING,
    AfterValidator,
    AnyUrl,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Json,
    RootModel,
    SecretStr,
    Tag,
    TypeAdapter,
    ValidationError,
    WrapValidator,
    computed_field,
    field_validator,
    model_validator,
)
from pydantic_core import SchemaValidator
from sqlalchemy import DateTime, Time
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from ligand_async import Identified, Model, ReadSchema
from ligand_async.web.core_schemas import close, closed, exact, rewrite

T = TypeVar("T")


class Leaf(BaseModel):
    name: Annotated[str, Field(min_length=1, alias="leafName")]


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    number: int = 1


class Tree(BaseModel):
    label: Annotated[str, Field(max_length=5), AfterValidator(lambda text: text + "!" * 10)]
    trees: list["Tree"] = []

    @model_validator(mode="before")
    @classmethod
    def take(cls, value: Any) -> Any:
        return {"label": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def keep(self) -> "Tree":
        return self


@dataclasses.dataclass
class Point:
    x: int
    y: float = dataclasses.field(default=1.0, init=False)
    z: dataclasses.InitVar[int] = 3

    def __post_init__(self, z: int) -> None:
        self.y = float(z)


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    owner: str = "ann"


def tag_of(value: Any) -> str:
    kind = value.get("kind") if isinstance(value, dict) else value.kind
    return "c" if kind == "cat" else "d"


class Box(BaseModel, Generic[T]):
    items: list[T]


class Leaves(RootModel[list[Leaf]]): ...


class Mapping(TypedDict):
    leaf: Leaf


class Pair(NamedTuple):
    number: int
    leaf: Leaf


class Zoo(BaseModel):
    """One of every kind of schema."""

    model_config = ConfigDict(extra="forbid")

    leaf: Leaf
    open: Open = Open()
    leaves: list[Leaf] = []
    tree: Tree | None = None
    point: Point | None = None
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    either: Cat | Dog | None = None
    tagged: Annotated[Annotated[Cat, Tag("c")] | Annotated[Dog, Tag("d")], Discriminator(tag_of)] | None = None
    labelled: Annotated[Cat, Tag("c")] | Annotated[Dog, Tag("d")] | None = None
    twice: Annotated[str, AfterValidator(str.upper), AfterValidator(str.lower)] = ""
    kept: Annotated[Leaf, AfterValidator(lambda leaf: leaf), AfterValidator(lambda leaf: leaf)] | None = None
    box: Box[Leaf] | None = None
    root: Leaves | None = None
    mapping: Mapping | None = None
    pair: Pair | None = None
    two: tuple[int, Leaf] | None = None
    by_name: dict[str, Leaf] = {}
    secret: SecretStr | None = None
    parsed: Json[dict[str, int]] | None = None
    call: Callable[[int], int] | None = Field(default=None, exclude=True)
    url: AnyUrl | None = None
    encoded: Base64Bytes | None = None
    cost: Decimal | None = None
    words: Annotated[list[str], BeforeValidator(lambda text: text.split(","))] | None = None
    loud: Annotated[str, WrapValidator(lambda value, handler: handler(value).upper())] | None = None
    absent: int | MISSING = MISSING
    at: datetime = datetime(2024, 1, 1, tzinfo=UTC)

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorator above a property
    @property
    def computed(self) -> int:
        return 1

    @field_validator("url")
    @classmethod
    def keep(cls, url: AnyUrl) -> AnyUrl:
        return url


def full() -> Zoo:
    leaf = {"leafName": "a"}
    return Zoo.model_validate(
        {
            "leaf": leaf,
            "open": {"more": 1},
            "leaves": [leaf],
            "tree": {"label": "a", "trees": ["b"]},
            "point": Point(1),
            "pet": {"kind": "cat"},
            "either": {"kind": "dog"},
            "tagged": {"kind": "dog"},
            "labelled": {"kind": "dog"},
            "twice": "Aa",
            "kept": leaf,
            "box": {"items": [leaf]},
            "root": [leaf],
            "mapping": {"leaf": leaf},
            "pair": (1, leaf),
            "two": (1, leaf),
            "by_name": {"a": leaf},
            "secret": "s",
            "parsed": '{"a": 1}',
            "call": lambda x: x,
            "url": "https://x.example/",
            "encoded": b"aGk=",
            "cost": "1.5",
            "words": "a,b",
            "loud": "a",
        }
    )


def look_into(value: Any, schema: Any = Zoo) -> None:
    """Look into an instance as an answer is looked into."""
    check = exact(TypeAdapter(schema)).check
    if check is not None:
        check(value)


def test_what_is_right_passes() -> None:
    """Whatever its validators made of it."""
    look_into(full())


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("leaf", Leaf.model_construct(name=""), "string_too_short"),
        ("leaves", [Leaf.model_construct()], "missing"),
        ("open", Open.model_construct(number="x"), "int_parsing"),
        ("tree", Tree.model_construct(label="x", trees=[5]), "model_type"),
        ("pet", Cat.model_construct(lives="x"), "int_parsing"),
        ("tagged", Dog.model_construct(owner=[]), "string_type"),
        ("labelled", Dog.model_construct(owner=[]), "string_type"),
        ("kept", Leaf.model_construct(name=""), "string_too_short"),
        ("either", Dog.model_construct(owner=[]), "string_type"),
        ("box", Box[Leaf].model_construct(items=[Leaf.model_construct(name="")]), "string_too_short"),
        ("root", Leaves.model_construct([Leaf.model_construct(name="")]), "string_too_short"),
        ("mapping", {"leaf": Leaf.model_construct(name="")}, "string_too_short"),
        ("two", (1, Leaf.model_construct(name="")), "string_too_short"),
        ("by_name", {"a": Leaf.model_construct(name="")}, "string_too_short"),
        ("cost", Decimal("NaN"), "finite_number"),
        ("words", "a,b", "list_type"),
    ],
)
def test_what_is_wrong_anywhere_is_found(name: str, value: Any, code: str) -> None:
    """Constructed or assigned, however deep."""
    zoo = full()
    setattr(zoo, name, value)

    with pytest.raises(ValidationError) as refusal:
        look_into(zoo)
    assert code in {error["type"] for error in refusal.value.errors()}


@pytest.mark.parametrize("attribute", ["x", "y"])
def test_dataclasses_are_looked_into(attribute: str) -> None:
    """Fields that `__init__` does not take included."""
    point = Point(1)
    setattr(point, attribute, "wrong")

    with pytest.raises(ValidationError):
        look_into(point, Point)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"leaf": {"leafName": "a", "x": 1}}, ("leaf", "x")),
        ({"leaf": {"leafName": "a"}, "point": {"x": 1, "q": 2}}, ("point", "q")),
        ({"leaf": {"leafName": "a"}, "mapping": {"leaf": {"leafName": "a"}, "q": 1}}, ("mapping", "q")),
        ({"leaf": {"leafName": "a"}, "pet": {"kind": "cat", "q": 1}}, ("pet", "cat", "q")),
        (
            {"leaf": {"leafName": "a"}, "tree": {"label": "a", "trees": [{"label": "b", "q": 1}]}},
            ("tree", "trees", 0, "q"),
        ),
        ({"leaf": {"leafName": "a"}, "root": [{"leafName": "a", "q": 1}]}, ("root", 0, "q")),
    ],
)
def test_a_closed_schema_refuses_unknown_keys_at_any_depth(body: dict[str, Any], place: tuple[Any, ...]) -> None:
    """In models, dataclasses and typed dictionaries that are silent about them."""
    validator, raw = close(TypeAdapter(Zoo)), json.dumps(body).encode()
    with pytest.raises(ValidationError) as refusal:
        validator.validate_json(raw)
    assert [error["loc"] for error in validator.find_mistakes(refusal.value, raw, body)] == [place]


def test_a_closed_schema_keeps_what_was_configured() -> None:
    """`extra="allow"` within `extra="forbid"`."""
    body = {"leaf": {"leafName": "a"}, "open": {"more": 1}}

    assert close(TypeAdapter(Zoo)).validate_python(body).open.model_extra == {"more": 1}


@pytest.mark.parametrize(
    ("schema", "looks", "is_sure"),
    [
        (int, False, True),
        (list[int], False, True),
        (list[float], True, True),
        (dict[str, Any], False, False),
        (Leaf, True, True),
        (list[Box[Leaf]], True, True),
        (Cat | Dog | None, True, True),
        (Open, True, False),
        (Zoo, True, False),
        (Pair, True, False),
    ],
)
def test_only_what_is_needed_is_looked_for(schema: Any, *, looks: bool, is_sure: bool) -> None:
    """Without a class or a float pydantic has seen it all; `Any`, extras and computed fields nobody has."""
    found = exact(TypeAdapter(schema))

    assert (found.check is not None, found.is_sure) == (looks, is_sure)


class Base(Model, DeclarativeBase):
    """A service with moments of every kind."""


class Clock(Identified, Base):
    """A moment and times of day, with a time zone and without."""

    __tablename__ = "clock"

    naive: Mapped[datetime] = mapped_column(DateTime)
    aware: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    hour: Mapped[time] = mapped_column(Time)
    hour_there: Mapped[time] = mapped_column(Time(timezone=True))


class ClockRead(ReadSchema, model=Clock):
    """A clock in a response."""


def test_moments_of_columns_are_looked_into() -> None:
    """The functions that bring them to UTC return what they take: no response is walked again because of them."""
    found = exact(TypeAdapter(list[ClockRead]))
    wrong = ClockRead.model_construct(naive="yesterday")

    assert found.is_sure
    assert found.check is not None
    with pytest.raises(ValidationError):
        found.check([wrong])


def test_the_classes_own_validators_would_win() -> None:
    """The day this fails, `_validator_of` needs no private argument any more (pydantic-core 2.50)."""

    class Outer(BaseModel):
        leaf: Leaf

    schema = rewrite(TypeAdapter(Outer).core_schema, closed)

    assert SchemaValidator(schema).validate_python({"leaf": {"leafName": "a", "unknown": 1}}).leaf.name == "a"
