"""Entities whose columns are named and typed as unluckily as can be."""

import datetime as dt
import enum
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Enum, ForeignKey, Integer, Numeric, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ligand_async import Identified, Model, Timestamped, Versioned


class Base(Model, DeclarativeBase): ...


class Mood(enum.Enum):
    GOOD = 1
    BAD = 2


class Owner(Identified, Base):
    __tablename__ = "owner"
    name: Mapped[str] = mapped_column(String(20))


class Pet(Identified, Timestamped, Versioned, Base):
    __tablename__ = "pet"
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("owner.id"))
    name: Mapped[str] = mapped_column(String(20))
    price: Mapped[Decimal] = mapped_column(Numeric(8, 2), default=Decimal(1))
    nick: Mapped[str | None] = mapped_column(String(20))
    mood: Mapped[Mood] = mapped_column(Enum(Mood), default=Mood.GOOD)
    size: Mapped[str] = mapped_column(Enum("small", "large"), default="small")
    labels: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    anything: Mapped[Any] = mapped_column(JSON, nullable=True)
    date: Mapped[dt.date | None]
    datetime: Mapped[dt.datetime | None]
    time: Mapped[dt.time | None]
    legs: Mapped[int] = mapped_column(Integer, default=4)
    int: Mapped[int] = mapped_column(Integer, default=1)
    secret: Mapped[str | None] = mapped_column(String(20), info={"private": True})
