"""The dispatch of our app: what it writes anew of Quart, its plans, its routes and its sessions."""

import asyncio
import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from quart import Quart, Response, session
from quart.asgi import ASGIHTTPConnection
from quart.ctx import RequestContext
from quart.wrappers import Request

from ligand_async import deprecated, operation, public
from ligand_async.web import LigandQuart
from ligand_async.web.dispatch import DispatchContext
from tests.services import app_of, running

WRITTEN_ANEW = {
    ASGIHTTPConnection.__call__: "ebafa58faeb1",
    ASGIHTTPConnection._create_request_from_scope: "3476af7fd451",
    RequestContext.__init__: "cd13ee44a06e",
    RequestContext.__mro__[1].__init__: "cfaba050d382",  # type: ignore[misc]  # the base of both contexts
    RequestContext.push: "63e6bb9d3297",
    RequestContext.__mro__[1]._push: "ba8a85ca4753",  # type: ignore[attr-defined]  # the same
    Quart.full_dispatch_request: "de88165a13cb",
    Quart.preprocess_request: "5ccc5f15b6e6",
    Quart.dispatch_request: "f2bc072675f3",
    Quart.finalize_request: "2fb6962cb225",
    Quart.process_response: "6ea0b610010c",
    Quart.do_teardown_request: "9f60f04ee621",
    Quart.do_teardown_appcontext: "e2cc7362ff4a",
}


@pytest.mark.parametrize("function", WRITTEN_ANEW, ids=lambda function: function.__qualname__)
def test_quart_has_not_changed(function: Callable[..., Any]) -> None:
    """What `web/connection.py` and `web/dispatch.py` write anew is Quart's code of 0.22; compare them if this fails."""
    found = hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:12]

    assert found == WRITTEN_ANEW[function]


async def hello() -> str:
    return "hello"


async def test_the_context_has_all_that_quart_s_has() -> None:
    """An extension finds the same attributes in our context as in Quart's."""
    app, stock = app_of(("GET", "/", hello)), Quart(__name__)
    async with app.test_request_context("/") as ours, stock.test_request_context("/") as theirs:
        missing = [name for name in vars(theirs) if not hasattr(ours, name)]

    assert isinstance(ours, DispatchContext)
    assert missing == []


def plain_app() -> LigandQuart:
    app = LigandQuart(__name__, static_folder=None)
    app.secret_key = "a key that is long enough for everybody"
    return app


async def test_routes_without_variables_are_found_once() -> None:
    """A rule without variables is matched once, also for paths that lead elsewhere; others are not remembered."""
    app = plain_app()
    app.add_url_rule("/plain", "plain", hello, methods=["GET"])
    app.add_url_rule("/<name>", "variable", hello)
    client: Any = app.test_client()
    for path in ("/plain", "/plain", "/other", "//plain", "/missing/1"):
        await client.get(path)
        await client.open(path, method="BREW")

    assert list(app.url_map._found) == [("GET", "/plain")]  # type: ignore[attr-defined]  # of our map


@pytest.mark.filterwarnings("ignore:Current server name")  # Quart warns of the other host
@pytest.mark.parametrize("name", ["SERVER_NAME", "host_matching", "subdomain_matching"])
async def test_routes_that_depend_on_the_host(name: str) -> None:
    """Where rules depend on the host, werkzeug decides for each request."""
    options = {} if name == "SERVER_NAME" else {name: True}
    app = LigandQuart(__name__, static_folder=None, static_host=None, **options)
    if name != "host_matching":
        app.config["SERVER_NAME"] = "one.test"
    rule = {"host": "one.test"} if name == "host_matching" else {"subdomain": "www"} if "sub" in name else {}
    app.add_url_rule("/", "hello", hello, **rule)
    host = "www.one.test" if name == "subdomain_matching" else "one.test"
    client = app.test_client()
    found = [(await client.get("/", headers={"Host": one})).status_code for one in (host, host, "two.test", host)]

    assert found == [200, 200, 404, 200]


async def test_a_session_is_made_when_it_is_asked_for() -> None:
    """A request without a cookie has no session before somebody asks for it."""
    seen: list[Any] = []
    app = plain_app()

    async def view() -> str:
        from quart.globals import request_ctx

        seen.append(request_ctx._get_current_object().opened_session)  # type: ignore[attr-defined]  # a LocalProxy
        session["x"] = 1
        return "written"

    app.add_url_rule("/", "view", view)
    client = app.test_client()
    first = await client.get("/")
    await client.get("/")

    assert seen[0] is None
    assert dict(seen[1]) == {"x": 1}
    assert "session=" in first.headers["Set-Cookie"]


async def test_plans_leave_out_hooks_that_have_nothing_to_do() -> None:
    """Functions of limits and of deprecation run only for the routes that have them, and still run for those."""

    @deprecated(since="2026-01-01")
    @operation
    async def old() -> None:
        """Go."""

    app = app_of(("GET", "/new", hello), ("GET", "/old", old))
    async with running(app, tables=False) as client:
        new, gone = await client.get("/new"), await client.get("/old")
    plans = {endpoint: plan for (endpoint, _), plan in app._plans.items()}

    assert "Deprecation" not in new.headers
    assert "Deprecation" in gone.headers
    assert (plans["shop.hello_get"].before, plans["shop.hello_get"].after) == ((), ())
    assert len(plans["shop.old_get"].after) == 1


async def test_a_function_that_swallows_the_deadline_is_the_last() -> None:
    """Where a function before the view goes on past its cancellation, the view does not run: 504."""
    called: list[str] = []

    async def view() -> str:
        called.append("view")
        return "late"

    app = app_of(("GET", "/", view), settings={"request_timeout": 0.1})

    @app.before_request
    async def cling() -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            called.append("cancelled")

    async with running(app, tables=False) as client:
        response = await client.get("/")

    assert (response.status_code, called) == (504, ["cancelled"])


class _OwnRequest(Request):
    """A request class of a service's own, without the lazily received body of ours."""


async def test_a_request_class_of_a_service() -> None:
    """A service may set its own request class; its body is received at once, as in Quart."""
    app = plain_app()
    app.request_class = _OwnRequest

    async def view() -> Any:
        from quart import request

        return await request.get_data()

    app.add_url_rule("/", "view", public(view), methods=["POST"])
    response: Response = await app.test_client().post("/", data=b"the body")

    assert await response.get_data(as_text=True) == "the body"
