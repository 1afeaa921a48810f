"""From a request to its response: routes, hooks, the view, errors and teardown, as Quart 0.22 has them, each only once.

What runs for an endpoint and a method is planned when it is first asked for, and planned anew when the lists of the app
or of its blueprints have changed. One deadline and one containment stand around all until the view has returned; error
handlers, functions after the request and teardown have a second more. Quart lets all of it take as long as it likes,
and a `SystemExit` ends the server.

`tests/web/test_dispatch.py` fails where Quart changes a function that is written anew here.
"""

import functools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

from quart import Quart, Request, Response, got_request_exception
from quart.ctx import RequestContext
from quart.globals import _cv_request, request_ctx
from quart.routing import QuartMap
from quart.sessions import SecureCookieSessionInterface, SessionMixin
from quart.signals import appcontext_tearing_down, request_finished, request_started, request_tearing_down
from quart.typing import ResponseTypes
from quart.wrappers.response import FileBody
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.routing import MapAdapter, RequestRedirect, Rule

from ligand_async.auth import Enforcement
from ligand_async.context import current_deadline, current_operation_id, current_principal, request_state
from ligand_async.signals import announce, operation_completed, receivers_of
from ligand_async.tasks import CLEANUP_SECONDS, ContainedExits
from ligand_async.web.client import unhandled_var
from ligand_async.web.endpoint import handler_of, operation_of
from ligand_async.web.problems import (
    blueprints_of_current,
    last_answer,
    named_to_trackers,
    problem_of_answer,
    renderer_of,
)
from ligand_async.web.request import has_field
from ligand_async.web.request_limits import RouteLimits
from ligand_async.web.scrubbing import without_values

logger = logging.getLogger(__name__)

_COOKIE = frozenset({b"cookie"})


class RouteMap(QuartMap):
    """A map that remembers the rules without variables by method and path; werkzeug decides about all others."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._found: dict[tuple[str, str], Rule] = {}
        super().__init__(*arguments, **options)
        self._adapter = self.bind("localhost") if not self.host_matching else None

    def add(self, rulefactory: Any) -> None:
        """Add a rule."""
        super().add(rulefactory)
        self._found.clear()

    def find(self, request: Request) -> tuple[Any, dict[str, Any]]:
        """Return the rule of a request and its variables, in a map whose rules do not depend on the host.

        Raises:
            HTTPException: There is no rule; the exception may name another host than the request's.
        """
        key = (request.method, request.path)
        if key in self._found:
            return self._found[key], {}
        adapter = cast(MapAdapter, self._adapter)
        rule, values = adapter.match(request.path, request.method, return_rule=True, websocket=False)
        if not rule.arguments and rule.rule == request.path and rule.methods and request.method in rule.methods:
            self._found[key] = rule
        return rule, dict(values)


class DispatchContext(RequestContext):
    """The context of a request; Quart's opens the session, and makes a URL adapter, whether they are used or not."""

    request: Request = cast(Request, None)  # a property in Quart

    def __init__(self, app: Quart, request: Request, session: SessionMixin | None = None) -> None:
        self.app = app
        self.request = self.request_websocket = request
        request.routing_exception = None
        request.json_module = app.json
        self.preserved = False
        self.flashes = None
        self.opened_session = session
        self._after_request_functions: list[Any] = []
        self._cv_tokens: list[Any] = []
        self._adapter: MapAdapter | None = None
        self._opens_late = False
        self.plan: _Plan | None = None

    @property
    def url_adapter(self) -> MapAdapter | None:
        """The adapter for the request's host; made when it is asked for."""
        if self._adapter is None:
            self._adapter = self.app.create_url_adapter(self.request)
        return self._adapter

    @url_adapter.setter
    def url_adapter(self, adapter: MapAdapter | None) -> None:
        self._adapter = adapter

    @property
    def session(self) -> SessionMixin | None:
        """The session. One of cookies, of a request without cookies, is made when it is asked for."""
        if self.opened_session is None and self._opens_late:
            interface: Any = self.app.session_interface
            has_key = interface.get_signing_serializer(self.app) is not None
            self.opened_session = interface.session_class() if has_key else interface.null_session_class()
        return self.opened_session

    @session.setter
    def session(self, session: SessionMixin | None) -> None:
        self.opened_session = session

    async def push(self) -> None:
        """Make this the current context, open the session, and find the route."""
        await self._push_appctx(_cv_request.set(self))
        if self.opened_session is None:
            interface = self.app.session_interface
            if type(interface) is SecureCookieSessionInterface and not has_field(self.request, _COOKIE):
                self._opens_late = True  # nothing to read, and nothing to renew
            else:
                session = await self.app.ensure_async(interface.open_session)(self.app, self.request)
                self.opened_session = await interface.make_null_session(self.app) if session is None else session
        self.match_request()

    def match_request(self) -> None:
        """Find the route. Where it depends on the host, and where there is none, werkzeug decides with an adapter."""
        app, request = self.app, self.request
        routes = app.url_map
        if (
            not isinstance(routes, RouteMap)
            or routes.host_matching
            or app.subdomain_matching
            or app.config["SERVER_NAME"] is not None
        ):
            super().match_request()
            return
        try:
            request.url_rule, request.view_args = routes.find(request)
        except HTTPException:
            super().match_request()


_Hook = Callable[..., Any]


def hook_where(hook: _Hook, applies_to: Callable[[str, str], bool]) -> _Hook:
    """Return a hook that is left out of the plans of endpoints where it has nothing to do.

    Args:
        hook: A coroutine function, for `before_request` or `after_request`.
        applies_to: Returns whether the hook has something to do for an endpoint and a method. It is asked once.
    """
    hook = functools.partial(hook)
    hook.applies_to = applies_to  # type: ignore[attr-defined]  # a partial takes any
    return hook


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """The route, hooks and view for one endpoint and method.

    Attributes:
        rule: The route; None without one.
        view: The view, as a coroutine function.
        function: The view, as it is registered.
        lists: The app's lists that the plan was made of, and copies of them, by the name of the blueprint.
        processors: The functions that change the values of the URL.
        before: The functions before the view.
        after: Those after it; the last that was added is the first.
        teardown: Those of the teardown, in the same order.
        is_static: Whether the view sends static files.
    """

    rule: Any
    view: Callable[..., Awaitable[Any]] | None
    function: Any
    lists: tuple[tuple[str | None, list[_Hook], list[_Hook], list[_Hook], list[_Hook]], ...]
    processors: tuple[_Hook, ...]
    before: tuple[_Hook, ...]
    after: tuple[_Hook, ...]
    teardown: tuple[_Hook, ...]
    is_static: bool

    def is_current(self, app: Quart) -> bool:
        """Return whether the app's lists, and the view, are still what the plan was made of."""
        for name, processors, before, after, teardown in self.lists:
            if (
                app.url_value_preprocessors[name] != processors
                or app.before_request_funcs[name] != before
                or app.after_request_funcs[name] != after
                or app.teardown_request_funcs[name] != teardown
            ):
                return False
        return self.rule is None or app.view_functions[self.rule.endpoint] is self.function


def _make_plan(app: Quart, request: Request) -> _Plan:
    rule = request.url_rule if request.routing_exception is None else None
    inside_out = [*request.blueprints, None]

    def wanted(function: _Hook) -> bool:
        applies_to = getattr(function, "applies_to", None)
        return applies_to is None or rule is None or applies_to(rule.endpoint, request.method)

    def of_all(functions: Any, names: Iterable[str | None]) -> Iterator[_Hook]:
        return (function for name in names for function in functions[name])

    outside_in = inside_out[::-1]
    function = None if rule is None else app.view_functions[rule.endpoint]
    return _Plan(
        rule,
        None if function is None else app.ensure_async(function),
        function,
        tuple(
            (
                name,
                [*app.url_value_preprocessors[name]],
                [*app.before_request_funcs[name]],
                [*app.after_request_funcs[name]],
                [*app.teardown_request_funcs[name]],
            )
            for name in inside_out
        ),
        tuple(of_all(app.url_value_preprocessors, outside_in)),
        tuple(app.ensure_async(hook) for hook in of_all(app.before_request_funcs, outside_in) if wanted(hook)),
        tuple(hook for hook in newest_first(app.after_request_funcs, inside_out) if wanted(hook)),
        tuple(newest_first(app.teardown_request_funcs, inside_out)),
        getattr(function, "__name__", "") == "send_static_file",
    )


class Dispatch(Quart):
    """The part of the app that answers requests.

    Attributes:
        route_limits: The limits of single routes; None before the start, and if there are none.
        enforcement: Authenticates callers before anything of the service runs.
    """

    url_map_class = RouteMap
    enforcement: Enforcement | None = None
    route_limits: RouteLimits | None = None

    def __init__(self, import_name: str, **options: Any) -> None:
        self._plans: dict[tuple[str, str], _Plan] = {}
        super().__init__(import_name, **options)

    def request_context(self, request: Request) -> RequestContext:
        """Return a context for a request."""
        return DispatchContext(self, request)

    def _plan_of(self, context: RequestContext) -> _Plan:
        """Return what runs for a request; it may change while the request is served."""
        plan = getattr(context, "plan", None)
        if plan is not None and plan.is_current(self):
            return cast(_Plan, plan)
        request = context.request
        rule = request.url_rule
        if rule is None or request.routing_exception is not None:
            plan = _make_plan(self, request)
        else:
            key = (rule.endpoint, request.method)
            plan = self._plans.get(key)
            if plan is None or not plan.is_current(self):
                plan = _make_plan(self, request)
                if rule.methods and request.method in rule.methods:
                    self._plans[key] = plan
        context.plan = plan  # type: ignore[attr-defined]  # of DispatchContext
        return plan

    async def full_dispatch_request(self, request_context: RequestContext | None = None) -> ResponseTypes:
        """Answer a request, and send `operation_completed`."""
        context = request_context or _current_context()
        if operation_completed.receivers and receivers_of(operation_completed, self):
            request_state().started_at = time.perf_counter()
        limit = current_deadline().limit()
        try:
            with ContainedExits():
                async with limit:
                    if request_started.receivers:
                        await request_started.send_async(self, _sync_wrapper=self.ensure_async)  # type: ignore[arg-type]  # as Quart sends it
                    result = await self.preprocess_request(context)
                    if result is None:
                        limit.check()  # a function before the view may have swallowed the cancellation
                        result = await self.dispatch_request(context)
        except Exception as error:  # noqa: BLE001  (as in Quart: handlers decide)
            result = await self.handle_user_exception(error)
        response = await self.finalize_request(result, context)
        _complete_operation(self, context.request, response.status_code)
        return response

    async def preprocess_request(self, request_context: RequestContext | None = None) -> Any:
        """Authenticate the caller, then run the functions before the view.

        In Quart the functions of `url_value_preprocessor` come before all others, so before those that authenticate.
        """
        context = request_context or _current_context()
        if self.route_limits is not None:
            self.route_limits.apply(context.request)
        if self.enforcement is not None:
            await self.enforcement.check_request()
        plan = self._plan_of(context)
        for process in plan.processors:
            process(context.request.endpoint, context.request.view_args)
        for function in plan.before:
            result = await function()
            if result is not None:
                return result
        return None

    async def dispatch_request(self, request_context: RequestContext | None = None) -> Any:
        """Run the view.

        For a missing slash Quart redirects to the `Host` that the client wrote. It sends a static file as a whole to
        clients that have it, or that ask for a part.
        """
        context = request_context or _current_context()
        request = context.request
        if request.routing_exception is not None:
            if isinstance(request.routing_exception, RequestRedirect):
                return self._redirect(request.routing_exception, context.url_adapter)
            self.raise_routing_exception(request)
        plan = self._plan_of(context)
        if request.method == "OPTIONS" and plan.rule.provide_automatic_options:
            return await self.make_default_options_response()
        result = await cast(Any, plan.view)(**cast(dict[str, Any], request.view_args))
        if plan.is_static and isinstance(result, Response) and isinstance(result.response, FileBody):
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
        if isinstance(result, self.response_class) and 200 <= result.status_code < 400:
            return result
        response = await super().make_response(result)
        problem = problem_of_answer(result, response)
        return response if problem is None else renderer_of(self)(problem)

    async def finalize_request(
        self, result: Any, request_context: RequestContext | None = None, from_error_handler: bool = False
    ) -> ResponseTypes:
        """Make the response of a result, and run the functions after the view.

        Args:
            result: What the view, or an error handler, returned.
            request_context: The context; by default the current one.
            from_error_handler: Log what fails, and send the response that there is.
        """
        response: ResponseTypes = await self.make_response(result)
        try:
            response = await self.process_response(response, request_context)
            if request_finished.receivers:
                await request_finished.send_async(self, _sync_wrapper=self.ensure_async, response=response)  # type: ignore[arg-type]  # as Quart sends it
        except Exception:
            if not from_error_handler:
                raise
            self.logger.exception("a function after the request failed; the response stands")
        return response

    async def process_response(
        self, response: ResponseTypes, request_context: RequestContext | None = None
    ) -> ResponseTypes:
        """Run the functions after the view, and save the session if it was opened.

        When one fails, the others run again for the error's response. Quart runs the one that fails again too, and
        sends that response without the headers of those behind it.
        """
        context = request_context or _current_context()
        functions = [*context._after_request_functions, *self._plan_of(context).after]
        if not functions and _opened_session_of(context) is None:
            return response
        failed = request_state().failed_functions
        with ContainedExits():
            async with current_deadline().limit(at_least=CLEANUP_SECONDS):
                for function in functions:
                    if function in failed:
                        continue
                    failed.add(function)
                    response = cast(ResponseTypes, await self.ensure_async(function)(response))
                    failed.discard(function)
                session = _opened_session_of(context)
                if session is not None and not self.session_interface.is_null_session(session):
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

    # Teardown. In Quart the first function that raises keeps the others from running, and the response from being sent.

    async def do_teardown_request(
        self, exc: BaseException | None, request_context: RequestContext | None = None
    ) -> None:
        """Run the teardown functions of a request, then the receivers of its signal."""
        functions = self._plan_of(request_context or _current_context()).teardown
        if functions or request_tearing_down.receivers:
            await self._tear_down(functions, request_tearing_down, exc)

    async def do_teardown_appcontext(self, exc: BaseException | None) -> None:
        """Run the teardown functions of the app's context, then the receivers of its signal."""
        if self.teardown_appcontext_funcs or appcontext_tearing_down.receivers:
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


def _current_context() -> RequestContext:
    return cast(RequestContext, request_ctx._get_current_object())  # type: ignore[attr-defined]  # a LocalProxy


def _opened_session_of(context: RequestContext) -> SessionMixin | None:
    return context.opened_session if isinstance(context, DispatchContext) else context.session


def newest_first(functions: Any, inside_out: Iterable[str | None]) -> Iterator[_Hook]:
    """Return hooks by the name of their blueprint, those that were added last first."""
    for name in inside_out:
        yield from reversed(functions[name])


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
