"""Logs: one JSON object a line where machines read them, readable lines where people do; the access log."""

import asyncio
import logging
import re
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from ligand_async.context import current_request_id
from ligand_async.settings import Settings

logger = logging.getLogger("ligand_async.ops.access")

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SECRET_PARTS = re.compile(r"(?<=://)[^/?#@]*@|[?#].*", re.DOTALL)
_HANDLER_NAME = "ligand_async"


def init_logs(settings: Settings) -> None:
    """Send the log of this process to stderr, once: JSON in `prod` and `stage`, coloured text in `local`.

    `testing` and `cli` leave logging as they find it, and so does a process whose root logger has handlers already.
    Loggers with a handler of their own, such as that of the `hypercorn` command, go on writing by it alone.
    """
    # Whoever configures logging, now or later: filters of a logger stay where handlers and levels are replaced.
    for name in _HTTP_CLIENTS:
        logging.getLogger(name).addFilter(_hide_queries)
    root = logging.getLogger()
    if settings.environment in {"testing", "cli"} or root.handlers:
        return
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request_id,
    ]
    foreign = shared if settings.environment == "local" else [*shared, _add_request_fields]
    handler = logging.StreamHandler(sys.stderr)
    handler.name = _HANDLER_NAME
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=foreign,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(settings.environment)],
        )
    )
    handler.addFilter(_is_ours_to_write)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # below it writes whole URLs, query strings included
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


_HTTP_CLIENTS = ("httpx2", "httpx")  # which write whole URLs, and those may hold secrets


def _hide_queries(record: logging.LogRecord) -> bool:
    """Take user, query and fragment out of the URLs that a record would write."""
    if isinstance(record.args, tuple):
        record.args = tuple(_shown(one) for one in record.args)
    return True


def _shown(argument: Any) -> Any:
    text = str(argument)
    if not _URL.match(text):
        return argument
    return _SECRET_PARTS.sub("", text)


def _is_ours_to_write(record: logging.LogRecord) -> bool:
    """Return whether the record's logger has no handler of its own, which would write the line a second time."""
    return not logging.getLogger(record.name).handlers


def _renderers(environment: str) -> list[Processor]:
    """Return the renderers of a line: with a readable traceback on a terminal, a flat one in JSON."""
    if environment == "local":
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _add_request_id(logger: Any, method: str, event: EventDict) -> EventDict:  # noqa: ARG001  (structlog's signature)
    request_id = current_request_id()
    if request_id is not None:
        event["request_id"] = request_id
    return event


def _add_request_fields(logger: Any, method: str, event: EventDict) -> EventDict:  # noqa: ARG001  (structlog's signature)
    fields = getattr(event.get("_record"), FIELDS, None)
    return event if fields is None else {**event, **fields}


_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[Any]]
_Send = Callable[[Any], Awaitable[None]]
ASGIApp = Callable[[Any, _Receive, _Send], Awaitable[None]]


FIELDS = "request_fields"  # the attribute of a log record that holds them
_LONGEST_PATH = 1024  # characters
_LONGEST_PATH_SHOWN = 120  # where people read
_LONGEST_METHOD = 32
_UNPRINTABLE = re.compile(r"[^ -~]")
_STARTS = frozenset({"http.response.start", "websocket.http.response.start"})
_LEFT = frozenset({"http.disconnect", "websocket.disconnect"})
_BODIES = frozenset({"http.response.body", "websocket.http.response.body"})


@dataclass(slots=True)
class Access:
    """The line of one request in the access log, without its headers and query string.

    Attributes:
        method: None if the request could not be parsed.
        path: The path as it was sent, without the query string; None as for `method`.
        http_version: None as for `method`.
        client: The client's address, as the trusted proxies report it.
        status: None if the client left before the answer.
        request_id: The request id of the answer.
        bytes: The length of the answer's body.
        duration_ms: From the request's head to the end of the answer.
    """

    method: str | None = None
    path: str | None = None
    http_version: str | None = None
    client: str | None = None
    status: int | None = None
    request_id: str | None = None
    bytes: int = 0
    duration_ms: float = 0.0

    def write(self) -> None:
        """Write the line: short as text, whole where the log is JSON."""
        fields = {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}
        path = (self.path or "-")[:_LONGEST_PATH_SHOWN]
        text = (self.method or "-", path, self.status or "-", self.duration_ms)
        logger.info("%s %s %s %.1f ms", *text, extra={FIELDS: fields})


class AccessLog:
    """An ASGI layer around the whole app that writes the line of each request that reaches it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: _Receive, send: _Send) -> None:
        """Serve a request and write its line, whatever becomes of it; nothing is done where nobody writes it."""
        if scope["type"] not in {"http", "websocket"} or not logger.isEnabledFor(logging.INFO):
            await self.app(scope, receive, send)
            return
        method = scope.get("method", "GET")  # a websocket begins as one
        access = Access(method=_printable(method)[:_LONGEST_METHOD], path=path_of(scope))
        access.http_version = scope.get("http_version")

        has_left = False

        async def observe_client() -> Any:
            nonlocal has_left
            message = await receive()
            has_left = has_left or message["type"] in _LEFT
            return message

        async def observe_app(message: _Message) -> None:
            _note_answer(access, message, is_head=method == "HEAD")
            await send(message)

        start = time.perf_counter()
        try:
            await self.app(scope, observe_client, observe_app)
        except asyncio.CancelledError:
            has_left = True  # or the server stops, and no answer is sent
            raise
        finally:
            if access.status is None and not has_left:
                access.status = 500  # which the server answers for an app that does not
            access.duration_ms = round((time.perf_counter() - start) * 1000, 1)
            access.client = client_of(scope.get("client"))  # now, because proxies may have been looked through
            access.write()


def _note_answer(access: Access, message: _Message, *, is_head: bool) -> None:
    """Take status, request id and length from a message of the app."""
    kind = message["type"]
    if kind in _STARTS:
        access.status = message["status"]
        identity = next((value for name, value in message["headers"] if name.lower() == b"x-request-id"), None)
        access.request_id = None if identity is None else _printable(bytes(identity).decode("latin-1"))
    elif kind in _BODIES and not is_head:
        access.bytes += len(message.get("body", b""))
    elif kind == "websocket.accept":
        access.status = 101
    elif kind == "websocket.close" and access.status is None:
        access.status = 403  # which the server answers then


def path_of(scope: Any) -> str:
    """Return the path as it came, percent-encoded, in printable characters and not too long."""
    raw = bytes(scope.get("raw_path") or b"").partition(b"?")[0]
    if not raw.startswith(b"/"):
        return "-"  # a target in another form may hold a password
    return _printable(raw.decode("latin-1"))[:_LONGEST_PATH]


def _printable(text: str) -> str:
    """Return a text in which nothing can end a line or move a cursor."""
    return _UNPRINTABLE.sub(lambda found: f"\\x{ord(found.group()):02x}", text)


def client_of(address: Any) -> str | None:
    """Return the host of an address as ASGI has it."""
    return _printable(str(address[0])) if address else None
