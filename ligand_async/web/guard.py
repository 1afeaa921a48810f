"""The guard: the outermost ASGI layer. Every request enters and every response leaves through it."""

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from typing import Any

from uuid_utils.compat import uuid7
from werkzeug.exceptions import HTTPException

from ligand_async.context import RequestState, request_state_var
from ligand_async.draining import Draining
from ligand_async.errors import PROBLEM_JSON, ContentTooLarge, Overloaded, Problem, problem_bytes, problem_for
from ligand_async.tasks import NO_DEADLINE, ContainedExits, Deadline
from ligand_async.web.output import BODILESS
from ligand_async.web.problems import is_of_the_body, problem_of_http
from ligand_async.web.stages import Headers, Reply, Stage

logger = logging.getLogger(__name__)

_ID_HEADER = b"x-request-id"
_SANE_ID = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")
_JSON_TYPE = re.compile(rb"application/(?:[\w.+-]+\+)?json\s*(?:;|$)", re.IGNORECASE)
_NDJSON = b"application/x-ndjson"
_EVENT_STREAM = b"text/event-stream"
_OF_A_BODY = frozenset({b"content-length", b"content-type", b"transfer-encoding"})
_OF_GUARD = frozenset({_ID_HEADER})
_OF_HTTP1 = frozenset({_ID_HEADER, b"connection"})  # RFC 9113 section 8.2.2
_ROUTE_SECONDS = 5.0  # that a body which is larger than the setting is held back until its route is known
_SHED_RETRY_AFTER = "1"  # seconds
_SHED_LOG_INTERVAL = 1.0  # seconds between two log lines about requests that were shed


def _identify(headers: Sequence[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == _ID_HEADER and _SANE_ID.fullmatch(value):
            return str(value, "ascii")
    return str(uuid7())


class Load:
    """The requests that one app works on at once.

    A request counts from the moment when it is let in until its response begins, or its websocket is accepted. While
    it waits for its body it does not count, because then only its client works.

    Args:
        most: How many may count; more are shed.
        exempt: Paths whose requests are never shed.

    Attributes:
        working: How many count now.
        shed: How many were refused.
    """

    __slots__ = ("_logged_at", "_unlogged", "exempt", "most", "shed", "working")

    def __init__(self, most: int, exempt: Collection[str] = ()) -> None:
        self.most = most
        self.exempt = frozenset(exempt)
        self.working = 0
        self.shed = 0
        self._unlogged = 0
        self._logged_at = -_SHED_LOG_INTERVAL

    def must_shed(self, scope: MutableMapping[str, Any]) -> bool:
        """Return whether a request that comes while `most` count is to be refused, and note it."""
        if scope["path"].removeprefix(scope.get("root_path", "")) in self.exempt:
            return False
        self.shed += 1
        self._unlogged += 1
        now = time.monotonic()
        if now - self._logged_at >= _SHED_LOG_INTERVAL:
            logger.warning("overloaded: %d requests at once, %d more were refused", self.working, self._unlogged)
            self._unlogged, self._logged_at = 0, now
        return True


class _Exchange:
    """The messages of one request on their way through the guard.

    Args:
        scope: The request's.
        receive: The server's.
        send: The server's.
        stages: Those of the guard that see responses.
        load: Where the request counts.
        max_body: The largest body, in bytes.
        state: The request's.
    """

    __slots__ = (
        "_awaits_body",
        "_content_type",
        "_held",
        "_is_bodiless",
        "_load",
        "_max_body",
        "_receive",
        "_received",
        "_replaced",
        "_send",
        "_stages",
        "_state",
        "counts",
        "ended",
        "gone",
        "prefix",
        "request_id",
        "scope",
        "started",
    )

    def __init__(
        self,
        scope: MutableMapping[str, Any],
        receive: Any,
        send: Any,
        *,
        stages: Sequence[Stage],
        load: Load,
        max_body: int,
        state: RequestState,
        request_id: str,
    ) -> None:
        self.scope = scope
        self.request_id = request_id
        self.started = False  # the head of a response has gone to the server
        self.ended = False  # and so has its last part
        self.gone = False  # the client has left
        is_http = scope["type"] == "http"
        self.prefix = "http.response" if is_http else "websocket.http.response"
        self._receive, self._send, self._stages = receive, send, stages
        self._max_body, self._state, self._received = max_body, state, 0
        self._replaced = False  # the app's response was not fit to be sent; another was
        self._content_type = b""
        self._is_bodiless = False
        self._held: Any = None  # the head of the app's response, until its body begins
        self._load = load
        self.counts = False
        self._awaits_body = is_http

    def end_work(self) -> None:
        """Count the request no more: its response begins, or its client has left."""
        self._state.deadline.release()
        if self.counts:
            self._load.working -= 1
            self.counts = False

    async def receive(self) -> Any:
        """Pass a message of the server to the app, and count the bytes of the body."""
        if self._awaits_body and self.counts:
            self._load.working -= 1
            self.counts = False
            try:
                message = await self._receive()
            finally:
                if not self.started and not self.ended:
                    self._load.working += 1
                    self.counts = True
        else:
            message = await self._receive()
        kind = message["type"]
        if kind == "http.request":
            self._awaits_body = message.get("more_body", False)
            self._received += len(message.get("body", b""))
            most = self._state.max_body_bytes or self._max_body
            if self._received > most and self._received > await self._most():
                self._state.deadline.stop(ContentTooLarge("the body is too large", headers={"Connection": "close"}))
        elif kind in {"http.disconnect", "websocket.disconnect"}:
            self.gone = True
        return message

    async def _most(self) -> int:
        """Return the largest body that the route takes; the app gets no more until the route is known."""
        if self._state.route_known is not None:
            try:
                async with asyncio.timeout(_ROUTE_SECONDS):
                    await self._state.route_known.wait()
            except TimeoutError:  # middleware wants the whole body before it calls the app
                return self._max_body
        return self._state.max_body_bytes or self._max_body

    async def send(self, message: Any) -> None:
        """Pass a message of the app to the server; an error that is not JSON is replaced by a problem."""
        kind = message["type"]
        if kind == "http.response.start" or kind == "websocket.http.response.start":
            await self._send_start(message)
        elif kind == "http.response.body" or kind == "websocket.http.response.body":
            if self._replaced:
                return
            if self._held is not None:
                await self._release()
            if self._is_bodiless:
                message = {**message, "body": b""}
            if not message.get("more_body", False):
                self.ended = True
            await self._send(message)
        else:
            if kind == "websocket.close" and self._state.close_code is not None:
                message = {**message, "code": self._state.close_code}
            if kind in {"websocket.accept", "websocket.close"}:
                self.started, self.ended = True, kind == "websocket.close"
                self.end_work()
            await self._release()
            await self._send(message)

    async def _release(self) -> None:
        if self._held is not None:
            message, self._held = self._held, None
            self.started = True
            self.end_work()
            await self._send(message)

    async def _send_start(self, message: Any) -> None:
        status, headers = message["status"], [*message.get("headers", ())]
        if not isinstance(status, int) or not 200 <= status <= 599:
            logger.error("the app answered %r %s with the status %r, not one from 200 to 599", *self._named(), status)
            self._replaced = True
            await self.refuse(problem_for(500))
            return
        names = b"\n".join([name for name, _ in headers])
        if names != names.lower():  # ASGI wants them so; middleware may differ
            headers = [(name.lower(), value) for name, value in headers]
        content_type = b""
        for name, value in headers:
            if name == b"content-type":
                content_type = value
                break
        if status >= 400 and not _JSON_TYPE.match(content_type):
            self._replaced = True
            kept = [field for field in headers if not is_of_the_body(field[0].decode("latin-1"))]
            await self._write(status, problem_bytes(problem_for(status), request_id=self.request_id), kept)
            return
        if status in BODILESS:
            headers = [field for field in headers if field[0] not in _OF_A_BODY]
            headers += [(b"content-length", b"0")] if status == 205 else []  # RFC 9110 section 15.3.6
            self._is_bodiless = True
        self._content_type = content_type
        self._complete(status, headers)
        # Until the body begins, a response that fails (such as a stream before its first part) can be replaced.
        self._held = {**message, "headers": headers}
        if content_type.startswith(_EVENT_STREAM):  # its client waits for the head alone
            await self._release()

    async def reply(self, reply: Reply) -> None:
        """Send the reply of a stage."""
        self._replaced, self._held = True, None
        headers = list(reply.headers)
        if self._cannot_answer():
            await self._close()
            return
        self._complete(reply.status, headers)
        await self._send_whole(reply.status, headers, reply.body)

    async def refuse(self, problem: Problem) -> None:
        """Answer with a problem."""
        self._replaced, self._held = True, None
        try:
            document = problem_bytes(problem, request_id=self.request_id)
        except (TypeError, ValueError):
            logger.exception("a member of %s is not a JSON value", type(problem).__name__)
            problem = problem_for(500)
            document = problem_bytes(problem, request_id=self.request_id)
        headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in problem.headers]
        await self._write(problem.status, document, headers)

    async def break_off(self) -> None:
        """End a response that has begun and cannot be finished, so that the client notices."""
        self.ended = True
        if self.scope["type"] == "websocket":
            await self._send({"type": "websocket.close", "code": 1011})
        elif self._content_type.startswith(_NDJSON):
            record = b"\n" + problem_bytes(problem_for(500), request_id=self.request_id) + b"\n"
            await self._send({"type": "http.response.body", "body": record, "more_body": False})

    async def _write(self, status: int, document: bytes, headers: Headers) -> None:
        if self._cannot_answer():
            await self._close()
            return
        headers += [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", b"%d" % len(document))]
        if status == 405 and self.scope["type"] == "http" and not any(name == b"allow" for name, _ in headers):
            headers.append((b"allow", b""))  # RFC 9110 section 15.5.6 asks for one
        self._complete(status, headers)
        await self._send_whole(status, headers, document)

    async def _send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.started = self.ended = True
        self.end_work()
        await self._send({"type": f"{self.prefix}.start", "status": status, "headers": headers})
        await self._send({"type": f"{self.prefix}.body", "body": body, "more_body": False})

    def _complete(self, status: int, headers: Headers) -> None:
        surplus = _OF_HTTP1 if self.scope.get("http_version") in {"2", "3"} else _OF_GUARD
        for name, _ in headers:
            if name in surplus:
                headers[:] = [field for field in headers if field[0] not in surplus]
                break
        headers.append((_ID_HEADER, self.request_id.encode()))
        for stage in self._stages:
            try:
                stage.after(self.scope, status, headers)
            except Exception:
                logger.exception("stage %s failed after the response to %r %s", type(stage).__name__, *self._named())

    def _cannot_answer(self) -> bool:
        websocket = self.scope["type"] == "websocket"
        return websocket and "websocket.http.response" not in (self.scope.get("extensions") or {})

    async def _close(self) -> None:
        self.started = self.ended = True
        await self._send({"type": "websocket.close", "code": 1008})  # the server turns it into a 403

    def _named(self) -> tuple[str, str]:
        return self.scope.get("method", "websocket"), self.scope["path"]


_NOTHING: frozenset[Any] = frozenset()
_Scope = MutableMapping[str, Any]
_ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


class ResponseTimedOut(Exception):
    """A response was not sent within RESPONSE_TIMEOUT: the client, or the source of the stream, is too slow."""


class Guard:
    """Gives each request an id and a deadline, runs the stages, and answers whatever happens inside the app.

    Args:
        stages: Run in this order, before the app and after it.
        request_timeout: Seconds until the work on a request is stopped; None for no limit.
        max_body_bytes: The largest body, in bytes.
        draining: Where the deadlines of the requests being served are found when the service stops.
        load: The requests that it lets in at once; any number without it.

    Attributes:
        counts: Failures that no response could report: `stream_failed`, `response_timeout`.
        waits_for_routes: Whether routes have limits of their own.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        request_timeout: float | None,
        max_body_bytes: int,
        draining: Draining | None = None,
        load: Load | None = None,
    ) -> None:
        self.stages = tuple(stages)
        self._before = [stage for stage in stages if type(stage).before is not Stage.before]
        self._after = [stage for stage in stages if type(stage).after is not Stage.after]
        self.load = Load(2**63) if load is None else load
        self.deadlines = set() if draining is None else draining.deadlines
        self.request_timeout = request_timeout
        self.max_body_bytes = max_body_bytes
        self.counts: Counter[str] = Counter()
        self.waits_for_routes = False

    async def serve(self, app: _ASGIApp, scope: _Scope, receive: Any, send: Any) -> None:
        """Serve one request, HTTP or websocket, with an app."""
        deadline = NO_DEADLINE
        if scope["type"] == "http":
            deadline = Deadline(self.request_timeout)
            self.deadlines.add(deadline)
        request_id = _identify(scope["headers"])
        state = RequestState(request_id, deadline, decided=_NOTHING)
        if self.waits_for_routes:
            state.route_known = asyncio.Event()
        exchange = _Exchange(
            scope,
            receive,
            send,
            stages=self._after,
            load=self.load,
            max_body=self.max_body_bytes,
            state=state,
            request_id=request_id,
        )
        token = request_state_var.set(state)  # a request made inside another one has its own
        try:
            with ContainedExits():
                await self.let_in(app, exchange)
        except Exception as error:  # noqa: BLE001  (this is the outermost layer)
            await self.answer_failure(exchange, error)
        finally:
            exchange.ended = True
            if exchange.counts:
                exchange.end_work()
            request_state_var.reset(token)
            self.deadlines.discard(deadline)

    async def let_in(self, app: _ASGIApp, exchange: _Exchange) -> None:
        """Run the stages, then the app."""
        try:
            reply = self.ask_stages(exchange.scope)
        except Problem as problem:
            await exchange.refuse(problem)
            return
        if reply is not None:
            await exchange.reply(reply)
            return
        load = self.load
        if load.working >= load.most and load.must_shed(exchange.scope):
            await exchange.refuse(Overloaded(headers={"Retry-After": _SHED_RETRY_AFTER}))
            return
        load.working += 1
        exchange.counts = True
        await app(exchange.scope, exchange.receive, exchange.send)
        if not exchange.started and not exchange.gone:
            logger.error("the app did not answer %r %s", exchange.scope.get("method"), exchange.scope["path"])
            await exchange.refuse(problem_for(500))

    def ask_stages(self, scope: _Scope) -> Reply | None:
        """Return the first reply of a stage."""
        for stage in self._before:
            reply = stage.before(scope)
            if reply is not None:
                return reply
        return None

    async def answer_failure(self, exchange: _Exchange, error: Exception) -> None:
        """Answer an exception that nothing inside handled. It is logged here, once, and goes no further."""
        if isinstance(error, HTTPException) and not exchange.started:
            await exchange.refuse(problem_of_http(error))
            return
        if exchange.gone:
            logger.info("%s after the client had left", type(error).__name__)
            return
        if isinstance(error, ResponseTimedOut):
            logger.error("%s", error)  # perhaps it is the client that is slow, and there may be many
        else:
            logger.error("unhandled exception outside the app's own handling", exc_info=error)
        if not exchange.started:
            await exchange.refuse(problem_for(500))
        elif not exchange.ended:
            self.counts["response_timeout" if isinstance(error, ResponseTimedOut) else "stream_failed"] += 1
            await exchange.break_off()
