"""Teardown that cannot take an answer back: the work is committed by then."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from quart import Quart
from quart.ctx import RequestContext, WebsocketContext
from quart.globals import request_ctx, websocket_ctx
from quart.signals import appcontext_tearing_down, request_tearing_down, websocket_tearing_down

from ligand_async.tasks import GRACE, Containment, current_deadline

logger = logging.getLogger(__name__)


class IsolatedTeardown(Quart):
    """A Quart whose teardown functions all run, whatever one of them raises; what it raises is logged."""

    async def do_teardown_request(
        self, exc: BaseException | None, request_context: RequestContext | None = None
    ) -> None:
        """Run the teardown functions of a request, then the receivers of its signal."""
        blueprints = (request_context or request_ctx).request.blueprints
        await self.tear_down(self.teardown_request_funcs, [*blueprints, None], exc)
        await self.tell_of_teardown(request_tearing_down, exc)

    async def do_teardown_websocket(
        self, exc: BaseException | None, websocket_context: WebsocketContext | None = None
    ) -> None:
        """Run the teardown functions of a websocket, then the receivers of its signal."""
        blueprints = (websocket_context or websocket_ctx).websocket.blueprints
        await self.tear_down(self.teardown_websocket_funcs, [*blueprints, None], exc)
        await self.tell_of_teardown(websocket_tearing_down, exc)

    async def do_teardown_appcontext(self, exc: BaseException | None) -> None:
        """Run the teardown functions of the app's context, then the receivers of its signal."""
        for function in self.teardown_appcontext_funcs:
            await self.tear_down_one(self.ensure_async(function), exc)
        await self.tell_of_teardown(appcontext_tearing_down, exc)

    async def tear_down(self, functions: Any, names: Iterable[str | None], error: BaseException | None) -> None:
        """Run the teardown functions of blueprints and of the app, the last registered first."""
        for name in names:
            for function in reversed(functions[name]):
                await self.tear_down_one(self.ensure_async(function), error)

    async def tell_of_teardown(self, signal: Any, error: BaseException | None) -> None:
        """Send the signal of a teardown, if somebody listens."""
        if signal.receivers:
            await self.tear_down_one(signal.send_async, self, _sync_wrapper=self.ensure_async, exc=error)

    async def tear_down_one(self, function: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> None:
        """Run one function; its failure is logged, and past the deadline it has a second."""
        try:
            with Containment():
                async with current_deadline().limit(at_least=GRACE):
                    await function(*args, **options)
        except Exception:
            name = getattr(function, "__qualname__", repr(function))
            logger.exception("the teardown function %s failed; the answer stands", name)
