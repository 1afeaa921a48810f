"""The pets on FastAPI, as its documentation and SQLAlchemy's show."""

import os
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict
from sqlalchemy import DateTime, String, Text, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
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


async def get_session() -> AsyncIterator[AsyncSession]:
    async with Session() as session:
        yield session


bearer = HTTPBearer()


async def get_claims(credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> dict[str, Any]:
    try:
        return jwt.decode(credentials.credentials, KEY, ["RS256"], audience=os.environ["BENCH_AUDIENCE"])
    except jwt.InvalidTokenError as error:
        raise HTTPException(401) from error


Claims = Annotated[dict[str, Any], Depends(get_claims)]
DB = Annotated[AsyncSession, Depends(get_session)]

app = FastAPI(title="Pets")


@app.get("/ping")
async def ping() -> Pong:
    return Pong()


@app.get("/me")
async def me(claims: Claims) -> Caller:
    return Caller(subject=claims["sub"], roles=sorted(claims["roles"]))


@app.get("/pets/{pet_id}", response_model=PetOut)
async def read_pet(pet_id: uuid.UUID, session: DB, claims: Claims) -> Any:
    pet = await session.get(Pet, pet_id)
    if pet is None:
        raise HTTPException(404)
    return pet


@app.get("/pets/", response_model=PetPage)
async def list_pets(session: DB, claims: Claims, page: int = 1, page_size: int = 10) -> Any:
    total = await session.scalar(select(func.count()).select_from(Pet))
    found = await session.scalars(
        select(Pet).order_by(Pet.created_at, Pet.id).limit(page_size).offset((page - 1) * page_size)
    )
    return {"items": found.all(), "total": total}


@app.post("/pets/", response_model=PetOut, status_code=201)
async def create_pet(data: PetIn, session: DB, claims: Claims) -> Any:
    pet = Pet(**data.model_dump())
    session.add(pet)
    await session.commit()
    return pet
