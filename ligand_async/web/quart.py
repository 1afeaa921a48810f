"""`LigandQuart`, the class of the app, and everything else here that overrides Quart or a converter of werkzeug.

Each override is for Quart 0.22 and says what Quart does there. `tests/web/test_quart_overrides.py` has a test of each
against a stock Quart, which fails once the override is not needed any more. The request class and the parser of forms
are in `request.py`, the response class in `response.py`, the connections to the server in `connection.py`, and the test
client in `client.py`.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, cast
from urllib.parse import urlsplit, urlunsplit

from quart import Quart, Request, Response, got_request_exception, got_websocket_exception
from quart.ctx import RequestContext, WebsocketContext
from quart.globals import request_ctx, websocket_ctx
from quart.sessions import SessionMixin
from quart.signals import appcontext_tearing_down, request_tearing_down, websocket_tearing_down
from quart.typing import ResponseTypes
from quart.wrappers.response import FileBody
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.routing import FloatConverter, IntegerConverter, MapAdapter, RequestRedirect

from ligand_async.auth import AccessError, Enforcement
from ligand_async.context import current_deadline, current_operation_id, current_principal, request_state
from ligand_async.draining import begin_draining, draining_of
from ligand_async.marks import access_mark, note_registered
from ligand_async.signals import (
    Signal,
    announce,
    deliver,
    operation_completed,
    receivers_of,
    service_started,
)
from ligand_async.tasks import CLEANUP_SECONDS, ContainedExits, app_var
from ligand_async.web.client import LigandClient, unhandled_var
from ligand_async.web.connection import HTTPConnection, LigandWebsocket, Watch, WebsocketConnection
from ligand_async.web.endpoint import handler_of, note_routed, operation_of
from ligand_async.web.guard import Guard
from ligand_async.web.problems import (
    blueprints_of_current,
    last_answer,
    named_to_trackers,
    problem_of_answer,
    renderer_of,
)
from ligand_async.web.request_limits import RouteLimits, find_route_limits
from ligand_async.web.response import RangeResponse
from ligand_async.web.scrubbing import without_values
from ligand_async.web.syntax import Syntax

logger = logging.getLogger(__name__)

_WhileServing = TypeVar("_WhileServing", bound=Callable[[], AsyncGenerator[None]])

_STOP_SECONDS = 30.0  # for an app that runs without a server, to stop


class LigandQuart(Quart):
    """A `quart.Quart` whose requests pass the guard, end at their deadline and always get a response.

    Code that uses a Quart can use this: the methods below differ only for requests that are wrong or that fail.

    Attributes:
        guard: Stands around everything, also around middleware that is put around `asgi_app`.
        is_started: Whether the app has been started and not been stopped.
        watch: Watches the clients of slow requests.
        closers: Run when the start fails, because Quart runs no function after serving then.
        route_limits: The limits of single routes; None before the start, and if there are none.
        enforcement: Authenticates callers before anything of the service runs.
    """

    guard: Guard
    enforcement: Enforcement | None = None
    _registering = 0  # calls of `register_blueprint` that run
    _resumed: tuple[int, str | None] = (0, None)  # the number of blueprints when one returned, and which goes on
    asgi_http_class = HTTPConnection
    asgi_websocket_class = WebsocketConnection
    websocket_class = LigandWebsocket
    response_class = RangeResponse
    test_client_class = LigandClient  # type: ignore[assignment]  # Quart's protocol leaves the constructor open

    def __init__(self, import_name: str, **options: Any) -> None:
        super().__init__(import_name, **options)
        self.url_map.converters = {**self.url_map.converters, "int": AsciiInteger, "float": AsciiFloat}
        self.route_limits: RouteLimits | None = None
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
        if scope["type"] in {"http", "websocket"}:
            app_var.set(self)  # a streamed body is made when Quart has popped its contexts
            await self.guard.serve(super().__call__, scope, receive, send)  # which error trackers patch
        else:
            await self.asgi_app(scope, receive, send)

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

    # From request to response. Quart lets all of it take as long as it likes, and a `SystemExit` ends the server.

    async def full_dispatch_request(self, request_context: RequestContext | None = None) -> ResponseTypes:
        """Answer a request, and send `operation_completed`."""
        request = (request_context or request_ctx).request
        if receivers_of(operation_completed, self):
            request_state().started_at = time.perf_counter()
        response = await super().full_dispatch_request(request_context)
        _complete_operation(self, request, response.status_code)
        return response

    async def preprocess_request(self, request_context: RequestContext | None = None) -> Any:
        """Authenticate the caller, then run the functions before the view, until the deadline.

        In Quart the functions of `url_value_preprocessor` come before all others, so before those that authenticate.
        """
        if self.route_limits is not None:
            self.route_limits.apply((request_context or request_ctx).request)
        enforcement = self.enforcement
        names = [None, *(request_context or request_ctx).request.blueprints]
        is_empty = not any(self.before_request_funcs[name] or self.url_value_preprocessors[name] for name in names)
        if enforcement is None and is_empty:
            return None
        with ContainedExits():
            async with current_deadline().limit():
                if enforcement is not None:
                    await enforcement.check_request()
                return None if is_empty else await super().preprocess_request(request_context)

    async def dispatch_request(self, request_context: RequestContext | None = None) -> Any:
        """Run the view, until the deadline.

        For a missing slash Quart redirects to the `Host` that the client wrote. It sends a static file as a whole to
        clients that have it, or that ask for a part.
        """
        context = request_context or request_ctx
        request = context.request
        if isinstance(request.routing_exception, RequestRedirect):
            return self._redirect(request.routing_exception, context.url_adapter)
        with ContainedExits():
            async with current_deadline().limit():
                result = await super().dispatch_request(request_context)
                if isinstance(result, Response) and isinstance(result.response, FileBody) and _is_static(self, request):
                    length = result.content_length
                    return await result.make_conditional(request, accept_ranges=True, complete_length=length)
                return result

    def _redirect(self, redirect: RequestRedirect, adapter: MapAdapter | None) -> Any:
        # The router writes the request's host before each path, in its own spelling. A host that it did not write is
        # one that the service has named (`redirect_to`, another subdomain of SERVER_NAME), and stays.
        url = urlsplit(redirect.new_url)
        location = redirect.new_url
        if not url.netloc or (adapter is not None and url.netloc == adapter.get_host(None)):
            path = "/" + url.path.lstrip("/\\")  # two slashes would begin with a host
            location = urlunsplit(("", "", path, url.query, url.fragment))
        response = self.response_class(status=redirect.code, headers={"Location": location})
        del response.headers["Content-Type"]
        return response

    async def make_default_options_response(self) -> Any:
        """Answer OPTIONS with 204 and `Allow`; Quart answers 200 with an empty HTML page."""
        methods = cast(MapAdapter, request_ctx.url_adapter).allowed_methods()
        response = self.response_class(status=204, headers={"Allow": ", ".join(methods)})
        del response.headers["Content-Type"]
        return response

    async def make_response(self, result: Any) -> Any:
        """Make the response of what a view returned; an error that is not JSON, Quart's HTML, becomes a problem."""
        response = await super().make_response(result)
        problem = problem_of_answer(result, response)
        return response if problem is None else renderer_of(self)(problem)

    async def process_response(
        self, response: ResponseTypes, request_context: RequestContext | None = None
    ) -> ResponseTypes:
        """Run the functions after the view.

        When one fails, the others run again for the error's response. Quart runs the one that fails again too, and
        sends that response without the headers of those behind it.
        """
        context = request_context or request_ctx
        failed = request_state().failed_functions
        functions = [*context._after_request_functions]
        functions += _newest_first(self.after_request_funcs, context.request.blueprints)
        session = cast(SessionMixin, context.session)
        saves = not self.session_interface.is_null_session(session)
        if not functions and not saves:
            return response
        with ContainedExits():
            async with current_deadline().limit(at_least=CLEANUP_SECONDS):
                for function in functions:
                    if function in failed:
                        continue
                    failed.add(function)
                    response = cast(ResponseTypes, await self.ensure_async(function)(response))
                    failed.discard(function)
                if saves:
                    await self.ensure_async(self.session_interface.save_session)(self, session, response)
        return response

    # Exceptions.

    async def handle_user_exception(self, error: Exception) -> Any:
        """Run the error handler of an exception, until the deadline."""
        with ContainedExits():
            async with current_deadline().limit(at_least=CLEANUP_SECONDS):
                return await super().handle_user_exception(error)

    async def handle_exception(self, error: Exception) -> Any:
        """Answer an exception that no error handler took.

        An HTTP exception comes from a function after the view or from an error handler. It means there what it means in
        a view; Quart answers 500. And when the handler of 500 raises, Quart has no response.
        """
        if isinstance(error, HTTPException):
            result = await self.handle_user_exception(error)
            response = await self.finalize_request(result, from_error_handler=True)
        else:
            with ContainedExits():
                response = await self._answer_unhandled(error, got_request_exception, self.finalize_request)
        _complete_operation(self, request_ctx.request, response.status_code)
        return response

    async def handle_websocket_exception(self, error: Exception) -> Any:
        """Do the same for a websocket."""
        if isinstance(error, HTTPException):
            result = await self.handle_user_exception(error)
            return await self.finalize_websocket(result, from_error_handler=True)
        with ContainedExits():
            return await self._answer_unhandled(error, got_websocket_exception, self.finalize_websocket)

    async def _answer_unhandled(self, error: Exception, signal: Any, finalize: Callable[..., Any]) -> Any:
        clean = without_values(error)
        unhandled = unhandled_var.get()
        if unhandled is not None:
            unhandled.append(clean)
        with named_to_trackers():
            try:
                await signal.send_async(self, _sync_wrapper=self.ensure_async, exception=clean)
            except Exception:
                self.logger.exception("a receiver of the signal of an exception failed")
            if self.config["PROPAGATE_EXCEPTIONS"]:
                raise clean
            self.log_exception((type(clean), clean, clean.__traceback__))
        try:
            answer: Any = InternalServerError(original_exception=clean)
            handler = self._find_error_handler(answer, blueprints_of_current())
            if handler is not None:
                answer = await self.ensure_async(handler)(answer)
            return await finalize(answer, from_error_handler=True)
        except Exception:
            self.logger.exception("the response to an unhandled exception could not be made; a plain one was sent")
            return last_answer()

    def log_exception(
        self, exception_info: tuple[type, BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> None:
        """Log an exception without the values that pydantic writes into its own."""
        error = exception_info[1]
        if error is not None:
            clean = without_values(error)
            exception_info = (type(clean), clean, clean.__traceback__)
        super().log_exception(exception_info)  # type: ignore[arg-type]  # an exception that was never raised has no traceback

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

    # Teardown. In Quart the first function that raises keeps the others from running, and the response from being sent.

    async def do_teardown_request(
        self, exc: BaseException | None, request_context: RequestContext | None = None
    ) -> None:
        """Run the teardown functions of a request, then the receivers of its signal."""
        blueprints = (request_context or request_ctx).request.blueprints
        await self._tear_down(_newest_first(self.teardown_request_funcs, blueprints), request_tearing_down, exc)

    async def do_teardown_websocket(
        self, exc: BaseException | None, websocket_context: WebsocketContext | None = None
    ) -> None:
        """Run the teardown functions of a websocket, then the receivers of its signal."""
        blueprints = (websocket_context or websocket_ctx).websocket.blueprints
        await self._tear_down(_newest_first(self.teardown_websocket_funcs, blueprints), websocket_tearing_down, exc)

    async def do_teardown_appcontext(self, exc: BaseException | None) -> None:
        """Run the teardown functions of the app's context, then the receivers of its signal."""
        await self._tear_down(self.teardown_appcontext_funcs, appcontext_tearing_down, exc)

    async def _tear_down(self, functions: Iterable[Callable[..., Any]], signal: Any, exc: BaseException | None) -> None:
        for function in functions:
            await self._run_teardown(self.ensure_async(function), exc)
        if signal.receivers:
            await self._run_teardown(signal.send_async, self, _sync_wrapper=self.ensure_async, exc=exc)

    async def _run_teardown(self, function: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> None:
        # A function that fails is logged; past the deadline it has a second.
        try:
            with ContainedExits():
                async with current_deadline().limit(at_least=CLEANUP_SECONDS):
                    await function(*args, **options)
        except Exception:
            name = getattr(function, "__qualname__", repr(function))
            logger.exception("the teardown function %s failed; the response stands", name)


class AsciiInteger(IntegerConverter):
    """`<int:…>` in ASCII digits; werkzeug 3.1 takes those of every script."""

    regex = "[0-9]+"


class AsciiFloat(FloatConverter):
    """`<float:…>`, the same."""

    regex = r"[0-9]+\.[0-9]+"


def _newest_first(functions: Any, blueprints: Iterable[str]) -> Iterator[Callable[..., Any]]:
    for name in [*blueprints, None]:
        yield from reversed(functions[name])


def _is_static(app: Quart, request: Request) -> bool:
    return getattr(app.view_functions.get(request.endpoint or ""), "__name__", "") == "send_static_file"


def _complete_operation(app: Quart, request: Request, status: int) -> None:
    state = request_state()
    started, state.started_at = state.started_at, None
    if started is None or not _is_operation(app, request):
        return
    announce(
        operation_completed,
        app,
        operation_id=current_operation_id(),
        principal=current_principal(),
        status=status,
        duration=time.perf_counter() - started,
    )


def _is_operation(app: Quart, request: Request) -> bool:
    rule = request.url_rule
    if rule is None or (request.method == "OPTIONS" and rule.provide_automatic_options):
        return False
    return operation_of(handler_of(app.view_functions[rule.endpoint], request.method)) is not None
