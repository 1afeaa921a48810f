"""What Quart documents about a request holds for our app: the same service runs on a stock `Quart` and on ours.

Each scenario adds its functions to an app and names requests. What its functions note, and what is answered, must be
the same. Where we differ on purpose (problems instead of HTML, 204 for OPTIONS), `test_quart_overrides.py` says so.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from quart import (
    Blueprint,
    Quart,
    Response,
    abort,
    after_this_request,
    appcontext_popped,
    appcontext_pushed,
    appcontext_tearing_down,
    copy_current_app_context,
    copy_current_request_context,
    current_app,
    flash,
    g,
    get_flashed_messages,
    got_request_exception,
    has_app_context,
    has_request_context,
    make_response,
    redirect,
    request,
    request_finished,
    request_started,
    request_tearing_down,
    session,
    stream_with_context,
    url_for,
)
from quart.sessions import SecureCookieSessionInterface
from quart.views import MethodView
from werkzeug.routing import Rule

from ligand_async import public
from tests.services import app_of

Log = list[Any]
Ask = tuple[str, str]

COMPARED = ("Location", "Content-Type", "X-Order", "X-Late", "Allow", "Content-Length")


@dataclass
class Scenario:
    """A service, and the requests to it."""

    prepare: Callable[[Quart, Log], Any]
    asks: Sequence[Ask] = (("GET", "/"),)
    config: dict[str, Any] = field(default_factory=dict)


def stock(config: dict[str, Any]) -> Quart:
    """Make a stock Quart."""
    app = Quart(__name__, static_folder=None)
    app.secret_key = "a key that is long enough for everybody"
    app.config.update(config)
    return app


def ours(config: dict[str, Any]) -> Quart:
    """Make an app of this package."""
    app = app_of()
    app.secret_key = "a key that is long enough for everybody"
    app.config.update(config)
    return app


def view_of(log: Log, name: str = "view", result: Any = "done") -> Callable[..., Awaitable[Any]]:
    """Return a view that notes its call."""

    async def view(**values: Any) -> Any:
        log.append((name, values) if values else name)
        return result

    return public(view)


def noting(log: Log, name: str) -> Callable[..., Awaitable[Any]]:
    """Return a function for any hook; it returns the response that it gets."""

    async def note(given: Any = None) -> Any:
        log.append(name)
        return given

    return note


def add_all_hooks(target: Any, log: Log, name: str) -> None:
    """Add each kind of hook, twice, to an app or a blueprint."""

    def note_values(endpoint: str | None, values: dict[str, Any] | None) -> None:
        log.append((f"{name} values", endpoint, dict(values or {})))

    target.url_value_preprocessor(note_values)
    for kind in ("before_request", "after_request", "teardown_request"):
        for number in (1, 2):
            getattr(target, kind)(noting(log, f"{name} {kind} {number}"))


def hooks(app: Quart, log: Log) -> None:
    add_all_hooks(app, log, "app")
    app.teardown_appcontext(noting(log, "teardown_appcontext 1"))
    app.teardown_appcontext(noting(log, "teardown_appcontext 2"))
    outer, inner = public(Blueprint("outer", __name__, url_prefix="/outer")), Blueprint("inner", __name__)
    add_all_hooks(outer, log, "outer")
    add_all_hooks(inner, log, "inner")
    outer.before_app_request(noting(log, "outer before_app_request"))
    outer.after_app_request(noting(log, "outer after_app_request"))
    outer.teardown_app_request(noting(log, "outer teardown_app_request"))
    inner.add_url_rule("/inner/<int:number>", "view", view_of(log))
    outer.add_url_rule("/view", "view", view_of(log))
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    app.add_url_rule("/", "index", view_of(log))


def hooks_added_late(app: Quart, log: Log) -> None:
    async def view() -> str:
        log.append("view")
        app.before_request_funcs[None].append(noting(log, "late before"))
        app.after_request_funcs[None].append(noting(log, "late after"))
        return "done"

    app.add_url_rule("/", "view", public(view))


def hooks_replaced(app: Quart, log: Log) -> None:
    app.before_request(noting(log, "first"))

    async def view() -> str:
        app.before_request_funcs[None][-1] = noting(log, "second")
        return "done"

    app.add_url_rule("/", "view", public(view))


def view_replaced(app: Quart, log: Log) -> None:
    async def view() -> str:
        app.view_functions["view"] = view_of(log, "another", "another")
        return "done"

    app.add_url_rule("/", "view", public(view))


def route_added_late(app: Quart, log: Log) -> None:
    async def view() -> str:
        if "late" not in app.view_functions:
            app.view_functions["late"] = view_of(log, "late")
            app.url_map.add(app.url_rule_class("/late", endpoint="late", methods=["GET"]))
        return "done"

    app.add_url_rule("/", "view", public(view))


def answer_before(app: Quart, log: Log) -> None:
    add_all_hooks(app, log, "app")

    @app.before_request
    async def answer() -> str:
        return "early"

    app.before_request(noting(log, "never"))
    app.add_url_rule("/", "view", view_of(log))


def sync_functions(app: Quart, log: Log) -> None:
    def before() -> None:
        log.append(("before", request.path))

    def after(response: Response) -> Response:
        log.append(("after", response.status_code))
        return response

    def teardown(error: BaseException | None) -> None:
        log.append(("teardown", error))

    def view() -> str:
        g.seen = session.get("seen")
        return f"{request.method} {current_app.name == app.name}"

    app.before_request(before)
    app.after_request(after)
    app.teardown_request(teardown)
    app.add_url_rule("/", "view", public(view))


def after_replaces(app: Quart, log: Log) -> None:
    @app.after_request
    async def last(response: Response) -> Response:
        response.headers["X-Order"] = response.headers.get("X-Order", "") + "first registered"
        return response

    @app.after_request
    async def first(_: Response) -> Response:
        return Response("another", headers={"X-Order": "last registered, "})

    app.add_url_rule("/", "view", view_of(log))


def after_this(app: Quart, log: Log) -> None:
    app.after_request(noting(log, "after"))

    async def view() -> str:
        @after_this_request
        async def late(response: Any) -> Any:
            log.append("after this")
            response.headers["X-Late"] = "yes"
            return response

        @after_this_request
        def sync(response: Any) -> Any:
            log.append("and this")
            return response

        return "done"

    app.add_url_rule("/", "view", public(view))


def url_values(app: Quart, log: Log) -> None:
    @app.url_value_preprocessor
    def pop(endpoint: str | None, values: dict[str, Any] | None) -> None:
        if values is not None and endpoint != "static":
            g.language = values.pop("language", None)

    @app.url_defaults
    def put(_endpoint: str, values: dict[str, Any]) -> None:
        values.setdefault("language", g.get("language") or "en")

    async def view() -> str:
        log.append((g.language, request.view_args))
        return url_for("view")

    app.add_url_rule("/<language>/", "view", public(view))


def signals(app: Quart, log: Log) -> None:
    """Connected by `listening`; this is the service."""
    app.before_request(noting(log, "before"))
    app.after_request(noting(log, "after"))
    app.teardown_request(noting(log, "teardown"))
    app.add_url_rule("/", "view", view_of(log))

    async def fail() -> str:
        raise ZeroDivisionError

    app.add_url_rule("/fail", "fail", public(fail))


def error_handlers(app: Quart, log: Log) -> None:
    inner = public(Blueprint("inner", __name__, url_prefix="/inner"))

    async def fail() -> str:
        raise KeyError("k")

    async def stop() -> str:
        abort(409)

    @app.errorhandler(KeyError)
    async def of_app(error: KeyError) -> Any:
        log.append(("app", type(error).__name__))
        return "app", 299

    @inner.errorhandler(LookupError)
    async def of_blueprint(error: LookupError) -> Any:
        log.append(("blueprint", type(error).__name__))
        return "blueprint", 298

    @app.errorhandler(409)
    def of_status(error: Any) -> Any:
        log.append(("status", error.code))
        return {"conflict": True}, 297

    @app.errorhandler(404)
    async def of_missing(error: Any) -> Any:
        log.append(("missing", error.code, request.endpoint))
        return "missing", 296

    app.after_request(noting(log, "after"))
    for target in (app, inner):
        target.add_url_rule("/fail", "fail", public(fail))
        target.add_url_rule("/stop", "stop", public(stop))
    app.register_blueprint(inner)


def error_in_before(app: Quart, log: Log) -> None:
    @app.before_request
    async def fail() -> None:
        raise KeyError

    @app.errorhandler(KeyError)
    async def answer(_: KeyError) -> Any:
        return "handled", 299

    app.after_request(noting(log, "after"))
    app.teardown_request(noting(log, "teardown"))
    app.add_url_rule("/", "view", view_of(log))


def teardown_error(app: Quart, log: Log) -> None:
    async def note(error: BaseException | None) -> None:
        log.append(type(error).__name__)

    app.teardown_request(note)
    app.teardown_appcontext(note)

    async def fail() -> str:
        raise ZeroDivisionError

    @app.errorhandler(500)
    async def answer(error: Any) -> Any:
        log.append(type(error.original_exception).__name__)
        return "broken", 299

    app.add_url_rule("/fail", "fail", public(fail))
    app.add_url_rule("/", "view", view_of(log))


def sessions(app: Quart, log: Log) -> None:
    async def read() -> str:
        return str(session.get("count"))

    async def write() -> str:
        session["count"] = session.get("count", 0) + 1
        return "written"

    async def keep() -> str:
        session.permanent = True
        session["count"] = 100
        return "kept"

    async def clear() -> str:
        session.clear()
        return "cleared"

    async def show_flash() -> str:
        await flash("a message")
        return str(get_flashed_messages())

    for view in (read, write, keep, clear, show_flash):
        app.add_url_rule(f"/{view.__name__}", view.__name__, public(view))
    app.add_url_rule("/", "view", view_of(log))


def session_in_hook(app: Quart, log: Log) -> None:
    @app.after_request
    async def write(response: Response) -> Response:
        session["late"] = True
        return response

    @app.before_request
    async def read() -> None:
        log.append(session.get("late"))

    app.add_url_rule("/", "view", view_of(log))


class _NotingInterface(SecureCookieSessionInterface):
    """An interface of a service's own."""

    def __init__(self, log: Log) -> None:
        self.log = log

    async def open_session(self, app: Quart, request: Any) -> Any:
        self.log.append("open")
        return await super().open_session(app, request)

    async def save_session(self, app: Quart, session: Any, response: Any) -> None:
        self.log.append("save")
        await super().save_session(app, session, response)


def own_session_interface(app: Quart, log: Log) -> None:
    app.session_interface = _NotingInterface(log)
    app.add_url_rule("/", "view", view_of(log))


def no_secret_key(app: Quart, log: Log) -> None:
    app.secret_key = None

    async def view() -> str:
        try:
            session["x"] = 1
        except RuntimeError:
            return "refused"
        return "taken"

    async def read() -> str:
        return str(session.get("x"))

    app.add_url_rule("/", "view", public(view))
    app.add_url_rule("/read", "read", public(read))


def contexts(app: Quart, log: Log) -> None:
    async def view() -> str:
        g.value = "of the request"
        session["value"] = "s"

        @copy_current_request_context
        async def copied() -> str:
            return f"{request.path} {session['value']} {has_request_context()} {has_app_context()}"

        @copy_current_app_context
        async def of_app() -> str:
            return current_app.name

        async def inherited() -> str:
            return f"{request.path} {g.value}"

        task = asyncio.create_task(inherited())
        return f"{await copied()} {await task} {await of_app() == app.name}"

    async def after_end() -> str:
        async def later() -> None:
            log.append(("later", current_app.name == app.name))

        app.add_background_task(later)
        return "begun"

    app.add_url_rule("/", "view", public(view))
    app.add_url_rule("/later", "later", public(after_end))


def responses(app: Quart, log: Log) -> None:
    async def made() -> Any:
        response: Any = await make_response("made", 201, {"X-Order": "set"})
        response.set_cookie("cookie", "value")
        return response

    async def parts() -> AsyncIterator[str]:
        for part in ("one ", "two ", "three"):
            yield part

    async def stream() -> Any:
        return parts(), 203, {"X-Late": "stream"}

    async def stream_in_context() -> Any:
        @stream_with_context
        async def told() -> AsyncIterator[str]:
            yield f"at {request.path}"

        return told()

    def sync_parts() -> Any:
        def generate() -> Any:
            yield "sync "
            yield "parts"

        return Response(generate())

    async def away() -> Any:
        return redirect("/elsewhere")

    async def empty() -> Any:
        return b"", 204

    values: dict[str, Callable[..., Any]] = {
        "made": made,
        "stream": stream,
        "stream_in_context": stream_in_context,
        "sync_parts": sync_parts,
        "away": away,
        "empty": empty,
        "text": view_of(log, "text", "text"),
        "bytes": view_of(log, "bytes", b"bytes"),
        "json": view_of(log, "json", {"b": 1, "a": [1, 2]}),
        "list": view_of(log, "list", [1, 2]),
        "status": view_of(log, "status", ("text", 202)),
        "headers": view_of(log, "headers", ("text", {"X-Order": "h"})),
    }
    for name, view in values.items():
        app.add_url_rule(f"/{name}", name, public(view))


class _Shelf(MethodView):
    init_every_request = False

    async def get(self, number: int) -> str:
        return f"got {number}"

    async def post(self, number: int) -> str:
        body: Any = await request.get_data(as_text=True)
        return f"posted {number} {body}"


def routing(app: Quart, log: Log) -> None:
    app.add_url_rule("/shelf/<int:number>", view_func=public(_Shelf.as_view("shelf")))
    app.add_url_rule("/plain", "plain", view_of(log, "plain"))
    app.add_url_rule("/plain", "plain_post", view_of(log, "plain_post"), methods=["POST"])
    app.add_url_rule("/folder/", "folder", view_of(log, "folder"))
    app.add_url_rule("/loose", "loose", view_of(log, "loose"), strict_slashes=False)
    app.add_url_rule("/page/", "page", view_of(log, "page"), defaults={"number": 1})
    app.add_url_rule("/page/<int:number>", "page", app.view_functions["page"])
    app.add_url_rule("/any/<path:rest>", "any", view_of(log, "any"))
    app.url_map.add(Rule("/old", endpoint="plain", methods=["GET"], redirect_to="/plain"))

    async def options() -> str:
        return "own options"

    app.add_url_rule("/options", "options", public(options), methods=["OPTIONS"], provide_automatic_options=False)

    @app.before_request
    async def note() -> None:
        log.append((request.method, request.endpoint, request.blueprint, request.view_args, str(request.url_rule)))


ROUTES: list[Ask] = [
    ("GET", "/plain"),
    ("HEAD", "/plain"),
    ("POST", "/plain"),
    ("PUT", "/plain"),
    ("GET", "/plain?a=1&b=%20"),
    ("GET", "/plain/"),
    ("GET", "/folder"),
    ("GET", "/folder/"),
    ("POST", "/folder"),
    ("GET", "/loose/"),
    ("GET", "/page/"),
    ("GET", "/page/1"),
    ("GET", "/page/2"),
    ("GET", "/any/a/b/c"),
    ("GET", "//plain"),
    ("GET", "/any//a"),
    ("GET", "/shelf/7"),
    ("POST", "/shelf/7"),
    ("DELETE", "/shelf/7"),
    ("GET", "/shelf/x"),
    ("GET", "/missing"),
    ("OPTIONS", "/options"),
    ("GET", "/old"),
    ("GET", "/plain"),
]


def view_class_and_form(app: Quart, log: Log) -> None:
    async def form() -> Any:
        return {"form": (await request.form).to_dict(), "args": request.args.to_dict(), "values": dict(request.cookies)}

    app.add_url_rule("/", "form", public(form), methods=["POST"])


RESPONSES: tuple[str, ...] = ("made", "stream", "stream_in_context", "sync_parts", "away", "empty")
RESPONSES += ("text", "bytes", "json", "list", "status", "headers")

SCENARIOS = {
    "hooks": Scenario(
        hooks, [("GET", "/"), ("GET", "/outer/view"), ("GET", "/outer/inner/3"), ("GET", "/nowhere"), ("POST", "/")]
    ),
    "hooks added late": Scenario(hooks_added_late, [("GET", "/")] * 3),
    "hooks replaced": Scenario(hooks_replaced, [("GET", "/")] * 3),
    "view replaced": Scenario(view_replaced, [("GET", "/")] * 3),
    "route added late": Scenario(route_added_late, [("GET", "/late"), ("GET", "/"), ("GET", "/late")]),
    "answer before": Scenario(answer_before),
    "sync functions": Scenario(sync_functions),
    "after replaces": Scenario(after_replaces),
    "after this request": Scenario(after_this, [("GET", "/")] * 2),
    "url values": Scenario(url_values, [("GET", "/de/"), ("GET", "/fr/")]),
    "signals": Scenario(signals, [("GET", "/"), ("GET", "/fail"), ("GET", "/missing")]),
    "error handlers": Scenario(
        error_handlers,
        [("GET", path) for path in ("/fail", "/inner/fail", "/stop", "/inner/stop", "/missing", "/inner/missing")],
    ),
    "error in before": Scenario(error_in_before),
    "teardown error": Scenario(teardown_error, [("GET", "/"), ("GET", "/fail")]),
    "sessions": Scenario(
        sessions,
        [
            ("GET", f"/{path}")
            for path in ("", "read", "write", "read", "", "keep", "", "read", "clear", "show_flash", "")
        ],
    ),
    "sessions that are not renewed": Scenario(
        sessions, [("GET", f"/{path}") for path in ("keep", "", "read")], {"SESSION_REFRESH_EACH_REQUEST": False}
    ),
    "session in hook": Scenario(session_in_hook, [("GET", "/")] * 2),
    "own session interface": Scenario(own_session_interface, [("GET", "/")] * 2),
    "no secret key": Scenario(no_secret_key, [("GET", "/"), ("GET", "/read")]),
    "contexts": Scenario(contexts, [("GET", "/"), ("GET", "/later")]),
    "responses": Scenario(
        responses,
        [(method, f"/{name}") for method in ("GET", "HEAD") for name in RESPONSES],
    ),
    "routing": Scenario(routing, ROUTES),
    "form": Scenario(view_class_and_form, [("POST", "/?a=1")]),
}


def listening(app: Quart, log: Log) -> ExitStack:
    """Note Quart's signals."""
    stack = ExitStack()
    for signal in (
        appcontext_pushed,
        request_started,
        request_finished,
        got_request_exception,
        request_tearing_down,
        appcontext_tearing_down,
        appcontext_popped,
    ):

        def note(sender: Quart, *, name: str = signal.name, **given: Any) -> None:
            log.append((name, sorted(given), has_request_context()))

        stack.enter_context(signal.connected_to(note, sender=app))
    return stack


async def take_apart(response: Any) -> tuple[Any, ...]:
    """Return what is compared of a response: errors have bodies of our own."""
    body, headers = None, {}
    if response.status_code < 300:
        body, headers = await response.get_data(), {name: response.headers.get(name) for name in COMPARED}
    location = (response.headers.get("Location") or "").removeprefix("http://localhost")
    cookies = []
    for cookie in response.headers.getlist("Set-Cookie"):
        value, *attributes = cookie.split("; ")
        cookies.append((value.partition("=")[0], [one for one in attributes if not one.startswith("Expires")]))
    return response.status_code, body, headers, location, cookies, "Cookie" in response.headers.get("Vary", "")


async def run(make: Callable[[dict[str, Any]], Quart], scenario: Scenario, name: str) -> list[Any]:
    """Run a scenario; return the notes and the answers."""
    log: Log = []
    app = make(scenario.config)
    scenario.prepare(app, log)
    answers: list[Any] = []
    await app.startup()
    log.clear()
    client = app.test_client()
    try:
        with listening(app, log) if name == "signals" else ExitStack():
            for method, path in scenario.asks:
                options: dict[str, Any] = {"form": {"f": "1"}} if name == "form" else {}
                response: Any = await client.open(path, method=method, **options)
                await asyncio.sleep(0)
                answers.append((method, path, *await take_apart(response)))
        return [[*log], answers]
    finally:
        await app.shutdown()


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.ligand_conformance("off", reason="the routes are Quart's own")
async def test_as_in_quart(name: str) -> None:
    """What a service notes, and what it answers, is the same on a stock Quart."""
    expected = await run(stock, SCENARIOS[name], name)
    found = await run(ours, SCENARIOS[name], name)

    assert found[0] == expected[0]
    assert found[1] == expected[1]
