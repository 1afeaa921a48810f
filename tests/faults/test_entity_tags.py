"""Two who have seen the same, and both change it."""

import asyncio
from collections.abc import Callable

from ligand_async import get_or_404
from tests.services import Item, db
from tests.web.versioned_shop import ITEM, send, shop, tag_of


async def test_of_two_writers_with_one_tag_one_wins(database_url: str, figure: Callable[[int, int], int]) -> None:
    """Each time, whatever they interleave: one change is made, the other is a 412, and none is lost or made twice."""
    rounds = figure(20, 1_000)
    async with shop(database_url) as client:
        tag, outcomes = await tag_of(client), set()
        for _ in range(rounds):
            answers = await asyncio.gather(*(send(client, "PATCH", {"If-Match": tag}) for _ in range(2)))
            outcomes.add(tuple(sorted(answer.status_code for answer in answers)))
            tag = next(answer.headers["ETag"] for answer in answers if answer.status_code == 204)
            assert (await tag_of(client)).startswith(tag.rstrip('"'))
        async with db.read() as session:
            version = (await get_or_404(session, Item, ITEM)).version

    assert outcomes == {(204, 412)}
    assert version == 1 + rounds
