"""The app: a Quart whose requests come through the guard, end at their deadline, and always get an answer."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from types import TracebackType, new_class
from typing import Any, cast
from urllib.parse import urlsplit

from quart import Quart, Request, Response, got_request_exception, got_websocket_exception
from quart.asgi import ASGIHTTPConnection
from quart.ctx import RequestContext, WebsocketContext
from quart.globals import request_ctx, websocket_ctx
from quart.sessions import SessionMixin
from quart.signals import appcontext_tearing_down, request_tearing_down, websocket_tearing_down
from quart.typing import ResponseTypes
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.routing import BaseConverter, FloatConverter, IntegerConverter, MapAdapter, RequestRedirect

from ligand_async.context import current_deadline, current_operation_id, current_principal, request_state
from ligand_async.marks import operation_mark
from ligand_async.signals import (
    Signal,
    announce,
    deliver,
    operation_completed,
    receivers_of,
    service_draining,
    service_started,
)
from ligand_async.tasks import GRACE, Containment
from ligand_async.web.guard import Guard, ResponseTimedOut
from ligand_async.web.problems import (
    blueprints_of_current,
    last_answer,
    named_to_trackers,
    problem_of_answer,
    renderer_of,
)
from ligand_async.web.scrubbing import without_values

logger = logging.getLogger(__name__)


class _IsolatedTeardown(Quart):
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


_unhandled_var: ContextVar[list[BaseException] | None] = ContextVar("ligand_unhandled", default=None)
"""Where a test client collects what nothing handled."""


class _UnfailingQuart(_IsolatedTeardown):
    """Answers with a problem where Quart 0.22 answers with HTML, with nothing, or not at all."""

    async def make_response(self, result: Any) -> Any:
        """Make the response of what a view returned; an error that is not JSON becomes a problem."""
        response = await super().make_response(result)
        problem = problem_of_answer(result, response)
        return response if problem is None else renderer_of(self)(problem)

    async def finalize_websocket(self, result: Any, *arguments: Any, **options: Any) -> Any:
        """Finish a websocket; one that was accepted and ends in an error is closed as RFC 6455 section 7.4.1 has it."""
        response = await super().finalize_websocket(result, *arguments, **options)
        if response is not None and response.status_code >= 400:
            request_state().close_code = 1011 if response.status_code >= 500 else 1008
        return response

    async def handle_exception(self, error: Exception) -> Any:
        """Tell, log and answer what nothing handled."""
        return await self._handle_unhandled(error, got_request_exception, self.finalize_request)

    async def handle_websocket_exception(self, error: Exception) -> Any:
        """Do the same for a websocket."""
        return await self._handle_unhandled(error, got_websocket_exception, self.finalize_websocket)

    async def _handle_unhandled(self, error: Exception, signal: Any, finalize: Callable[..., Any]) -> Any:
        clean = without_values(error)
        unhandled = _unhandled_var.get()
        if unhandled is not None:
            unhandled.append(clean)
        with named_to_trackers():
            await self._tell(signal, clean)
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
            self.logger.exception("the answer to an unhandled exception could not be made; a plain one was sent")
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

    async def _tell(self, signal: Any, error: Exception) -> None:
        try:
            await signal.send_async(self, _sync_wrapper=self.ensure_async, exception=error)
        except Exception:
            self.logger.exception("a receiver of the signal of an exception failed")


_EVENT_STREAM = "text/event-stream"


class _HTTPConnection(ASGIHTTPConnection):
    """Quart's own, which ends a slow answer in silence and lets a `SystemExit` end the server."""

    async def handle_request(self, request: Request, send: Any) -> None:
        """Serve one request.

        Raises:
            ResponseTimedOut: The answer took longer than RESPONSE_TIMEOUT; a stream of events never does.
        """
        with Containment():
            response = await self.app.handle_request(request)
            seconds = self.response_timeout(response)
            limit = asyncio.timeout(seconds)
            try:
                async with limit:
                    await self._send_response(send, response)
            except TimeoutError as error:
                if limit.expired():
                    raise ResponseTimedOut(f"an answer was not sent within {seconds} s") from error
                raise

    def response_timeout(self, response: Any) -> float | None:
        """Return how many seconds an answer may take to be sent."""
        if isinstance(response, Response) and response.timeout is not Ellipsis:
            own: float | None = response.timeout
            return own
        if response.mimetype == _EVENT_STREAM:
            return None
        timeout: float | None = self.app.config["RESPONSE_TIMEOUT"]
        return timeout


class LigandQuart(_UnfailingQuart):
    """A `quart.Quart` like any other, for its users; only what is wrong with a request or its answer differs.

    Attributes:
        guard: Stands around everything, also around middleware that is put around `asgi_app`.
    """

    asgi_http_class = _HTTPConnection
    guard: Guard

    def __init__(self, import_name: str, **options: Any) -> None:
        super().__init__(import_name, **options)
        self.url_map.converters = {**self.url_map.converters, **_CONVERTERS}
        self.guard = Guard([], request_timeout=None, max_body_bytes=2**63)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one scope of the ASGI server."""
        if scope["type"] in {"http", "websocket"}:
            await self.guard.serve(super().__call__, scope, receive, send)  # which error trackers patch
        else:
            await self.asgi_app(scope, receive, send)

    def signal(self, name: str) -> Signal:
        """Return a signal of the service's own, sent and heard for this app: `Signal(name)` is the same for all."""
        return Signal(name, app=self)

    async def startup(self) -> None:
        """Run what runs before serving, then tell."""
        await super().startup()
        async with self.app_context():
            await deliver(service_started, self)

    async def shutdown(self) -> None:
        """Tell, then wait for background tasks and run what runs after serving."""
        async with self.app_context():
            await deliver(service_draining, self)
        await super().shutdown()

    async def full_dispatch_request(self, request_context: RequestContext | None = None) -> ResponseTypes:
        """Answer a request, and tell which operation was answered how."""
        request = (request_context or request_ctx).request
        _begin_operation(self)
        response = await super().full_dispatch_request(request_context)
        _complete_operation(self, request, response.status_code)
        return response

    async def preprocess_request(self, request_context: RequestContext | None = None) -> Any:
        """Run the functions before the view, until the deadline."""
        names = [None, *(request_context or request_ctx).request.blueprints]
        if not any(self.before_request_funcs[name] or self.url_value_preprocessors[name] for name in names):
            return None
        with Containment():
            async with current_deadline().limit():
                return await super().preprocess_request(request_context)

    async def dispatch_request(self, request_context: RequestContext | None = None) -> Any:
        """Run the view, until the deadline."""
        request = (request_context or request_ctx).request
        if isinstance(request.routing_exception, RequestRedirect):
            return self.redirect_here(request.routing_exception, request.host)
        with Containment():
            async with current_deadline().limit():
                return await super().dispatch_request(request_context)

    async def process_response(
        self, response: ResponseTypes, request_context: RequestContext | None = None
    ) -> ResponseTypes:
        """Run the functions after the view; when one fails, the others run again for the error's answer."""
        context = request_context or request_ctx
        failed = request_state().failed_functions
        functions = [*context._after_request_functions]
        for name in [*context.request.blueprints, None]:
            functions += reversed(self.after_request_funcs[name])
        session = cast(SessionMixin, context.session)
        saves = not self.session_interface.is_null_session(session)
        if not functions and not saves:
            return response
        with Containment():
            async with current_deadline().limit(at_least=GRACE):
                for function in functions:
                    if function in failed:
                        continue
                    failed.add(function)
                    response = cast(ResponseTypes, await self.ensure_async(function)(response))
                    failed.discard(function)
                if saves:
                    await self.ensure_async(self.session_interface.save_session)(self, session, response)
        return response

    async def handle_user_exception(self, error: Exception) -> Any:
        """Run the error handler of an exception, until the deadline."""
        with Containment():
            async with current_deadline().limit(at_least=GRACE):
                return await super().handle_user_exception(error)

    async def handle_exception(self, error: Exception) -> Any:
        """Answer what no error handler took.

        An exception of HTTP comes from a function after the view, or from an error handler: it means there what it
        means in a view.
        """
        if isinstance(error, HTTPException):
            result = await self.handle_user_exception(error)
            response = await self.finalize_request(result, from_error_handler=True)
        else:
            with Containment():
                response = await super().handle_exception(error)
        _complete_operation(self, request_ctx.request, response.status_code)
        return response

    async def handle_websocket_exception(self, error: Exception) -> Any:
        """Do the same for a websocket."""
        if isinstance(error, HTTPException):
            result = await self.handle_user_exception(error)
            return await self.finalize_websocket(result, from_error_handler=True)
        with Containment():
            return await super().handle_websocket_exception(error)

    async def preprocess_websocket(self, websocket_context: WebsocketContext | None = None) -> Any:
        """Run the functions before the websocket's view."""
        with Containment():
            return await super().preprocess_websocket(websocket_context)

    async def dispatch_websocket(self, websocket_context: WebsocketContext | None = None) -> Any:
        """Run the websocket's view."""
        with Containment():
            return await super().dispatch_websocket(websocket_context)

    async def make_default_options_response(self) -> Any:
        """Answer OPTIONS with what is allowed, and nothing else."""
        methods = cast(MapAdapter, request_ctx.url_adapter).allowed_methods()
        response = self.response_class(status=204, headers={"Allow": ", ".join(methods)})
        del response.headers["Content-Type"]
        return response

    def add_background_task(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run a function in the background: it cannot end the server."""

        async def run() -> None:
            with Containment():
                await self.ensure_async(func)(*args, **kwargs)

        super().add_background_task(run)

    def redirect_here(self, redirect: RequestRedirect, host: str) -> Any:
        """Redirect to where the path is meant to end: on this origin, without a body.

        The `Host` of the request is whatever its client wrote, so it is not repeated. Another host in the redirect is
        the service's own word (`redirect_to`, SERVER_NAME) and stays.
        """
        url = urlsplit(redirect.new_url)
        location = redirect.new_url
        if url.netloc == host:
            path = "/" + url.path.lstrip("/\\")  # two slashes would begin with a host
            location = f"{path}?{url.query}" if url.query else path
        response = self.response_class(status=redirect.code, headers={"Location": location})
        del response.headers["Content-Type"]
        return response


def _begin_operation(app: Quart) -> None:
    if receivers_of(operation_completed, app):
        request_state().started_at = time.perf_counter()


def _complete_operation(app: Quart, request: Request, status: int) -> None:
    """Tell how the request in whose context this runs was answered, if it is an operation's."""
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
    """Tell whether a request is for an operation: a view, or the method of a class."""
    rule = request.url_rule
    if rule is None or (request.method == "OPTIONS" and rule.provide_automatic_options):
        return False
    view = app.view_functions[rule.endpoint]
    view_class = getattr(view, "view_class", None)
    method = "get" if request.method == "HEAD" and not hasattr(view_class, "head") else request.method.lower()
    handler = view if view_class is None else getattr(view_class, method, None) or view_class.dispatch_request
    return operation_mark(handler) is not None


class AsciiInteger(IntegerConverter):
    """`<int:…>`."""

    regex = "[0-9]+"


class AsciiFloat(FloatConverter):
    """`<float:…>`."""

    regex = r"[0-9]+\.[0-9]+"


_CONVERTERS: dict[str, type[BaseConverter]] = {"int": AsciiInteger, "float": AsciiFloat}


class _RaisingClient:
    """Mixed into the app's own test client."""

    def __init__(self, app: Quart, use_cookies: bool = True, *, raise_unhandled: bool = False, **options: Any) -> None:
        super().__init__(app, use_cookies=use_cookies, **options)  # type: ignore[call-arg]  # a mixin of Quart's client
        self.raise_unhandled = raise_unhandled

    async def _make_request(self, *arguments: Any, **named: Any) -> Any:
        if not self.raise_unhandled:
            return await super()._make_request(*arguments, **named)  # type: ignore[misc]  # the same
        unhandled: list[BaseException] = []
        token = _unhandled_var.set(unhandled)  # the request runs in a task that inherits it
        try:
            response = await super()._make_request(*arguments, **named)  # type: ignore[misc]  # the same
        finally:
            _unhandled_var.reset(token)
        if unhandled:
            raise unhandled[0]
        return response


def init_test_client(app: Quart) -> None:
    """Let the test client of an app raise on demand."""
    app.test_client_class = new_class("TestClient", (_RaisingClient, app.test_client_class))
