"""The pets on ligand_async, as its documentation shows."""

import logging
import os
from typing import Literal
from uuid import UUID

from pydantic import BaseModel
from quart import Blueprint, Quart
from sqlalchemy import String, Text, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ligand_async import (
    CreateSchema,
    Database,
    Identified,
    Model,
    NotFound,
    Page,
    PageParams,
    Principal,
    ReadSchema,
    Settings,
    Sort,
    Timestamped,
    Versioned,
    get_or_404,
    operation,
    paginate,
    public,
)
from ligand_async import (
    create_app as create_service,
)


class Base(Model, DeclarativeBase):
    """The tables of this service."""


class Pet(Identified, Timestamped, Versioned, Base):
    """A pet."""

    __tablename__ = "pet"

    name: Mapped[str] = mapped_column(String(255), index=True)
    description: Mapped[str] = mapped_column(Text, default="")


class PetRead(ReadSchema, model=Pet):
    """A pet."""


class PetCreate(CreateSchema, model=Pet):
    """A new pet."""


class PetQuery(PageParams):
    """The page and the order of the list."""

    sort: Sort[Literal["name", "created_at"]] = ("created_at",)


class Pong(BaseModel):
    """The smallest answer."""

    ping: str = "pong"


class Caller(BaseModel):
    """The caller."""

    subject: str
    roles: list[str]


db = Database(Base)
pets = Blueprint("pets", __name__)


@pets.get("/ping")
@public
@operation
async def ping() -> Pong:
    """Answer."""
    return Pong()


@pets.get("/me")
@operation
async def read_caller(principal: Principal) -> Caller:
    """Show the caller."""
    return Caller(subject=principal.subject, roles=sorted(principal.roles))


@pets.get("/pets/<uuid:pet_id>")
@operation(raises=[NotFound])
async def read_pet(pet_id: UUID, session: AsyncSession) -> PetRead:
    """Read a pet."""
    return await get_or_404(session, Pet, pet_id, into=PetRead)


@pets.get("/pets/")
@operation
async def list_pets(query_args: PetQuery, session: AsyncSession) -> Page[PetRead]:
    """List pets."""
    return await paginate(session, query_args.apply(select(Pet)), query_args, into=PetRead)


@pets.post("/pets/")
@operation(status=201)
async def create_pet(data: PetCreate, session: AsyncSession) -> PetRead:
    """Register a pet."""
    pet = Pet(**data.model_dump())
    session.add(pet)
    await session.flush()
    return PetRead.model_validate(pet)


def create_app() -> Quart:
    """Make the service."""
    settings = Settings.load(
        "local",
        database_url=os.environ["BENCH_DATABASE_URL"],
        oidc_issuer=os.environ["BENCH_ISSUER"],
        oidc_audience=os.environ["BENCH_AUDIENCE"],
        request_timeout=30.0,
    )
    logging.getLogger("ligand_async.ops.access").setLevel(logging.WARNING)  # the others have no access log either
    return create_service(__name__, title="Pets", version="1.0.0", settings=settings, database=db, blueprints=[pets])
