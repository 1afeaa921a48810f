"""Another service for tests: a real HTTP server in a thread that fails as it is told, and a token endpoint that counts.

with Upstream() as upstream:
    client = ServiceClient(upstream.url, credentials=upstream.credentials())
    upstream.script("/items", 503, 503, {"n": 1})     # what it answers, one after the other; the last one stays
    upstream.script("/items", raw(b"nonsense"))       # any bytes
    upstream.script("/items", HANG)
    assert upstream.asked["/items"] == 3
    assert upstream.requests[-1].headers["Authorization"] == "Bearer token-1"
"""

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import pytest

from ligand_async import Problem
from ligand_async.upstream import ClientCredentials, ServiceClient

SECRET = "a-secret-that-nobody-may-see"
TOKEN_PATH = "/token"


@dataclass(frozen=True)
class Reply:
    """What is answered.

    Attributes:
        status: The status.
        body: The body.
        headers: More headers.
        raw: All of the answer, instead.
        pause: Seconds before it; and the connection is reset where there is nothing to send.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    pause: float = 0.0


HANG = Reply(raw=b"", pause=30.0)
RESET = Reply(raw=b"")


def raw(text: bytes) -> Reply:
    """Answer any bytes."""
    return Reply(raw=text)


@dataclass(frozen=True)
class Asked:
    """A request that arrived."""

    method: str
    path: str
    query: str
    headers: Message
    body: bytes


class Server(ThreadingHTTPServer):
    """One thread per connection, for many connections at once."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that have gone."""


class Upstream:
    """A service that listens on 127.0.0.1 as long as its block lasts.

    Attributes:
        asked: How often each path was asked.
        requests: What arrived.
        accepts: The only token that it lets in; None for all.
        lifetime: Seconds that its tokens live, as its token endpoint says.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.requests: list[Asked] = []
        self.accepts: str | None = None
        self.lifetime: Any = 300
        self._scripts: dict[str, list[Reply]] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._server = Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def tokens(self) -> int:
        """How many tokens were asked for."""
        return self.asked[TOKEN_PATH]

    def credentials(self, **options: Any) -> ClientCredentials:
        """Return credentials for its token endpoint."""
        return ClientCredentials("shop", SECRET, **{"token_url": self.url + TOKEN_PATH, **options})

    def script(self, path: str, *replies: Reply | int | Any) -> None:
        """Let a path answer: replies, statuses or JSON values."""
        self._scripts[path] = [reply_of(reply) for reply in replies]

    def respond(self, asked: Asked) -> Reply:
        """Return the answer to a request."""
        with self._lock:
            self.asked[asked.path] += 1
            self.requests.append(asked)
            shown = asked.headers.get("Authorization")
            if self.accepts is not None and asked.path != TOKEN_PATH and shown != f"Bearer {self.accepts}":
                return Reply(401)
            script = self._scripts.get(asked.path)
            if script:
                return script.pop(0) if len(script) > 1 else script[0]
            if asked.path == TOKEN_PATH:
                token = {"access_token": f"token-{self.tokens}", "token_type": "Bearer", "expires_in": self.lifetime}
                return reply_of(token)
            return reply_of({"path": asked.path})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                path, _, query = self.path.partition("?")
                reply = upstream.respond(Asked(self.command, path, query, self.headers, body))
                upstream._over.wait(reply.pause)
                if reply.raw is not None:
                    self.close_connection = True
                    self.wfile.write(reply.raw)
                    if not reply.raw:
                        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        self.connection.close()
                    return
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)

            do_GET = do_HEAD = do_OPTIONS = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815  (the server's names)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        return Handler


def reply_of(reply: Reply | int | Any) -> Reply:
    """Return what a line of a script means."""
    if isinstance(reply, Reply):
        return reply
    return Reply(reply) if isinstance(reply, int) else Reply(body=json.dumps(reply).encode())


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def wait_until(condition: Any, seconds: float = 5.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never was so"
        time.sleep(0.005)


async def failure(client: ServiceClient, path: str = "/items", method: str = "GET", **options: Any) -> Problem:
    """Return the problem that a call ends with."""
    with pytest.raises(Problem) as caught:
        await client.request(method, path, **options)
    return caught.value
