"""Mistakes that mypy must find: each line that ends in a comment `refused: codes` is one. Never imported."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import MISSING, BaseModel, Field
from quart import Blueprint, Response
from quart.views import MethodView
from quart.wrappers.base import BaseRequestWebsocket
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped

from ligand_async import (
    CreateSchema,
    Filter,
    Identified,
    Model,
    NotFound,
    Page,
    PageParams,
    PatchSchema,
    Principal,
    ReadSchema,
    Sort,
    claim,
    get_or_404,
    operation,
    paginate,
    public,
    requires,
    role,
    scope,
)
from ligand_async.auth import APIKeyAuthenticator, BearerAuthenticator
from ligand_async.protocols import Authenticator


class Base(Model, DeclarativeBase): ...


class Pet(Identified, Base):
    __tablename__ = "pet"
    name: Mapped[str]


class PetRead(BaseModel):
    id: UUID
    name: str


@operation
async def returns_an_entity_for_a_schema(pet_id: UUID, session: AsyncSession) -> PetRead:
    pet = await get_or_404(session, Pet, pet_id)
    session.add(pet)
    return pet  # refused: return-value


@operation
async def returns_something_else(pet_id: UUID) -> PetRead:
    return "rex"  # refused: return-value


@operation  # refused: type-var
async def promises_an_entity(pet_id: UUID, session: AsyncSession) -> Pet:
    return await get_or_404(session, Pet, pet_id)


@operation(status=201)  # refused: type-var
async def promises_entities(session: AsyncSession) -> list[Pet]:
    return []


@operation  # refused: arg-type
def is_a_plain_function() -> PetRead:
    raise NotFound


@operation(raises=[ValueError])  # refused: list-item
async def raises_no_problem() -> None:
    raise NotFound


@operation
async def returns_entities_for_schemas(session: AsyncSession) -> list[PetRead]:
    pets = (await session.scalars(select(Pet))).all()
    return [*pets, Pet(name="rex")]  # refused: list-item


@operation(status=201)
async def returns_no_status(pet_id: UUID) -> tuple[PetRead, int]:
    return PetRead(id=pet_id, name="rex"), "201"  # refused: return-value


@operation
async def promises_a_page_of_entities(session: AsyncSession) -> Page[Pet]:  # refused: type-var
    raise NotFound


@operation(session="sometimes")  # refused: call-overload untyped-decorator
async def has_no_such_session(session: AsyncSession) -> None:
    raise NotFound


@operation
async def reads_a_field_that_is_not_there(pet_id: UUID, session: AsyncSession) -> PetRead:
    pet = await get_or_404(session, Pet, pet_id, into=PetRead)
    pet.weight  # refused: attr-defined
    return pet


@operation
async def is_right(pet_id: UUID, session: AsyncSession) -> Page[PetRead]:
    return Page[PetRead](items=[await get_or_404(session, Pet, pet_id, into=PetRead)], total=1)


@dataclass
class Point:
    x: int


@operation
async def returns_a_dataclass() -> list[Point]:
    return [Point(1)]


@operation
async def returns_scalars() -> dict[str, list[UUID]] | set[Decimal] | datetime | None:
    return None


@operation
async def returns_either() -> PetRead | Response:
    return Response("rex")


class Pets(MethodView):
    @operation
    async def get(self) -> list[PetRead]:
        return []

    @operation  # refused: arg-type
    def post(self) -> PetRead:
        raise NotFound


@operation(status=201)
async def is_right_too(pet_id: UUID) -> tuple[PetRead, int, dict[str, str]]:
    return PetRead(id=pet_id, name="rex"), 201, {"X-Pet": "rex"}


@requires("admin")  # refused: arg-type
async def requires_a_name() -> None: ...


@requires(role)  # refused: arg-type
async def requires_a_function() -> None: ...


@requires(role("admin") | "user")  # refused: operator
async def requires_a_name_among_requirements() -> None: ...


@requires  # refused: arg-type
async def requires_nothing() -> None: ...


@requires(claim("tenant", ["acme"]))  # refused: arg-type
async def requires_a_list() -> None: ...


@requires(role("admin") & ~scope("pets:write") | claim("tenant", 1))
async def is_guarded(pet_id: UUID) -> str:
    return "rex"


@public
async def is_public(pet_id: UUID) -> str:
    return "rex"


async def calls_what_is_marked(pet_id: UUID) -> str:
    await is_guarded("rex")  # refused: arg-type
    await Kennels().get(3)  # refused: arg-type
    await is_public()  # refused: call-arg
    return await is_public(pet_id) + await is_guarded(pet_id=pet_id)


@requires(role("admin"))
class Kennels(MethodView):
    size = 3

    @public
    async def get(self, pet_id: UUID) -> str:
        return str(pet_id)


marked_class: type[Kennels] = Kennels
marked_blueprint: Blueprint = public(Blueprint("pets", __name__))
public("pets")  # refused: type-var
requires(role("admin"))(3)  # refused: type-var


class CookieAuthenticator:
    challenge = None

    async def authenticate(self, connection: BaseRequestWebsocket) -> Principal | None:
        return Principal("ada", "cookies") if "session" in connection.cookies else None


cookie_authenticator: Authenticator = CookieAuthenticator()


class HasNoVerify:
    async def check(self, token: str) -> Principal:
        return Principal(token, "issuer")


async def returns_a_name(key: str) -> str:
    return key


BearerAuthenticator(HasNoVerify())  # refused: arg-type
APIKeyAuthenticator(returns_a_name)  # refused: arg-type


class PetCreate(CreateSchema, model=Pet, exclude={"id"}):
    """Declared fields are known, derived ones are not."""

    name: Annotated[str, Field(max_length=9)]


class PetPatch(PatchSchema, model=Pet, extra="ignore"):
    name: Annotated[str, Field(max_length=9)] | MISSING = MISSING


class PetShown(ReadSchema, model=Pet, include=["name"]): ...


@operation
async def uses_derived_schemas(pet_id: UUID, data: PetCreate, session: AsyncSession) -> PetShown:
    pet = Pet(**data.model_dump())
    await data.load(session, pet)
    data.replace(pet)
    PetPatch(name="rex").apply(pet)
    made = data.new(Pet)
    made.name += "!"
    made.tail  # refused: attr-defined
    data.new("Pet")  # refused: arg-type
    return PetShown.model_validate(pet)


@operation
async def reads_what_is_derived(data: PetPatch) -> str:
    data.id  # refused: attr-defined
    return data.name  # refused: return-value


class PetQuery(PageParams):
    name: Annotated[str | None, Filter(Pet.name)] = None
    sort: Sort[Literal["name", "-name"]] = ("name",)


class QueryOfUnknownNames(PageParams):
    sort: Sort[Literal["name", "-name"]] = ("wings",)  # refused: assignment


@operation
async def lists_pets(query_args: PetQuery, session: AsyncSession) -> Page[PetRead]:
    return await paginate(session, query_args.apply(select(Pet)), query_args, into=PetRead)


@operation
async def lists_something_else(query_args: PetQuery, session: AsyncSession) -> Page[PetRead]:
    statement = select(Pet, Pet.name.label("title"))
    return await paginate(session, statement, query_args, into=PetShown)  # refused: arg-type


@operation
async def counts_in_another_way(query_args: PetQuery, session: AsyncSession) -> Page[PetRead]:
    return await paginate(session, select(Pet), query_args, into=PetRead, total="roughly")  # refused: arg-type
