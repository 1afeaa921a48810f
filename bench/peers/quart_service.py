"""The pets on Quart and quart-schema, as their documentation and SQLAlchemy's show."""

import os
import uuid
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import jwt
from pydantic import BaseModel
from quart import Quart, abort, g, request
from quart_schema import QuartSchema, validate_querystring, validate_request, validate_response
from sqlalchemy import DateTime, String, Text, func, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

KEY = open(os.environ["BENCH_PUBLIC_KEY"]).read()
engine = create_async_engine(
    os.environ["BENCH_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"), pool_size=10, max_overflow=0
)
Session = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Pet(Base):
    __tablename__ = "pet"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(255), index=True)
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    version: Mapped[int] = mapped_column(default=1)


class PetIn(BaseModel):
    name: str
    description: str = ""


class PetOut(BaseModel):
    id: uuid.UUID
    name: str
    description: str
    created_at: datetime
    updated_at: datetime
    version: int

    model_config = {"from_attributes": True}


class PetPage(BaseModel):
    items: list[PetOut]
    total: int


class PageArgs(BaseModel):
    page: int = 1
    page_size: int = 10


class Pong(BaseModel):
    ping: str = "pong"


class Caller(BaseModel):
    subject: str
    roles: list[str]


def signed_in(view: Any) -> Any:
    @wraps(view)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            token = request.headers["Authorization"].removeprefix("Bearer ")
            g.claims = jwt.decode(token, KEY, ["RS256"], audience=os.environ["BENCH_AUDIENCE"])
        except (KeyError, jwt.InvalidTokenError):
            abort(401)
        return await view(*args, **kwargs)

    return wrapped


app = Quart(__name__)
QuartSchema(app)


@app.get("/ping")
@validate_response(Pong)
async def ping() -> Pong:
    return Pong()


@app.get("/me")
@signed_in
@validate_response(Caller)
async def me() -> Caller:
    return Caller(subject=g.claims["sub"], roles=sorted(g.claims["roles"]))


@app.get("/pets/<uuid:pet_id>")
@signed_in
@validate_response(PetOut)
async def read_pet(pet_id: uuid.UUID) -> PetOut:
    async with Session() as session:
        pet = await session.get(Pet, pet_id)
        if pet is None:
            abort(404)
        return PetOut.model_validate(pet)


@app.get("/pets/")
@signed_in
@validate_querystring(PageArgs)
@validate_response(PetPage)
async def list_pets(query_args: PageArgs) -> PetPage:
    async with Session() as session:
        total = await session.scalar(select(func.count()).select_from(Pet))
        found = await session.scalars(
            select(Pet)
            .order_by(Pet.created_at, Pet.id)
            .limit(query_args.page_size)
            .offset((query_args.page - 1) * query_args.page_size)
        )
        return PetPage(items=[PetOut.model_validate(pet) for pet in found], total=total or 0)


@app.post("/pets/")
@signed_in
@validate_request(PetIn)
@validate_response(PetOut, 201)
async def create_pet(data: PetIn) -> tuple[PetOut, int]:
    async with Session() as session:
        pet = Pet(**data.model_dump())
        session.add(pet)
        await session.commit()
        return PetOut.model_validate(pet), 201
