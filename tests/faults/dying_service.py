"""A service that can be told to die between a commit and its reply."""

import os
import signal

from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import idempotent, on_commit, operation
from tests.web.orders import OrderRead, add, make_shop


@idempotent
@operation(status=201)
async def order_and_die(session: AsyncSession) -> OrderRead:
    """Place an order; where `MORTAL` is set, nobody hears of it."""
    if "MORTAL" in os.environ:
        on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
    return await add(session, "last")


app = make_shop(os.environ["DATABASE_URL"], ("POST", "/orders/last", order_and_die))
