"""Count the calls of one request to any ASGI app, in process.

It needs nothing but Python, so that it also runs in the environments of other frameworks:
`python -m bench.counting < asked.json` counts for the app that `asked.json` names, and prints the calls as JSON.
"""

import asyncio
import gc
import importlib
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

WARM = 20  # requests before the first that is counted
REPEAT = 20

App = Callable[[Any, Any, Any], Awaitable[None]]


class Calls(NamedTuple):
    """The calls of one request."""

    python: int
    c: int

    @property
    def total(self) -> int:
        """Calls of both kinds."""
        return self.python + self.c


def request(method: str, target: str, token: bytes = b"", body: bytes = b"") -> tuple[dict[str, Any], bytes]:
    """Return the ASGI scope and the body of a request."""
    path, _, query = target.partition("?")
    headers = [(b"host", b"localhost"), (b"user-agent", b"bench"), (b"accept", b"*/*")]
    if token:
        headers.append((b"authorization", token))
    if body:
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8000),
        "extensions": {},
        "state": {},
    }
    return scope, body


async def count(app: App, scope: dict[str, Any], body: bytes) -> Calls:
    """Return the calls of a request once everything is cached: the least of several, though they rarely differ."""
    for _ in range(WARM):
        await answer(app, scope, body)
    gc.collect()
    gc.disable()
    try:
        return min([await profile(app, scope, body) for _ in range(REPEAT)], key=lambda calls: calls.total)
    finally:
        gc.enable()


async def profile(app: App, scope: dict[str, Any], body: bytes) -> Calls:
    """Count the calls of one request, in this thread."""
    python = c = 0

    def see(_frame: object, event: str, _argument: object) -> None:
        nonlocal python, c
        if event == "call":
            python += 1
        elif event == "c_call":
            c += 1

    sys.setprofile(see)
    try:
        await answer(app, scope, body)
    finally:
        sys.setprofile(None)
    return Calls(python, c)


async def answer(app: App, scope: dict[str, Any], body: bytes) -> None:
    """Send a request to the app and check that it succeeds."""
    sent = asyncio.Event()
    asked = False
    status = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await sent.wait()
            return {"type": "http.disconnect"}
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif not message.get("more_body"):
            sent.set()

    await app({**scope, "headers": list(scope["headers"]), "state": {}}, receive, send)
    if not 200 <= status <= 299:
        raise RuntimeError(f"{scope['method']} {scope['path']} was answered with {status}")


async def count_all(asked: dict[str, Any]) -> dict[str, Calls]:
    """Count the calls of each request to an app, between its start and its end (ASGI's lifespan).

    Args:
        asked: `app`, as `module:name`; `is_factory`; and `requests`, which has the arguments of `request` by name.
    """
    module, _, name = asked["app"].partition(":")
    app = getattr(importlib.import_module(module), name)
    if asked["is_factory"]:
        app = app()
    messages: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    answers: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    lifespan = asyncio.create_task(
        app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, messages.get, answers.put)
    )
    messages.put_nowait({"type": "lifespan.startup"})
    started = await answers.get()
    if started["type"] != "lifespan.startup.complete":
        raise RuntimeError(f"{asked['app']} did not start: {started}")
    counted = {
        route: await count(app, *request(method, target, token.encode(), body.encode()))
        for route, (method, target, token, body) in asked["requests"].items()
    }
    messages.put_nowait({"type": "lifespan.shutdown"})
    await answers.get()
    await lifespan
    return counted


if __name__ == "__main__":
    print(json.dumps(asyncio.run(count_all(json.load(sys.stdin)))))
