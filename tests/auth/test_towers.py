"""Row 127: whatever stands between a route and a mark, the route has the exact guard, or the app does not start."""

import asyncio
import functools
import random
from collections.abc import Callable
from typing import Any

import pytest
from quart import Blueprint, Quart, websocket
from quart.testing import WebsocketResponseError
from quart.views import MethodView, View

from ligand_async import operation, public, requires, role
from ligand_async.auth import AccessError, check_access
from tests.auth.guarding import bearer, guarded, statuses

ADMIN = requires(role("admin"))
CALLERS = (None, "user", "writer", "admin")
ADMINS, OPEN, CLOSED = [401, 403, 403, 200], [200] * 4, [401, 200, 200, 200]


def handler() -> Any:
    """Return a function of its own: it has no mark yet."""

    async def secret(*_: Any) -> str:
        return "secret"

    return secret


def closing(function: Any) -> Any:
    """Hide a function in a closure."""

    async def inner(*arguments: Any, **named: Any) -> Any:
        return await function(*arguments, **named)

    return inner


def wrapping(function: Any) -> Any:
    return functools.wraps(function)(closing(function))


def half_wrapping(function: Any) -> Any:
    return functools.wraps(function, updated=())(closing(function))


class _Slots:
    __slots__ = ("function",)

    def __init__(self, function: Any) -> None:
        self.function = function

    async def __call__(self, *arguments: Any, **named: Any) -> Any:
        return await self.function(*arguments, **named)


class _Attribute:
    def __init__(self, function: Any) -> None:
        self.function = function

    async def call(self, *arguments: Any, **named: Any) -> Any:
        return await self.function(*arguments, **named)


def in_slots(function: Any) -> Any:
    return closing(_Slots(function))


def in_object(function: Any) -> Any:
    """Make a bound method, which is the view."""
    return _Attribute(function).call


def in_containers(function: Any) -> Any:
    box = {"deep": [(function,)]}

    async def inner(*arguments: Any, **named: Any) -> Any:
        return await box["deep"][0][0](*arguments, **named)

    return inner


def in_default(function: Any) -> Any:
    async def inner(*arguments: Any, _function: Any = function, **named: Any) -> Any:
        return await _function(*arguments, **named)

    return inner


def in_partial(function: Any) -> Any:
    return closing(functools.partial(function))


TABLE: dict[int, Any] = {}


def in_table(function: Any) -> Any:
    """Find the function by its name: nothing leads from the one to the other."""
    key = len(TABLE)
    TABLE[key] = function

    async def inner(*arguments: Any, **named: Any) -> Any:
        return await TABLE[key](*arguments, **named)

    return inner


HIDING = (closing, wrapping, half_wrapping, in_slots, in_object, in_containers, in_default, in_partial)
Register = Callable[[Any, Any], None]


def add(target: Quart | Blueprint, view: Any) -> None:
    target.add_url_rule("/x", "x", view)


def add_method_view(target: Quart | Blueprint, view: Any) -> None:
    """Make the view a method of a class."""

    class Views(MethodView):
        async def get(self) -> Any:
            return await view()

    target.add_url_rule("/x", view_func=Views.as_view("x"))


def in_own_blueprint(app: Quart, view: Any) -> None:
    blueprint = Blueprint("inner", __name__)
    add(blueprint, view)
    app.register_blueprint(blueprint)


def in_nested_blueprint(app: Quart, view: Any) -> None:
    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)
    add(inner, view)
    outer.register_blueprint(inner)
    app.register_blueprint(outer)


def by_record(app: Quart, view: Any) -> None:
    blueprint = Blueprint("inner", __name__)
    blueprint.record(lambda state: state.app.add_url_rule("/x", "x", view))
    app.register_blueprint(blueprint)


WAYS: tuple[Register, ...] = (add_method_view, add, in_own_blueprint, in_nested_blueprint, by_record)


async def ask(app: Quart, path: str = "/x") -> list[int] | None:
    """Return what the callers get; None if the app does not start."""
    try:
        check_access(app)
    except AccessError:
        return None
    return await statuses(app.test_client(), path, *CALLERS)


@pytest.mark.parametrize("seed", range(40))
async def test_a_tower_has_the_exact_guard_or_does_not_start(figure: Callable[[int, int], int], seed: int) -> None:
    """Random decorators, the mark and the route at random places among them; with the route on top an app starts."""
    chance = random.Random(seed)  # noqa: S311  (no secret)
    for _ in range(figure(8, 500)):
        steps: list[Any] = [chance.choice(HIDING) for _ in range(chance.randrange(5))]
        steps.insert(chance.randrange(len(steps) + 1), ADMIN)
        if chance.random() < 0.2:
            steps.append(in_table)  # above the mark: from above, nothing would lead to the route
        route, view, app = chance.randrange(len(steps) + 1), handler(), guarded()
        # A method that calls the function is no decorator of it: a mark that comes later is not meant for the route.
        way = chance.choice(WAYS if steps.index(ADMIN) < route else WAYS[1:])
        try:
            for place, step in enumerate([*steps, None]):
                if place == route:
                    way(app, view)
                view = view if step is None else step(view)
        except TypeError:  # refused where it is decorated
            continue
        found = await ask(app)
        told = [*(getattr(step, "__name__", "mark") for step in steps), route, way.__name__]
        assert found in (None, ADMINS), told
        assert found or route < len(steps), told


class _Marked:
    @ADMIN
    async def __call__(self) -> str:
        return "secret"

    @ADMIN
    async def method(self) -> str:
        return "secret"


class _MarkedSlots:
    __slots__ = ()

    @ADMIN
    def __call__(self) -> str:
        return "secret"


@ADMIN
class _Guarded:
    async def show(self) -> str:
        return "secret"

    @public
    async def open(self) -> str:
        return "open"


class _Below(_Guarded):
    async def more(self) -> str:
        return "secret"


class _Plain:
    async def get(self) -> str:
        return "secret"


@ADMIN
class _Mixed(_Plain, MethodView):
    """Inherits its method from a class without a mark."""

    @public
    async def post(self) -> str:
        return "open"


@public
class _Opened(_Mixed):
    """Is nearer than the class above."""


class _MarkedView(MethodView):
    @ADMIN
    async def get(self) -> str:
        return "secret"


class _MarkedWhole(View):
    @ADMIN
    async def dispatch_request(self, **_: Any) -> str:
        return "secret"


EXACT: dict[str, tuple[Callable[[], Any], list[int]]] = {
    "an instance with a marked __call__, hidden": (lambda: closing(_Marked()), ADMINS),
    "an instance with slots and a marked __call__": (_MarkedSlots, ADMINS),
    "a marked method": (lambda: _Marked().method, ADMINS),
    "a marked method, hidden": (lambda: closing(_Marked().method), ADMINS),
    "a method of a marked class": (lambda: _Guarded().show, ADMINS),
    "a method of a marked class, hidden": (lambda: in_slots(_Guarded().show), ADMINS),
    "a public method of a marked class": (lambda: _Guarded().open, OPEN),
    "an inherited method below a marked class": (lambda: _Below().show, ADMINS),
    "a method of a class below a marked one, hidden": (lambda: in_table(_Below().more), ADMINS),
    "a marked class with an inherited method": (lambda: _Mixed.as_view("x"), ADMINS),
    "a marked class with an inherited method, hidden": (lambda: closing(_Mixed.as_view("x")), ADMINS),
    "a public class below a marked one": (lambda: _Opened.as_view("x"), OPEN),
    "a marked view of a class": (lambda: _MarkedView.as_view("x"), ADMINS),
    "a marked view of a class, hidden": (lambda: half_wrapping(_MarkedView.as_view("x")), ADMINS),
    "a marked dispatch_request, hidden": (lambda: in_containers(_MarkedWhole.as_view("x")), ADMINS),
    "a function for threads, hidden": (lambda: _in_thread(ADMIN(lambda: "secret")), ADMINS),
    "public, hidden: it only closes": (lambda: closing(public(handler())), CLOSED),
}


def _in_thread(function: Any) -> Any:
    async def inner() -> Any:
        return await asyncio.to_thread(function)

    return inner


@pytest.mark.parametrize("case", EXACT)
async def test_a_mark_holds_wherever_it_stands(case: str) -> None:
    """On `__call__`, on methods and classes, hidden or not."""
    make, expected = EXACT[case]
    app = guarded()
    app.add_url_rule("/x", "x", make())

    assert await ask(app) == expected


def overriding_view() -> Any:
    class Over(_MarkedView):
        async def get(self) -> str:
            return "secret"

    return Over.as_view("x")


def overriding_method() -> Any:
    class Over(_Marked):
        async def method(self) -> str:
            return "secret"

    return Over().method


def overriding_call() -> Any:
    class Over(_MarkedSlots):
        def __call__(self) -> str:
            return "secret"

    return Over()


def overriding_far_above() -> Any:
    class Between(_MarkedView):
        async def get(self) -> str:
            return "secret"

    class Over(Between):
        """Has nothing of its own."""

    return Over.as_view("x")


@pytest.mark.parametrize(
    "make", [overriding_view, overriding_method, overriding_call, overriding_far_above], ids=lambda make: make.__name__
)
async def test_a_method_without_a_mark_that_overrides_one_with_a_mark_stops_the_start(make: Any) -> None:
    """Its class, or the class above, must say who may call."""
    app = guarded()
    app.add_url_rule("/x", "x", make())

    with pytest.raises(AccessError, match=r"overrides .* which has the mark requires\(role admin\)"):
        check_access(app)


async def test_a_class_s_own_mark_speaks_for_a_method_that_overrides() -> None:
    """It is nearer than the mark of the method above."""

    @public
    class Over(_MarkedView):
        async def get(self) -> str:
            return "open"

    app = guarded()
    app.add_url_rule("/x", view_func=Over.as_view("x"))

    assert await ask(app) == OPEN


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_marked_blueprint_cannot_add_a_route_past_itself(depth: int) -> None:
    """Neither to the app nor to the blueprint around it."""
    inner = ADMIN(Blueprint("inner", __name__))
    inner.record(lambda state: state.app.add_url_rule("/x", ("outer.x", "x")[depth % 2], handler()))
    top: Blueprint = inner
    for number in range(depth):
        outer = Blueprint(("outer", "top")[number], __name__)
        outer.register_blueprint(top)
        top = outer
    app = guarded()

    with pytest.raises(AccessError, match=r"inner has the mark requires\(role admin\), and a function of its record"):
        app.register_blueprint(top)


async def test_what_a_blueprint_records_for_itself_has_its_mark() -> None:
    """Also after it has registered another blueprint meanwhile, whose mark is none of its business."""
    outer, other = ADMIN(Blueprint("outer", __name__)), public(Blueprint("other", __name__))
    outer.record(lambda state: state.app.register_blueprint(other))
    outer.record(lambda state: state.add_url_rule("/x", "x", handler()))
    app = guarded()
    app.register_blueprint(outer)

    assert await ask(app) == ADMINS


async def test_a_handler_that_calls_another_needs_what_that_one_needs() -> None:
    """The call decides; the mark of the route that called is decided before."""
    inner = ADMIN(handler())

    async def outer() -> Any:
        return await inner()

    app = guarded()
    app.add_url_rule("/x", "x", outer)
    app.add_url_rule("/y", "y", public(outer))

    assert (await ask(app), await ask(app, "/y")) == (ADMINS, ADMINS)
    assert await inner() == "secret"  # no request: a script, or a test


async def test_a_mark_is_decided_at_the_call_of_a_websocket_too() -> None:
    """A decorator hides the mark; the handshake is not accepted."""
    app = guarded()

    @ADMIN
    async def talk() -> None:
        await websocket.send("secret")

    app.websocket("/x", endpoint="x")(closing(talk))
    client = app.test_client()

    async with client.websocket("/x", headers=bearer("admin")) as connection:
        assert await connection.receive() == "secret"
    for word in (None, "user"):
        with pytest.raises(WebsocketResponseError):
            async with client.websocket("/x", headers=bearer(word)) as connection:
                await connection.receive()


async def test_an_error_handler_is_not_let_in() -> None:
    """Nothing was decided for a request that has no route."""
    app = guarded()
    inner = ADMIN(handler())

    @app.errorhandler(404)
    async def show(_: Exception) -> Any:
        return await inner()

    assert await ask(app, "/missing") == [401] * 4  # nobody is authenticated where there is no route


def test_what_is_set_above_a_mark_is_found_on_the_registered_function() -> None:
    """`requires` above the route returns another function; both have the same attributes, signature and name."""
    blueprint = Blueprint("pets", __name__)

    async def view(name: "Later") -> str:
        return str(name)

    marked: Any = ADMIN(blueprint.get("/")(view))
    marked.exempt = True

    assert vars(marked) is vars(view)
    assert (marked.__name__, marked.__qualname__, marked.__module__) == ("view", view.__qualname__, __name__)
    assert operation(marked).__name__ == "view"  # its annotations are resolved where it was written


Later = str


class _Proxy:
    """A proxy of an extension, which is nothing outside a request."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"{name}: working outside of a request")

    __call__ = __eq__ = __hash__ = __bool__ = __iter__ = __len__ = __getattribute__  # type: ignore[assignment]  # one for all


def test_the_checks_at_start_touch_no_proxy() -> None:
    """Whether it is in a closure, a default, an attribute, or a global beside the blueprint."""
    proxy: Any = _Proxy()

    async def view(_default: Any = proxy) -> str:
        return str(proxy)

    vars(view)["proxy"] = proxy
    app = guarded()
    in_slots(ADMIN(closing(view)))
    app.add_url_rule("/x", "x", ADMIN(in_containers(view)))

    check_access(app)
