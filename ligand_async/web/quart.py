"""The app: a Quart whose requests come through the guard, end at their deadline, and cannot end the server."""

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

from quart import Request
from quart.ctx import RequestContext, WebsocketContext
from quart.globals import request_ctx
from quart.sessions import SessionMixin
from quart.typing import ResponseTypes
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter, RequestRedirect

from ligand_async.signals import Signal, deliver, service_draining, service_started
from ligand_async.tasks import GRACE, Containment, current_deadline
from ligand_async.web.completion import begin_operation, complete_operation
from ligand_async.web.connection import HTTPConnection
from ligand_async.web.converters import CONVERTERS
from ligand_async.web.guard import Guard
from ligand_async.web.unfailing import UnfailingQuart


class LigandQuart(UnfailingQuart):
    """A `quart.Quart` like any other, for its users; only what is wrong with a request or its answer differs.

    Attributes:
        guard: Stands around everything, also around middleware that is put around `asgi_app`.
    """

    asgi_http_class = HTTPConnection
    guard: Guard

    def __init__(self, import_name: str, **options: Any) -> None:
        super().__init__(import_name, **options)
        self.url_map.converters = {**self.url_map.converters, **CONVERTERS}
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
        begin_operation(self, request)
        response = await super().full_dispatch_request(request_context)
        complete_operation(self, request, response.status_code)
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
        failed = failed_functions(context.request)
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
        complete_operation(self, request_ctx.request, response.status_code)
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


def failed_functions(request: Request) -> set[Any]:
    """Return the functions after the view that have failed in a request; it is empty to begin with."""
    failed: set[Any] = cast(dict[str, Any], request.scope).setdefault("ligand_async.failed", set())
    return failed
