"""The guard: the outermost ASGI layer, through which every request comes and every answer leaves."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from werkzeug.exceptions import HTTPException

from ligand_async.context import principal_var, request_id_var
from ligand_async.errors import Problem, problem_for
from ligand_async.tasks import NO_DEADLINE, Containment, Deadline, deadline_var
from ligand_async.web.connection import ResponseTimedOut
from ligand_async.web.exchange import Exchange
from ligand_async.web.problems import problem_of_http
from ligand_async.web.stages import Reply, Stage

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


class Guard:
    """What stands around an app: the request's id, its stages, its deadline; and an answer whatever happens inside.

    Args:
        stages: Asked in this order, before the app and after it.
        request_timeout: Seconds until the work on a request is stopped; None for ever.
        max_body_bytes: The largest body.

    Attributes:
        counts: What went wrong where no answer could say so: `stream_failed`, `response_timeout`.
    """

    def __init__(self, stages: Sequence[Stage], *, request_timeout: float | None, max_body_bytes: int) -> None:
        self.stages = tuple(stages)
        self.request_timeout = request_timeout
        self.max_body_bytes = max_body_bytes
        self.counts: Counter[str] = Counter()

    async def serve(self, app: ASGIApp, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one request, HTTP or websocket, with an app."""
        deadline = Deadline(self.request_timeout) if scope["type"] == "http" else NO_DEADLINE
        exchange = Exchange(
            scope,
            receive,
            send,
            stages=self.stages,
            max_body=self.max_body_bytes,
            deadline=deadline,
        )
        id_token, deadline_token = request_id_var.set(exchange.request_id), deadline_var.set(deadline)
        principal_token = principal_var.set(None)  # a request made inside another one is not its caller's
        try:
            with Containment():
                await self.let_in(app, exchange)
        except Exception as error:  # noqa: BLE001  (nobody is left to pass it on to)
            await self.answer_failure(exchange, error)
        finally:
            principal_var.reset(principal_token)
            deadline_var.reset(deadline_token)
            request_id_var.reset(id_token)

    async def let_in(self, app: ASGIApp, exchange: Exchange) -> None:
        """Ask the stages, then the app."""
        try:
            reply = self.ask_stages(exchange.scope)
        except Problem as problem:
            await exchange.refuse(problem)
            return
        if reply is not None:
            await exchange.reply(reply)
            return
        await app(exchange.scope, exchange.receive, exchange.send)
        if not exchange.started and not exchange.gone:
            logger.error("the app did not answer %r %s", exchange.scope.get("method"), exchange.scope["path"])
            await exchange.refuse(problem_for(500))

    def ask_stages(self, scope: Scope) -> Reply | None:
        """Return the first reply that a stage has."""
        for stage in self.stages:
            reply = stage.before(scope)
            if reply is not None:
                return reply
        return None

    async def answer_failure(self, exchange: Exchange, error: Exception) -> None:
        """Answer for an exception that nobody inside did: it is logged here, once, and goes no further."""
        if isinstance(error, HTTPException) and not exchange.started:
            await exchange.refuse(problem_of_http(error))
            return
        if exchange.gone:
            logger.info("%s after the client had left", type(error).__name__)
            return
        logger.error("unhandled exception outside the app's own handling", exc_info=error)
        if not exchange.started:
            await exchange.refuse(problem_for(500))
        elif not exchange.ended:
            self.counts["response_timeout" if isinstance(error, ResponseTimedOut) else "stream_failed"] += 1
            await exchange.break_off()
