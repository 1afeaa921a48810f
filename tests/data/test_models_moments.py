"""Arithmetic with moments in SQL: the same on both databases."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ligand_async import Database, Identified, Model
from ligand_async.data import utc_now
from tests.services import make_app

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Base(Model, DeclarativeBase):
    """The tables of these tests."""


class Meeting(Identified, Base):
    """Begins at a moment and takes a while."""

    __tablename__ = "meeting"
    begins_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    takes: Mapped[timedelta] = mapped_column(default=timedelta(hours=1))


db = Database(Base)


@pytest.fixture
async def meeting(database_url: str) -> AsyncIterator[UUID]:
    """One meeting, from noon for ninety minutes."""
    app = make_app(database_url, database=db)
    async with app.test_app(), app.app_context():
        await db.create_tables()
        async with db.transaction() as session:
            stored = Meeting(begins_at=NOON, ends_at=NOON + timedelta(minutes=90))
            session.add(stored)
        yield stored.id


async def ask(*expressions: Any) -> Any:
    async with db.read() as session:
        return tuple((await session.execute(select(*expressions).select_from(Meeting))).one())


async def test_moments_and_durations_are_added(meeting: UUID) -> None:
    """Of columns, of values, in both orders, below zero and with fractions of a second."""
    assert await ask(
        Meeting.begins_at + DAY,
        Meeting.begins_at - DAY,
        timedelta(seconds=1.5) + Meeting.begins_at,
        Meeting.begins_at - timedelta(milliseconds=1),
        Meeting.begins_at + Meeting.takes,
        Meeting.ends_at - Meeting.takes,
    ) == (
        NOON + DAY,
        NOON - DAY,
        NOON + timedelta(seconds=1.5),
        NOON - timedelta(milliseconds=1),
        NOON + timedelta(hours=1),
        NOON + timedelta(minutes=30),
    )


async def test_the_duration_between_two_moments(meeting: UUID) -> None:
    """Is a `timedelta`, also before zero, and compares with one."""
    assert await ask(
        Meeting.ends_at - Meeting.begins_at,
        Meeting.begins_at - Meeting.ends_at,
        Meeting.ends_at - NOON,
        NOON - Meeting.ends_at,
    ) == (timedelta(minutes=90), timedelta(minutes=-90), timedelta(minutes=90), timedelta(minutes=-90))
    longer = select(func.count()).where(Meeting.ends_at - Meeting.begins_at > timedelta(hours=1))
    shorter = select(func.count()).where(Meeting.ends_at - Meeting.begins_at < timedelta(hours=1))
    async with db.read() as session:
        assert [await session.scalar(longer), await session.scalar(shorter)] == [1, 0]


async def test_the_clock_of_the_database_is_shifted(meeting: UUID) -> None:
    """`at < utc_now() - timedelta(days=1)` finds what is older than a day, in queries and in statements."""
    old = select(func.count()).where(Meeting.begins_at < utc_now() - DAY)
    async with db.transaction() as session:
        await session.execute(update(Meeting).values(begins_at=utc_now() - 2 * DAY))
        assert await session.scalar(old) == 1
        await session.execute(update(Meeting).values(begins_at=utc_now() - DAY + timedelta(minutes=1)))
        assert await session.scalar(old) == 0
        await session.execute(update(Meeting).where(Meeting.begins_at < utc_now()).values(ends_at=utc_now() + DAY))
        assert await session.scalar(select(Meeting.ends_at > utc_now())) is True


async def test_the_result_of_a_shift_is_compared_like_a_stored_moment(meeting: UUID) -> None:
    """Equal moments are equal, whichever of them was calculated."""
    async with db.read() as session:
        same = Meeting.begins_at + timedelta(minutes=90) == Meeting.ends_at
        assert await session.scalar(select(func.count()).where(same)) == 1


def test_two_moments_are_not_added() -> None:
    """The error says what can be."""
    with pytest.raises(TypeError, match="a timedelta only"):
        Meeting.begins_at + Meeting.ends_at
