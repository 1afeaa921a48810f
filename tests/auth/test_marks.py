"""What carries the marks of who may call, and which of them decides."""

import functools
import itertools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from quart import Blueprint, Quart
from quart.views import MethodView, View
from quart_schema import tag, validate_response

from ligand_async import claim, limit, operation, public, requires, role
from ligand_async.auth import AccessError, access_of, check_access
from ligand_async.marks import access_mark
from ligand_async.principal import HasRole
from ligand_async.web import OperationError, check_operations
from tests.auth.guarding import guarded, statuses
from tests.services import running

ADMIN = requires(role("admin"))

USER = requires(role("user"))

OPEN, CLOSED, ADMINS, USERS = [200, 200, 200], [401, 200, 200], [401, 403, 200], [401, 200, 200]


async def ask(app: Quart, path: str, method: str = "GET") -> list[int]:
    """Return what nobody, a user and an administrator get."""
    async with running(app, tables=False) as client:
        return await statuses(client, path, None, "user", "admin", method=method)


def in_blueprint(register: Callable[[Blueprint], Any]) -> Quart:
    blueprint = Blueprint("pets", __name__)
    register(blueprint)
    return guarded(blueprint)


@pytest.mark.parametrize(
    ("mark", "expected"),
    [(None, CLOSED), (public, OPEN), (ADMIN, ADMINS), (USER, USERS)],
    ids=["none", "public", "admin", "user"],
)
@pytest.mark.parametrize("kind", ["plain", "operation", "sync"])
async def test_a_function_s_mark_decides(mark: Any, expected: list[int], kind: str) -> None:
    """A route without a mark needs a principal; any will do."""

    async def view() -> str:
        return "x"

    def sync_view() -> str:
        return "x"

    made: Any = sync_view if kind == "sync" else operation(view) if kind == "operation" else view
    app = in_blueprint(lambda blueprint: blueprint.get("/")(mark(made) if mark else made))

    assert await ask(app, "/") == expected


async def test_a_route_that_is_added_late_is_closed() -> None:
    """With no mark, straight on the app, of any method: 401."""
    app = guarded()

    @app.route("/", methods=["GET", "PUT"])
    async def late() -> str:
        return "x"

    assert await ask(app, "/") == CLOSED
    assert await ask(app, "/", "PUT") == CLOSED


@public
class Animals(MethodView):
    """Public, but for some of its methods."""

    @operation
    async def get(self) -> str:
        return "x"

    @ADMIN
    @operation
    async def put(self) -> str:
        return "x"

    @operation
    @USER
    async def delete(self) -> str:
        return "x"

    async def post(self) -> str:
        return "x"


class Dogs(Animals):
    """Has its class's mark from above, and a method of its own."""

    async def post(self) -> str:
        return "x"

    @ADMIN
    async def head(self) -> str:
        return ""


@ADMIN
class Cats(Animals):
    """Says otherwise."""


class Birds(Animals):
    """Has another mark for GET, and so for the HEAD that GET answers."""

    @ADMIN
    @operation
    async def get(self) -> str:
        return "x"


class Decorated(MethodView):
    """Marked as `decorators` are."""

    decorators = (ADMIN,)  # type: ignore[assignment]  # Quart asks for a list and takes any iterable

    async def get(self) -> str:
        return "x"

    @public
    async def put(self) -> str:
        return "x"


class Inherited(Decorated):
    """Has them from above."""


class Whole(View):
    """No methods: one function for all."""

    methods = ("GET", "POST")

    @ADMIN
    async def dispatch_request(self, **_: Any) -> str:
        return self.get()

    @public
    def get(self) -> str:
        """Help; nothing calls it for GET alone."""
        return "x"


@pytest.mark.parametrize(
    ("view_class", "method", "expected"),
    [
        (Animals, "GET", OPEN),
        (Animals, "HEAD", OPEN),
        (Animals, "PUT", ADMINS),
        (Animals, "DELETE", USERS),
        (Animals, "POST", OPEN),
        (Dogs, "GET", OPEN),
        (Dogs, "POST", OPEN),
        (Dogs, "PUT", ADMINS),
        (Dogs, "HEAD", ADMINS),
        (Cats, "GET", ADMINS),
        (Birds, "HEAD", ADMINS),
        (Cats, "DELETE", USERS),
        (Decorated, "GET", ADMINS),
        (Decorated, "PUT", OPEN),
        (Inherited, "GET", ADMINS),
        (Whole, "GET", ADMINS),
        (Whole, "POST", ADMINS),
    ],
)
async def test_a_method_view_s_nearest_mark_decides(view_class: Any, method: str, expected: list[int]) -> None:
    """The method's own, then that of its class or of the nearest class above, then those of `decorators`."""
    app = in_blueprint(lambda blueprint: blueprint.add_url_rule("/", view_func=view_class.as_view("x")))

    assert await ask(app, "/", method) == expected


async def test_the_nearest_blueprint_s_mark_decides() -> None:
    """Nested ones inherit; a nearer mark wins, be it stricter or not; a sibling is not touched."""

    async def view() -> str:
        return "x"

    outer = ADMIN(Blueprint("outer", __name__, url_prefix="/outer"))
    middle = Blueprint("middle", __name__, url_prefix="/middle")
    inner = public(Blueprint("inner", __name__, url_prefix="/inner"))
    sibling = Blueprint("sibling", __name__, url_prefix="/sibling")
    for blueprint in (outer, middle, inner, sibling):
        blueprint.get("/")(view)
    inner.get("/own", endpoint="own")(USER(operation(view)))
    middle.register_blueprint(inner)
    outer.register_blueprint(middle)
    app = guarded(outer, sibling)

    assert [await ask(app, path) for path in ("/outer/", "/outer/middle/", "/outer/middle/inner/", "/sibling/")] == [
        ADMINS,
        ADMINS,
        OPEN,
        CLOSED,
    ]
    assert await ask(app, "/outer/middle/inner/own") == USERS


async def test_a_blueprint_s_mark_goes_where_it_is_registered() -> None:
    """Under another name it is the same blueprint."""

    async def view() -> str:
        return "x"

    blueprint = ADMIN(Blueprint("pets", __name__))
    blueprint.get("/")(view)
    app = guarded(blueprint)
    app.register_blueprint(blueprint, name="again", url_prefix="/again")

    assert await ask(app, "/again/") == ADMINS


async def test_static_files_are_public_unless_their_blueprint_says_otherwise(tmp_path: Any) -> None:
    """Files of a static folder are there for anybody; a view of the same name is not."""
    (tmp_path / "x.txt").write_text("x")
    free = Blueprint("free", __name__, static_folder=str(tmp_path), static_url_path="/free")
    kept = ADMIN(Blueprint("kept", __name__, static_folder=str(tmp_path), static_url_path="/kept"))
    own = Blueprint("own", __name__)

    @own.get("/own")
    async def send_static_file() -> str:
        return "x"

    app = guarded(free, kept, own)

    assert [await ask(app, path) for path in ("/free/x.txt", "/kept/x.txt", "/own")] == [OPEN, ADMINS, CLOSED]


async def test_a_websocket_s_and_a_route_s_marks_are_their_own() -> None:
    """One path may lead to both."""
    app = guarded()

    @app.get("/")
    @public
    async def view() -> str:
        return "x"

    @app.websocket("/")
    async def talk() -> None:
        """Say nothing."""

    assert (str(access_of(app, "view", "GET")), str(access_of(app, "talk", "GET"))) == ("anyone", "any principal")


def test_two_marks_are_a_mistake_at_import() -> None:
    """Which of two would hold must not hang on their order; the same mark twice says nothing new."""

    @public
    async def view() -> str:
        return "x"

    with pytest.raises(TypeError, match="view has two access decorators"):
        ADMIN(view)
    with pytest.raises(TypeError, match="two access decorators"):
        ADMIN(functools.wraps(view)(lambda: "x"))
    with pytest.raises(TypeError, match="two access decorators"):
        public(ADMIN(operation(functools.wraps(view, updated=())(lambda_view()))))
    with pytest.raises(TypeError, match="pets has two access decorators"):
        public(ADMIN(Blueprint("pets", __name__)))
    assert public(view) is view


def lambda_view() -> Any:
    async def inner() -> str:
        return "x"

    return inner


def test_a_class_and_its_decorators_with_two_marks_are_never_served() -> None:
    """Either may have come from a class above; nobody is let in until one is left."""

    @public
    class Torn(MethodView):
        decorators = (ADMIN,)  # type: ignore[assignment]  # as above

        async def get(self) -> str:
            return "x"

    app = in_blueprint(lambda blueprint: blueprint.add_url_rule("/", view_func=Torn.as_view("x")))

    with pytest.raises(AccessError, match="Torn has two access decorators"):
        access_of(app, "pets.x", "GET")


@pytest.mark.parametrize("wrong", ["admin", None, role, HasRole, role("admin").is_met, [role("admin")]])
def test_requires_takes_a_requirement(wrong: Any) -> None:
    """Anything else is a mistake at import, and so is `@requires` without one."""
    with pytest.raises(TypeError, match="takes a requirement"):
        requires(wrong)


class Holder:
    async def view(self) -> str:
        return "x"


@pytest.mark.parametrize(
    "wrong",
    [
        "pets",
        None,
        3,
        property(len),
        staticmethod(lambda: 1),
        classmethod(type),
        Holder().view,
        len,
    ],
    ids=lambda wrong: type(wrong).__name__,
)
def test_what_can_carry_no_mark_is_refused(wrong: Any) -> None:
    """At import: a mark that would be lost is none."""
    for mark in (public, ADMIN):
        with pytest.raises(TypeError, match=r"decorate views, classes|cannot have an access decorator"):
            mark(wrong)


def test_a_static_method_is_marked_below() -> None:
    """The object that Python makes of it is not what is called."""
    with pytest.raises(TypeError, match="put @staticmethod above"):
        public(staticmethod(len))


def test_an_app_cannot_be_marked() -> None:
    """What is closed by default is not opened as a whole."""
    with pytest.raises(TypeError, match="blueprints"):
        public(Quart(__name__))


def test_what_is_marked_tells_its_mark() -> None:
    """The function that came in, and the one that checks at its call; `public` needs no other."""

    async def view() -> str:
        return "x"

    requirement = claim("tenant", "acme")
    assert access_mark(requires(requirement)(view)) is access_mark(view)
    assert access_mark(view) is not None
    assert str(access_mark(view)) == "requires(claim tenant=acme)"


Decorator = Callable[[Any], Any]

Handler = Callable[[], Coroutine[Any, Any, str]]


def wrapping(handler: Any) -> Any:
    """A service's own decorator, as it should be."""

    @functools.wraps(handler)
    async def wrapper(*arguments: Any, **named: Any) -> Any:
        return await handler(*arguments, **named)

    return wrapper


def hiding(handler: Handler) -> Any:
    """One that does without functools.wraps."""

    async def wrapper() -> str:
        return await handler()

    return wrapper


def half_wrapping(handler: Handler) -> Any:
    """One that takes the name and leaves the marks."""

    @functools.wraps(handler, updated=())
    async def wrapper() -> str:
        return await handler()

    return wrapper


OTHERS: dict[str, Decorator] = {
    "wrapping": wrapping,
    "hiding": hiding,
    "half wrapping": half_wrapping,
    "partial": functools.partial,
    "tag": tag(["x"]),
    "validate_response": validate_response(str),
}

HIDING = {"hiding", "half wrapping", "partial"}

MARKS = {"requires": requires(role("admin")), "public": public}


def orders(mark: Decorator, other: Decorator) -> Iterator[tuple[str, Blueprint]]:
    """Yield a blueprint for each order of five decorators that can be imported, and what the order is."""
    names = ("route", "operation", "mark", "limit", "other")
    for number, order in enumerate(itertools.permutations(names)):
        blueprint = Blueprint(f"order{number}", __name__, url_prefix=f"/{number}")
        decorators: dict[str, Decorator] = {
            "route": blueprint.get("/", endpoint="x"),
            "operation": operation,
            "mark": mark,
            "limit": limit("1000/second"),
            "other": other,
        }

        async def handler() -> str:
            return "x"

        try:
            made: Any = handler
            for name in reversed(order):
                made = decorators[name](made)
        except (OperationError, AttributeError):
            continue  # refused at import: no coroutine function with annotations
        yield " > ".join(order), blueprint


@pytest.mark.ligand_conformance("off", reason="quart-schema writes a str as HTML")
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.extended
async def test_no_order_of_decorators_weakens_a_mark(mark: str, other: str) -> None:
    """The app does not start, and its error names the route; or over HTTP the mark holds as it was written."""
    everything = [*orders(MARKS[mark], OTHERS[other])]
    made = [(order, blueprint) for order, blueprint in everything if is_served(blueprint)]
    assert all(order in dict(made) for order, _ in everything if order.index("route") < order.index("operation"))
    refused = lost_in(guarded(*(blueprint for _, blueprint in made)))
    kept = [(order, blueprint) for order, blueprint in made if blueprint.name not in refused]
    assert all(order not in dict(kept) or not order.startswith("mark > operation > route") for order, _ in made)
    assert other in HIDING or all(order in dict(kept) for order, _ in made if order.startswith("route"))

    async with running(guarded(*(blueprint for _, blueprint in kept)), tables=False) as client:
        for order, blueprint in kept:
            found = await statuses(client, f"{blueprint.url_prefix}/", None, "user", "admin")
            # quart-schema's decorator cannot stand above `operation`: there it is a 500 for whoever is let in.
            let_in = [status if status in {401, 403} else "in" for status in found]
            # A decorator that hides `public` only closes.
            closed = [[401, "in", "in"]] if other in HIDING and order.index("other") < order.index("mark") else []
            assert let_in in ([[401, 403, "in"]] if mark == "requires" else [["in"] * 3, *closed]), order


def is_served(blueprint: Blueprint) -> bool:
    """Return whether the check at start finds every `@operation` below the decorator of its route."""
    try:
        check_operations(guarded(blueprint))
    except OperationError:
        return False
    return True


def lost_in(app: Quart) -> set[str]:
    """Return the blueprints in which the check at start finds lost marks."""
    try:
        check_access(app)
    except AccessError as error:
        return {line.split(".")[0].strip() for line in str(error).splitlines()[1:]}
    return set()
