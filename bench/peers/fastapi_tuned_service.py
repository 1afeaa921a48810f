"""The pets on FastAPI with our tricks: a token cache, Core rows, a read-only AUTOCOMMIT engine, bytes from models."""

import os
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict
from sqlalchemy import DateTime, String, Text, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

KEY = open(os.environ["BENCH_PUBLIC_KEY"]).read()
URL = os.environ["BENCH_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
engine = create_async_engine(URL, pool_size=10, max_overflow=0)
reads = create_async_engine(
    URL,
    pool_size=10,
    max_overflow=0,
    isolation_level="AUTOCOMMIT",
    connect_args={"server_settings": {"default_transaction_read_only": "on"}},
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


cache: dict[bytes, tuple[float, dict[str, Any]]] = {}  # bounded below; at most 60 seconds, never past `exp`


async def get_claims(credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> dict[str, Any]:
    digest = sha256(credentials.credentials.encode()).digest()
    known = cache.get(digest)
    if known is not None and known[0] > time.time():
        return known[1]
    try:
        claims = jwt.decode(credentials.credentials, KEY, ["RS256"], audience=os.environ["BENCH_AUDIENCE"])
    except jwt.InvalidTokenError as error:
        raise HTTPException(401) from error
    if len(cache) >= 10_000:
        cache.clear()
    cache[digest] = min(time.time() + 60, claims["exp"]), claims
    return claims


Claims = Annotated[dict[str, Any], Depends(get_claims)]
DB = Annotated[AsyncSession, Depends(get_session)]

app = FastAPI(title="Pets")


@app.get("/ping")
async def ping() -> Pong:
    return Pong()


@app.get("/me")
async def me(claims: Claims) -> Caller:
    return Caller(subject=claims["sub"], roles=sorted(claims["roles"]))


TABLE = Pet.__table__
ONE = select(TABLE).where(TABLE.c.id == bindparam("pet_id"))
PAGE = select(TABLE).order_by(TABLE.c.created_at, TABLE.c.id).limit(bindparam("size")).offset(bindparam("skipped"))
TOTAL = select(func.count()).select_from(TABLE)


@app.get("/pets/{pet_id}", response_model=PetOut)
async def read_pet(pet_id: uuid.UUID, claims: Claims) -> Response:
    async with reads.connect() as connection:
        row = (await connection.execute(ONE, {"pet_id": pet_id})).first()
    if row is None:
        raise HTTPException(404)
    return Response(PetOut.model_validate(row).model_dump_json(), media_type="application/json")


@app.get("/pets/", response_model=PetPage)
async def list_pets(claims: Claims, page: int = 1, page_size: int = 10) -> Response:
    async with reads.connect() as connection:
        total = await connection.scalar(TOTAL)
        rows = (await connection.execute(PAGE, {"size": page_size, "skipped": (page - 1) * page_size})).all()
    found = PetPage(items=[PetOut.model_validate(row) for row in rows], total=total or 0)
    return Response(found.model_dump_json(), media_type="application/json")


@app.post("/pets/", response_model=PetOut, status_code=201)
async def create_pet(data: PetIn, session: DB, claims: Claims) -> Any:
    pet = Pet(**data.model_dump())
    session.add(pet)
    await session.commit()
    return pet
