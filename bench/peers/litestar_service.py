"""The pets on Litestar and advanced-alchemy, as their documentation shows."""

import os
import uuid
from datetime import UTC, datetime
from typing import Any

import jwt
from advanced_alchemy.extensions.litestar import AsyncSessionConfig, SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from litestar import Litestar, Request, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, NotFoundException
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult, DefineMiddleware
from pydantic import BaseModel, ConfigDict
from sqlalchemy import DateTime, String, Text, func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

KEY = open(os.environ["BENCH_PUBLIC_KEY"]).read()


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
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    description: str
    created_at: datetime
    updated_at: datetime
    version: int


class PetPage(BaseModel):
    items: list[PetOut]
    total: int


class Pong(BaseModel):
    ping: str = "pong"


class Caller(BaseModel):
    subject: str
    roles: list[str]


class Bearer(AbstractAuthenticationMiddleware):
    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        token = connection.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            claims = jwt.decode(token, KEY, ["RS256"], audience=os.environ["BENCH_AUDIENCE"])
        except jwt.InvalidTokenError as error:
            raise NotAuthorizedException from error
        return AuthenticationResult(user=claims, auth=token)


@get("/ping", exclude_from_auth=True)
async def ping() -> Pong:
    return Pong()


@get("/me")
async def me(request: Request[Any, Any, Any]) -> Caller:
    return Caller(subject=request.user["sub"], roles=sorted(request.user["roles"]))


@get("/pets/{pet_id:uuid}")
async def read_pet(pet_id: uuid.UUID, db_session: AsyncSession) -> PetOut:
    pet = await db_session.get(Pet, pet_id)
    if pet is None:
        raise NotFoundException
    return PetOut.model_validate(pet)


@get("/pets/")
async def list_pets(db_session: AsyncSession, page: int = 1, page_size: int = 10) -> PetPage:
    total = await db_session.scalar(select(func.count()).select_from(Pet))
    found = await db_session.scalars(
        select(Pet).order_by(Pet.created_at, Pet.id).limit(page_size).offset((page - 1) * page_size)
    )
    return PetPage(items=[PetOut.model_validate(pet) for pet in found], total=total or 0)


@post("/pets/")
async def create_pet(data: PetIn, db_session: AsyncSession) -> PetOut:
    pet = Pet(**data.model_dump())
    db_session.add(pet)
    await db_session.commit()
    return PetOut.model_validate(pet)


config = SQLAlchemyAsyncConfig(
    engine_instance=create_async_engine(
        os.environ["BENCH_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"), pool_size=10, max_overflow=0
    ),
    session_config=AsyncSessionConfig(expire_on_commit=False),
)
app = Litestar(
    [ping, me, read_pet, list_pets, create_pet],
    plugins=[SQLAlchemyPlugin(config)],
    middleware=[DefineMiddleware(Bearer)],
)
