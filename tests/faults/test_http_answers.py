"""FAULTS A and B: what a service answers when it would answer nonsense, or has more clients than connections."""

import asyncio
from collections import Counter

import pytest
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import operation
from tests.http import RawAnswer, exchange, head
from tests.servers import serving
from tests.services import Item, count_items, make_service, running


async def fetch(port: int, method: str, target: str) -> RawAnswer:
    return await exchange(port, head(method, target, "Content-Length: 0", "Connection: close"))


class Weight(BaseModel):
    """A schema with a number, which JSON cannot always write."""

    grams: float | None


@operation(status=201)
async def weigh(session: AsyncSession, value: str) -> Weight:
    """Store an item and answer with whatever number was asked for."""
    session.add(Item(name="cup"))
    return Weight(grams=float(value))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
async def test_a_number_that_json_cannot_write_is_500_and_no_row(database_url: str, value: str) -> None:
    """Row 22: NaN in an answer is a 500 that is JSON, and the row that was written with it is gone."""
    app = make_service(database_url, ("POST", "/weights/<value>", weigh))
    async with running(app), serving(app) as port:
        answer = await fetch(port, "POST", f"/weights/{value}")

        assert answer.status == 500
        assert answer.is_problem
        assert await count_items() == 0


@operation
async def wait_for_postgresql(session: AsyncSession) -> None:
    """Keep a connection for a while."""
    await session.execute(text("SELECT pg_sleep(0.5)"))


async def test_more_clients_than_connections_are_shed_early(postgres_url: str) -> None:
    """Row 59: of 30 clients on a pool of 2 some are served, and the others are told in time when to come back."""
    app = make_service(
        postgres_url,
        ("GET", "/slow", wait_for_postgresql),
        database_pool_size=2,
        database_pool_timeout=0.7,
    )
    async with running(app), serving(app) as port:
        began = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*(fetch(port, "GET", "/slow") for _ in range(30)))
        took = asyncio.get_running_loop().time() - began
        shed = [answer for answer in answers if answer.status == 503]

        assert Counter(answer.status for answer in answers).keys() == {204, 503}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in shed)
        assert all(answer.is_problem for answer in shed)
        assert took < 5
        assert (await fetch(port, "GET", "/slow")).status == 204
