"""A service with one of everything that the document speaks of."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Generic, Literal, TypeVar
from uuid import UUID, uuid4

from pydantic import MISSING, BaseModel, ConfigDict, Field
from quart import Blueprint, Quart, Response
from quart.views import MethodView
from quart_schema import DataSource, hide, tag_blueprint, validate_querystring, validate_request, validate_response
from quart_schema.pydantic import File

from ligand_async.docs import init_docs
from ligand_async.errors import Conflict, NotFound, Problem
from ligand_async.web import Form, Media, operation
from tests.docs import namesakes

T = TypeVar("T")


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str
    city: str = "Delft"


class Toy(BaseModel):
    """A thing to play with."""

    id: UUID
    name: Annotated[str, Field(min_length=1, max_length=255)]
    price: Annotated[Decimal, Field(max_digits=6, decimal_places=2)]
    colour: Colour | None = None
    note: str = ""
    weight: float | MISSING = MISSING
    made_at: datetime
    home: Address


class ToyCreate(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=255)]
    price: Decimal
    colour: Colour | None = None
    home: Address


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str


class ToyPage(BaseModel, Generic[T]):
    items: list[T]
    total: int


class ToyQuery(BaseModel):
    colours: list[Colour] = []
    since: Annotated[datetime | None, Field(description="Made at this time or later.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 10


class ToyHeaders(BaseModel):
    x_reason: str
    trace: Annotated[str | None, Field(alias="X_Trace")] = None


class ToyCookies(BaseModel):
    theme: str = "plain"


class Photo(BaseModel):
    caption: str
    image: File


class Login(BaseModel):
    name: str
    remember: bool = False


class Ball(BaseModel):
    kind: Literal["ball"] = "ball"
    bounces: bool = True


class Doll(BaseModel):
    kind: Literal["doll"] = "doll"
    carries: list["Plaything"] = []
    face: bytes = b""


Plaything = Annotated[Ball | Doll, Field(discriminator="kind")]
Doll.model_rebuild()


class OutOfStock(Problem):
    code = 409
    type = "https://example.com/out-of-stock"
    title = "Out of Stock"


@dataclass
class Greeting:
    text: str


@dataclass
class GreetingQuery:
    name: str | None = None


toys = Blueprint("toys", __name__, url_prefix="/toys")


@toys.get("/")
@operation
async def list_toys(query_args: ToyQuery, verbose: bool = False) -> ToyPage[Toy]:
    """List toys.

    The newest come first.
    """
    raise NotImplementedError


@toys.post("/")
@operation(status=201, raises=[Conflict, OutOfStock], location="toys.read_toy")
async def create_toy(data: ToyCreate) -> Toy:
    """Make a toy."""
    raise NotImplementedError


@toys.get("/<uuid:toy_id>")
@operation(raises=[NotFound])
async def read_toy(toy_id: UUID, headers: ToyHeaders, cookies: ToyCookies) -> Toy:
    """Read a toy."""
    raise NotImplementedError


@toys.delete("/<uuid:toy_id>")
@operation
async def delete_toy(toy_id: UUID) -> None:
    """Throw a toy away."""


@toys.post("/<uuid:toy_id>/photos")
@operation(status=201)
async def add_photo(toy_id: UUID, data: Annotated[Photo, Form()]) -> list[Toy]:
    """Add a photo."""
    raise NotImplementedError


@toys.post("/logins")
@operation
async def log_in(data: Annotated[Login, Form()]) -> Response:
    """Log in."""
    raise NotImplementedError


@toys.post("/loose")
@operation
async def keep_loose(data: Loose) -> Loose:
    """Keep whatever comes."""
    return data


@toys.get("/namesakes")
@operation
async def list_namesakes() -> tuple[namesakes.Toy, int]:
    """List namesakes."""
    raise NotImplementedError


@toys.put("/favourite")
@operation
async def name_favourite(data: Plaything) -> Plaything:
    """Name the favourite."""
    return data


@toys.get("/<uuid:toy_id>/picture")
@operation
async def read_picture(toy_id: UUID) -> Annotated[Response, Media("image/png")]:
    """Look at a toy."""
    raise NotImplementedError


class ShelfView(MethodView):
    @operation
    async def get(self, shelf_id: int) -> Toy:
        """Read a shelf."""
        raise NotImplementedError

    @operation
    async def put(self, shelf_id: int, data: ToyCreate) -> Toy:
        """Fill a shelf."""
        raise NotImplementedError

    @hide
    async def delete(self, shelf_id: int) -> str:
        raise NotImplementedError


shelves = Blueprint("shelves", __name__, url_prefix="/shelves")
shelves.add_url_rule("/<int(min=1):shelf_id>", view_func=ShelfView.as_view("shelf"))

plain = Blueprint("plain", __name__, url_prefix="/plain")


@plain.get("/greeting")
@validate_querystring(GreetingQuery)
@validate_response(Greeting)
async def read_greeting(query_args: GreetingQuery) -> Greeting:
    """Greet."""
    return Greeting(query_args.name or "world")


@plain.post("/greeting")
@validate_request(Greeting, source=DataSource.FORM)
@validate_response(Greeting, 201)
async def send_greeting(data: Greeting) -> tuple[Greeting, int]:
    return data, 201


@plain.route("/undeclared/<any(up, down):way>", methods=["GET", "POST"])
async def go(way: str) -> str:
    return way


@plain.websocket("/ws")
async def ws() -> None:
    return


inner = Blueprint("inner", __name__, url_prefix="/inner")
tag_blueprint(inner, ["zebra"])


@inner.get("/thing")
@operation
async def read_thing() -> Toy:
    """Read a thing."""
    return Toy(id=uuid4(), name="x", price=Decimal(1), made_at=datetime.now(UTC), home=Address(street="x"))


outer = Blueprint("outer", __name__, url_prefix="/outer")
tag_blueprint(outer, ["ant"])
outer.register_blueprint(inner)
outer.register_blueprint(toys, name="toys")


def make_app() -> Quart:
    app = Quart(__name__, static_folder=".")
    init_docs(
        app,
        title="Toys",
        version="1.2.3",
        description="Toys of *all* kinds.",
        servers={"https://toys.example": "Outside.", "http://toys.internal": "Inside."},
    )
    for blueprint in (plain, toys, shelves, outer):
        app.register_blueprint(blueprint)
    return app
