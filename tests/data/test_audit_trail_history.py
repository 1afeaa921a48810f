"""The history of one entity, and what it was at a moment."""

import itertools
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from quart import Quart
from sqlalchemy import insert, update

from tests.data.bank import Account, Kind, Seat, audit, db, events, make_bank
from tests.data.bank import running_bank as running

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started service with empty tables, in whose context the test runs."""
    async with running(app := make_bank(database_url, audit_bulk="ignore")):
        yield app


async def change(key: UUID, **values: Any) -> None:
    async with db.transaction() as session:
        account = await session.get_one(Account, key)
        for name, value in values.items():
            setattr(account, name, value)


async def as_of(moment: datetime, key: Any, entity: type[Any] = Account) -> Mapping[str, Any] | None:
    async with db.read() as session:
        return await audit.as_of(session, entity, key, moment)


async def test_history_is_of_one_entity_in_order(app: Quart) -> None:
    """All that happened to it and nothing else, the oldest first, within the moments that are asked for."""
    async with db.transaction() as session:
        first, second = Account(name="first"), Account(name="other")
        session.add_all([first, second])
    await change(first.id, name="renamed")
    async with db.transaction() as session:
        await session.delete(await session.get_one(Account, first.id))

    async with db.read() as session:
        history = await audit.history(session, Account, first.id)
        middle = await audit.history(session, Account, first.id, since=history[1].at, until=history[2].at)
    assert [event.action for event in history] == ["insert", "update", "delete"]
    assert middle == history[1:2]


async def test_entity_is_rebuilt_at_every_moment(app: Quart) -> None:
    """Before its insert and after its delete it is not there; between, it is what it was, with Python's values."""
    async with db.transaction() as session:
        account = Account(name="first", balance=Decimal("1.50"), pin="1234", holder="Ada")
        session.add(account)
    await change(account.id, balance=Decimal("2.50"))
    await change(account.id, name="second", kind=Kind.CURRENT)
    async with db.transaction() as session:
        await session.delete(await session.get_one(Account, account.id))

    at = [event.at for event in await events()]
    states = [await as_of(moment, account.id) for moment in (LONG_AGO, *at)]
    shown = [
        (state["name"], state["balance"], state["kind"], state["version"]) if state is not None else None
        for state in states
    ]
    assert shown == [
        None,
        ("first", Decimal("1.50"), Kind.SAVING, 1),
        ("first", Decimal("2.50"), Kind.SAVING, 2),
        ("second", Decimal("2.50"), Kind.CURRENT, 3),
        None,
    ]
    state = states[1]
    assert state is not None
    assert (state["id"], state["created_at"]) == (account.id, account.created_at)
    assert {"pin", "holder"}.isdisjoint(state)


async def test_a_schema_can_be_made_of_it(app: Quart) -> None:
    """What an entity was goes into the same schema as what it is."""

    class AccountRead(BaseModel):
        id: UUID
        name: str
        kind: Kind
        balance: Decimal

    async with db.transaction() as session:
        account = Account(name="first")
        session.add(account)
    moment = (await events())[-1].at
    await change(account.id, name="second")

    assert AccountRead.model_validate(await as_of(moment, account.id)).name == "first"


async def test_what_was_there_before_the_trail_is_rebuilt_backwards(app: Quart) -> None:
    """A row that no insert tells of is what its later events found, and else what it is now."""
    key = UUID(int=7)
    async with db.transaction() as session:
        await session.execute(insert(Account).values(id=key, name="old", balance=Decimal(5), version=1))
    untouched = await as_of(LONG_AGO, key)
    await change(key, name="new")
    await change(key, name="newer")

    before = await as_of(LONG_AGO, key)
    assert untouched is not None
    assert (untouched["name"], untouched["balance"]) == ("old", Decimal("5.00"))
    assert before is not None
    assert (before["name"], before["balance"], before["version"]) == ("old", Decimal("5.00"), 1)

    async with db.transaction() as session:
        await session.delete(await session.get_one(Account, key))
    again = await as_of(LONG_AGO, key)
    assert again is not None
    assert (again["name"], again["balance"]) == ("old", Decimal("5.00"))


async def test_recorded_statement_is_history(app: Quart) -> None:
    """What `record` tells of a key, with its values, counts like a flush."""
    async with db.transaction() as session:
        session.add(Seat(row="a", number=1, account_id=None))
    async with db.transaction() as session:
        account = Account(name="first")
        session.add(account)
        await session.flush()
        values = {"account_id": account.id}
        await audit.record(session, "update", Seat, keys=[("a", 1)], old={"account_id": None}, new=values)
        await session.execute(update(Seat).values(**values))

    moments = [event.at for event in await events(entity="Seat")]
    found = [await as_of(moment, ("a", 1), Seat) for moment in moments]
    assert found == [
        {"row": "a", "number": 1, "account_id": None},
        {"row": "a", "number": 1, "account_id": account.id},
    ]


async def test_what_never_was_is_none(app: Quart) -> None:
    """A key that nobody ever had has no history and no past."""
    async with db.read() as session:
        assert await audit.history(session, Account, UUID(int=3)) == []
    assert await as_of(datetime.now(UTC), UUID(int=3)) is None


async def test_second_life_of_a_key_is_not_the_first(app: Quart) -> None:
    """A row that takes a deleted one's key is told apart from it at every moment."""
    for account in (None, "of second life"):
        async with db.transaction() as session:
            if account is not None:
                session.add(Account(id=UUID(int=9), name=account))
                await session.flush()
            session.add(Seat(row="a", number=1, account_id=None if account is None else UUID(int=9)))
        if account is None:
            async with db.transaction() as session:
                await session.delete(await session.get_one(Seat, ("a", 1)))

    first, gone, second = [event.at for event in await events(entity="Seat")]
    states = [await as_of(moment, ("a", 1), Seat) for moment in (first, gone, second)]
    assert [None if state is None else state["account_id"] for state in states] == [None, None, UUID(int=9)]
    assert [state is None for state in states] == [False, True, False]


@pytest.mark.ligand_database("sqlite")
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "name": st.text("abc", max_size=3),
                "balance": st.decimals(0, 99, places=2),
                "tags": st.lists(st.integers(0, 3), max_size=2),
                "seal": st.none() | st.binary(max_size=3),
            },
        ),
        max_size=5,
    )
)
async def test_any_course_of_changes_is_rebuilt(app: Quart, steps: list[dict[str, Any]]) -> None:
    """Whatever is done to an entity, each of its moments comes back as it was read then."""
    async with db.transaction() as session:
        account = Account(name="first")
        session.add(account)
    seen = [await look(account.id)]
    for step in steps:
        await change(account.id, **step)
        seen.append(await look(account.id))

    history = [event.at for event in await events(key=str(account.id))]
    states = [seen[0]] + [now for before, now in itertools.pairwise(seen) if now != before]
    assert len(history) == len(states)
    # Events of one millisecond share a moment, by SQLite's clock.
    last_of = dict(zip(history, states, strict=True))
    for moment, state in last_of.items():
        assert await as_of(moment, account.id) == state


async def look(key: UUID) -> dict[str, Any]:
    async with db.read() as session:
        account = await session.get_one(Account, key)
        hidden = {"pin", "holder"}
        return {name: getattr(account, name) for name in Account.__mapper__.column_attrs.keys() if name not in hidden}  # noqa: SIM118  (no dict)
