"""`LigandQuart`, the class of the app, and everything else here that overrides Quart or a converter of werkzeug.

Each override is for Quart 0.22 and says what Quart does there. `tests/web/test_quart_overrides.py` has a test of each
against a stock Quart, which fails once the override is not needed any more. The request class and the parser of forms
are in `request.py`, the response class in `response.py`, the connections to the server in `connection.py`, and the test
client in `client.py`.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar, cast

from quart import got_websocket_exception
from quart.ctx import WebsocketContext
from quart.globals import websocket_ctx
from quart.routing import QuartRule
from quart.signals import websocket_tearing_down
from werkzeug.exceptions import HTTPException
from werkzeug.routing import FloatConverter, IntegerConverter, RequestRedirect

from ligand_async.auth import AccessError
from ligand_async.context import request_state, request_state_var
from ligand_async.draining import begin_draining, draining_of
from ligand_async.marks import access_mark, note_registered
from ligand_async.signals import (
    Signal,
    deliver,
    service_started,
)
from ligand_async.tasks import ContainedExits, app_var
from ligand_async.web.client import LigandClient
from ligand_async.web.connection import HTTPConnection, LigandWebsocket, Watch, WebsocketConnection
from ligand_async.web.dispatch import Dispatch, newest_first
from ligand_async.web.endpoint import note_routed
from ligand_async.web.guard import Guard
from ligand_async.web.request_limits import find_route_limits
from ligand_async.web.response import RangeResponse
from ligand_async.web.syntax import Syntax

logger = logging.getLogger(__name__)

_WhileServing = TypeVar("_WhileServing", bound=Callable[[], AsyncGenerator[None]])

_STOP_SECONDS = 30.0  # for an app that runs without a server, to stop


class _Rule(QuartRule):
    """A rule that compiles the functions that build its URLs when the first URL is built.

    werkzeug 3.1 compiles both when a rule is added, which takes longer than all else that it takes to make an app.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compile_now = super()._compile_builder
        name = "_build_unknown" if append_unknown else "_build"

        def build(rule: "_Rule", **values: Any) -> tuple[str, str]:
            builder = compile_now(append_unknown).__get__(rule, None)
            setattr(rule, name, builder)
            return cast(tuple[str, str], builder(**values))

        return build


class LigandQuart(Dispatch):
    """A `quart.Quart` whose requests pass the guard, end at their deadline and always get a response.

    Code that uses a Quart can use this: the methods below differ only for requests that are wrong or that fail.

    Attributes:
        guard: Stands around everything, also around middleware that is put around `asgi_app`.
        is_started: Whether the app has been started and not been stopped.
        watch: Watches the clients of slow requests.
        closers: Run when the start fails, because Quart runs no function after serving then.
    """

    guard: Guard
    _registering = 0  # calls of `register_blueprint` that run
    _resumed: tuple[int, str | None] = (0, None)  # the number of blueprints when one returned, and which goes on
    url_rule_class = _Rule  # type: ignore[assignment]  # as Quart does
    asgi_http_class = HTTPConnection
    asgi_websocket_class = WebsocketConnection
    websocket_class = LigandWebsocket
    response_class = RangeResponse
    test_client_class = LigandClient  # type: ignore[assignment]  # Quart's protocol leaves the constructor open

    def __init__(self, import_name: str, **options: Any) -> None:
        super().__init__(import_name, **options)
        self.url_map.converters = {**self.url_map.converters, "int": AsciiInteger, "float": AsciiFloat}
        self.guard = Guard([], request_timeout=None, max_body_bytes=2**63)
        self.watch = Watch()
        self.is_started = False
        self.closers: list[Callable[[], Awaitable[None]]] = []
        self._while_serving: list[Callable[[], AsyncGenerator[None]]] = []

    # Blueprints. Nested ones are registered by Quart itself, which enters each in `blueprints` before it runs the
    # functions that `record` added.

    def register_blueprint(self, blueprint: Any, **options: Any) -> None:
        """Register a blueprint, and know which one a function of `record` belongs to."""
        interrupted = self._current_blueprint()
        self._registering += 1
        try:
            super().register_blueprint(blueprint, **options)
        finally:
            self._registering -= 1
            self._resumed = (len(self.blueprints), interrupted)

    def _current_blueprint(self) -> str | None:
        if not self._registering:
            return None
        count, name = self._resumed
        return name if count == len(self.blueprints) else next(reversed(self.blueprints), None)

    def add_url_rule(
        self, rule: str, endpoint: str | None = None, view_func: Any = None, *arguments: Any, **options: Any
    ) -> None:
        """Add a route.

        Raises:
            AccessError: A function of `Blueprint.record` adds it to the app itself, where the access decorator of the
                blueprint does not hold.
        """
        current = self._current_blueprint()
        if current is not None:
            name = str(endpoint or getattr(view_func, "__name__", ""))
            names = current.split(".")
            for path in (".".join(names[:depth]) for depth in range(len(names), 0, -1)):
                mark = access_mark(self.blueprints.get(path))
                if mark is not None and not name.startswith(f"{path}."):
                    raise AccessError(
                        f"blueprint {path} has the mark {mark}, and a function of its record() adds {rule} to the app, "
                        "where the mark does not hold; add the route to the state: state.add_url_rule(…)"
                    )
        note_registered(view_func)
        note_routed(view_func)
        super().add_url_rule(rule, endpoint, view_func, *arguments, **options)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one scope of the ASGI server; requests pass the guard first."""
        if scope["type"] not in {"http", "websocket"}:
            await self.asgi_app(scope, receive, send)
        elif request_state_var.get() is None:
            await self._serve(scope, receive, send)
        else:  # inside another request: what this one sets stays its own
            await asyncio.create_task(self._serve(scope, receive, send))

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        app_var.set(self)  # a streamed body is made when Quart has popped its contexts
        await self.guard.serve(super().__call__, scope, receive, send)  # which error trackers patch

    def signal(self, name: str) -> Signal:
        """Return a signal of the service's own, sent and heard for this app: `Signal(name)` is the same for all."""
        return Signal(name, app=self)

    def collect_route_limits(self) -> None:
        """Find the limits of single routes, and let the guard in what the largest of them takes."""
        self.route_limits = limits = find_route_limits(self, self.guard.max_body_bytes)
        self.guard.waits_for_routes = limits is not None
        if limits is None:
            return
        self.config["MAX_CONTENT_LENGTH"] = limits.largest  # Quart makes the body before the route is known
        for stage in self.guard.stages:
            if isinstance(stage, Syntax):
                stage.max_body = limits.largest

    # Start and stop.

    async def startup(self) -> None:
        """Run the functions before serving, then send `service_started`."""
        draining_of(self).begin_anew()  # an app may run again after a stop
        try:
            await super().startup()
        except BaseException:
            for close in self.closers:
                try:
                    await close()
                except Exception:
                    logger.exception("what was opened for the start could not be closed")
            raise
        self.is_started = True
        async with self.app_context():
            await deliver(service_started, self)

    async def shutdown(self) -> None:
        """Wait for background tasks and run the functions after serving.

        `service_draining` is sent first, if the server has not done so.
        """
        self.is_started = False
        await begin_draining(self)
        await super().shutdown()
        self.while_serving_gens = [function() for function in self._while_serving]

    def while_serving(self, func: _WhileServing) -> _WhileServing:
        """Add a generator function that runs from start to stop. In Quart an app with one can start only once."""
        self._while_serving.append(func)
        return super().while_serving(func)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Run the app without serving it, for a script: `async with create_app().running() as app:`.

        The app is started, the block runs in its context, and the app is stopped as by the server: it waits for
        background tasks, closes services and then the database. The exception of the block is the one that is raised.
        The app can be run again afterwards.

        Raises:
            RuntimeError: The app runs already.
            TimeoutError: The app did not stop within 30 s, besides the time that Quart gives background tasks.
        """
        if self.is_started:
            raise RuntimeError(f"app {self.name!r} runs already; its context is `async with app.app_context()`")
        await self.startup()
        try:
            async with self.app_context():
                yield self
        except BaseException:
            try:
                await self._stop_in_time()
            except Exception:
                logger.exception("the app did not stop properly; what ended it before is raised")
            raise
        await self._stop_in_time()

    async def _stop_in_time(self) -> None:
        seconds = _STOP_SECONDS + float(self.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"])
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await self.shutdown()
        except TimeoutError as error:
            if limit.expired():
                raise TimeoutError(
                    f"the app did not stop within {seconds:g} s: a function after serving hangs"
                ) from error
            raise

    def add_background_task(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run a function in the background. In Quart a `SystemExit` there ends the server."""

        async def run() -> None:
            with ContainedExits():
                await self.ensure_async(func)(*args, **kwargs)

        super().add_background_task(run)

    # Websockets. In Quart a `SystemExit` of theirs ends the server.

    async def preprocess_websocket(self, websocket_context: WebsocketContext | None = None) -> Any:
        """Authenticate the caller, then run the functions before the websocket's view."""
        with ContainedExits():
            if self.enforcement is not None:
                await self.enforcement.check_websocket()
            return await super().preprocess_websocket(websocket_context)

    async def dispatch_websocket(self, websocket_context: WebsocketContext | None = None) -> Any:
        """Run the websocket's view. For a missing slash Quart redirects as for a request."""
        context = websocket_context or websocket_ctx
        if isinstance(context.websocket.routing_exception, RequestRedirect):
            return self._redirect(context.websocket.routing_exception, context.url_adapter)
        with ContainedExits():
            return await super().dispatch_websocket(websocket_context)

    async def finalize_websocket(self, result: Any, *arguments: Any, **options: Any) -> Any:
        """Finish a websocket; an accepted one that ends in an error has the close code of RFC 6455 section 7.4.1.

        Quart closes all with 1000, which means success.
        """
        response = await super().finalize_websocket(result, *arguments, **options)
        if response is not None and response.status_code >= 400:
            request_state().close_code = 1011 if response.status_code >= 500 else 1008
        return response

    async def handle_websocket_exception(self, error: Exception) -> Any:
        """Do the same for a websocket."""
        if isinstance(error, HTTPException):
            result = await self.handle_user_exception(error)
            return await self.finalize_websocket(result, from_error_handler=True)
        with ContainedExits():
            return await self._answer_unhandled(error, got_websocket_exception, self.finalize_websocket)

    async def do_teardown_websocket(
        self, exc: BaseException | None, websocket_context: WebsocketContext | None = None
    ) -> None:
        """Run the teardown functions of a websocket, then the receivers of its signal."""
        blueprints = (websocket_context or websocket_ctx).websocket.blueprints
        functions = newest_first(self.teardown_websocket_funcs, [*blueprints, None])
        await self._tear_down(functions, websocket_tearing_down, exc)


class AsciiInteger(IntegerConverter):
    """`<int:…>` in ASCII digits; werkzeug 3.1 takes those of every script."""

    regex = "[0-9]+"


class AsciiFloat(FloatConverter):
    """`<float:…>`, the same."""

    regex = r"[0-9]+\.[0-9]+"
