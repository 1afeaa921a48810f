"""Refused attempts: kept where they are asked for, beside the requests, and never without bounds."""

import asyncio

import pytest
from quart import Quart
from sqlalchemy import text

from ligand_async.data.audit import refused
from ligand_async.errors import Unauthorized
from ligand_async.signals import access_denied, authentication_failed, deliver
from tests.data.bank import ADA, acting, db, events, make_bank, running_bank

REQUIREMENT = "role('admin')"


async def fail(app: Quart) -> None:
    await deliver(authentication_failed, app, reason="expired", problem=Unauthorized("credentials are required"))


async def wait_for_events(count: int) -> None:
    for _ in range(200):
        if len(await events()) >= count:
            return
        await asyncio.sleep(0.01)


async def test_denial_and_failure_are_kept(database_url: str) -> None:
    """Who may not, and that somebody could not say who they are, each with the reason, in the order of refusal."""
    async with running_bank(app := make_bank(database_url)):
        with acting(ADA):
            await deliver(access_denied, app, principal=ADA, requirement=REQUIREMENT)
        await fail(app)
    async with running_bank(app):
        found = await events()

    assert [(event.action, event.subject, event.entity, event.new) for event in found] == [
        ("access_denied", "ada", None, {"requirement": REQUIREMENT}),
        ("authentication_failed", None, None, {"reason": "expired"}),
    ]


async def test_attempts_are_written_while_the_service_runs(database_url: str) -> None:
    """They do not wait for its end."""
    async with running_bank(app := make_bank(database_url)):
        await fail(app)
        await wait_for_events(1)

        assert len(await events()) == 1


async def test_more_than_the_trail_can_bear_are_counted(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood fills neither the memory nor the disk: what is over the bounds is a number."""
    monkeypatch.setattr(refused, "MOST_WAITING", 5)
    async with running_bank(app := make_bank(sqlite_url)):
        for _ in range(12):
            await fail(app)
    async with running_bank(app):
        found = await events()

    kept = [event for event in found if event.action == "authentication_failed"]
    (left_out,) = [event.new for event in found if event.action == "attempts_left_out"]
    assert left_out is not None
    assert len(kept) + left_out["count"] == 12
    assert len(kept) <= 5 + refused.MOST_AT_ONCE


async def test_attempts_of_another_app_are_its_own(sqlite_url: str) -> None:
    """A signal of one app is no event of another."""
    async with running_bank(make_bank(sqlite_url)):
        other = make_bank(sqlite_url)
        await fail(other)
        await asyncio.sleep(0.05)

        assert await events() == []


async def test_attempts_that_cannot_be_written_are_logged(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A trail that cannot be written to changes no answer; the log says how many are missing."""
    app = make_bank(sqlite_url)
    async with running_bank(app):
        async with db.transaction() as session:
            await session.execute(text("DROP TABLE audit_event"))
        await fail(app)

    assert "1 refused attempts are not in the audit trail: OperationalError" in caplog.text
