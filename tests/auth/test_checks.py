"""What an app refuses to start with."""

import functools
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from quart import Blueprint, Quart, request
from quart.testing.app import LifespanError
from quart.views import MethodView

from ligand_async import Principal, Settings, create_app, operation, public, requires, role
from ligand_async.auth import AccessError, APIKeyAuthenticator, check_access
from ligand_async.marks import access_mark
from ligand_async.web import OperationError
from tests.auth.guarding import guarded
from tests.services import NEVER_OPENED

ADMIN = requires(role("admin"))
HEADER = """
import functools
from typing import Any
from quart import Blueprint
from quart.views import MethodView
from ligand_async import operation, public, requires, role

pets = Blueprint("pets", __name__, url_prefix="/pets")
others = Blueprint("others", __name__)

def wrapping(handler: Any) -> Any:
    @functools.wraps(handler)
    async def wrapper(*arguments: Any, **named: Any) -> Any:
        return await handler(*arguments, **named)
    return wrapper

@pets.get("/")
@public
@operation
async def list_pets() -> str:
    return "x"
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Import a module with one good handler and what a test adds to it."""
    made: list[str] = []

    def make(code: str) -> ModuleType:
        name = f"checked_{len(made)}"
        made.append(name)
        module = sys.modules[name] = ModuleType(name)
        exec(compile(HEADER + code, name, "exec"), vars(module))  # noqa: S102  (the test's own text)
        return module

    yield make
    for name in made:
        del sys.modules[name]


def mistakes(app: Quart) -> list[str]:
    """Return the lines of the error that keeps an app from starting."""
    try:
        check_access(app)
    except AccessError as error:
        return [line.strip() for line in str(error).splitlines()[1:]]
    return []


async def test_an_app_with_a_lost_mark_does_not_start() -> None:
    """The check is made when it starts, and names the route."""
    blueprint = Blueprint("pets", __name__)

    @ADMIN
    @operation
    @blueprint.get("/")
    async def list_pets() -> str:
        return "x"

    with pytest.raises(LifespanError, match=r"pets\.list_pets: the mark requires\(role admin\) is on a function"):
        async with guarded(blueprint).test_app():
            pass


async def test_a_lost_mark_is_told_though_its_function_is_gone() -> None:
    """A factory that returns only the blueprint drops it."""

    def make() -> Blueprint:
        blueprint = Blueprint("pets", __name__)

        @ADMIN
        @functools.partial
        @blueprint.get("/")
        async def list_pets() -> str:
            return "x"

        return blueprint

    blueprint = make()
    gc.collect()

    assert len(mistakes(guarded(blueprint))) == 1


LOST = {
    "function": "@requires(role('admin'))\nasync def lost() -> str: ...",
    "operation": "@public\n@operation\nasync def lost() -> str: ...",
    "class": "@public\nclass lost(MethodView): ...",
    "method": "class lost(MethodView):\n    @public\n    async def get(self) -> str: ...",
}
FOUND = {
    "registered": "@pets.put('/')\n@public\nasync def found() -> str: ...",
    "registered elsewhere": "@others.put('/')\n@public\nasync def found() -> str: ...",
    "wrapped": "@pets.put('/')\n@wrapping\n@public\n@operation\nasync def found() -> str: ...",
    "nested": "@public\nasync def found() -> str: ...\n"
    "def nest(deep: Blueprint) -> None:\n    deep.put('/')(found)\n    others.register_blueprint(deep)\n"
    "nest(Blueprint('deep', __name__))",
    "websocket": "@others.websocket('/')\n@public\nasync def found() -> None: ...",
    "class": "@public\nclass Found(MethodView):\n    @public\n    async def get(self) -> str: ...\n"
    "class Below(Found):\n    async def get(self) -> str: ...\n"
    "pets.add_url_rule('/x', view_func=Below.as_view('x'))",
    "class elsewhere": "@public\nclass Found(MethodView):\n    async def get(self) -> str: ...\n"
    "others.add_url_rule('/x', view_func=Found.as_view('x'))",
    "static method": "class Found(MethodView):\n    @staticmethod\n    @public\n    async def get() -> str: ...\n"
    "pets.add_url_rule('/x', view_func=Found.as_view('x'))",
    "blueprint": "marked = public(Blueprint('marked', __name__))",
    "local": "def make() -> Any:\n    @public\n    async def local() -> str: ...\n    return local\nkept = make()",
}


@pytest.mark.parametrize("code", LOST.values(), ids=LOST)
def test_a_mark_that_no_route_leads_to_is_told(code: str, module: Callable[[str], ModuleType]) -> None:
    """What is marked beside a blueprint and not registered: the message names it and its mark."""
    made = module(code)

    (mistake,) = mistakes(guarded(made.pets))

    assert f"{made.__name__}.lost" in mistake
    assert "requires(role admin)" in mistake or "it has the mark public" in mistake


@pytest.mark.parametrize("code", FOUND.values(), ids=FOUND)
def test_marks_that_something_leads_to_are_well(code: str, module: Callable[[str], ModuleType]) -> None:
    """Also where another app registers it."""
    assert mistakes(guarded(module(code).pets)) == []


def test_a_mark_above_the_route_s_decorator_is_told(module: Callable[[str], ModuleType]) -> None:
    """A decorator between them made another function; where it made none, all is well."""
    made = module("""
@public
@wrapping
@pets.get('/lost')
async def lost() -> str: ...

@public
@pets.get('/found')
async def found() -> str: ...
""")

    (mistake,) = mistakes(guarded(made.pets))

    assert mistake.startswith("pets.lost: the mark public is on a function that is not the registered one")


def test_other_modules_are_not_looked_at(module: Callable[[str], ModuleType]) -> None:
    """A process may hold several apps: what is marked beside none of this one's blueprints is another's."""
    lost = module(LOST["function"])

    assert mistakes(guarded(module("").pets)) == []
    assert len(mistakes(guarded(lost.pets))) == 1


def test_a_blueprint_of_a_test_s_own_speaks_for_no_module() -> None:
    """Handlers of a module that several tests register are nobody's mistake."""
    assert access_mark(unregistered) is not None
    assert mistakes(guarded(Blueprint("pets", __name__))) == []


@public
async def unregistered() -> str:
    """Stand here for the test above."""
    return "x"


def test_a_handler_may_call_another() -> None:
    """One that is registered has its own guard, and its mark is not lost."""
    blueprint = Blueprint("pets", __name__)

    @blueprint.get("/one")
    @ADMIN
    async def one() -> str:
        return "x"

    @blueprint.get("/other")
    async def other() -> str:
        return await one()

    assert mistakes(guarded(blueprint)) == []


def test_the_same_handler_may_be_in_two_apps() -> None:
    """In one as it is, in the other behind a decorator that made another function; each has the mark."""

    async def view() -> str:
        return "x"

    plain, typed = Blueprint("plain", __name__), Blueprint("typed", __name__)
    plain.get("/")(public(view))
    typed.get("/")(public(operation(view)))

    assert mistakes(guarded(plain)) == mistakes(guarded(typed)) == []


def test_what_is_no_function_is_not_looked_into() -> None:
    """A handler may hold Quart's proxies, which are nothing outside a request, its app, and classes."""
    app = guarded()
    proxy, kind = request, Blueprint

    async def view() -> str:
        return f"{proxy.path} {app.name} {kind.__name__}"

    app.add_url_rule("/", "view", view)

    assert mistakes(app) == []


def test_a_class_with_two_marks_is_told() -> None:
    """One on the class and another in `decorators`, be it from a class above."""

    class Above(MethodView):
        decorators = (ADMIN,)  # type: ignore[assignment]  # as above

        async def get(self) -> str:
            return "x"

    @public
    class Torn(Above):
        """Says otherwise."""

    blueprint = Blueprint("pets", __name__)
    blueprint.add_url_rule("/", view_func=Torn.as_view("torn"))

    assert len(mistakes(guarded(blueprint))) == 1


def roles_app(**settings: Any) -> Quart:
    blueprint = requires(role("keeper") & ~role("banished"))(Blueprint("pets", __name__, url_prefix="/pets"))

    @blueprint.route("/", methods=["GET", "PUT"])
    async def pets() -> str:
        return "x"

    @blueprint.websocket("/talk")
    @requires(role("admn") | role("user"))
    async def talk() -> None:
        """Say nothing."""

    return guarded(blueprint, settings=settings)


def test_roles_that_do_not_exist_are_told() -> None:
    """Each with its routes and the nearest name, denied ones and blueprints' too, all at once."""
    add = "add it to LIGAND_ALLOWED_ROLES, which has admin, user, keepers"
    assert mistakes(roles_app(allowed_roles=("admin", "user", "keepers"))) == [
        f"GET /pets/ (pets.pets): there is no role banished; {add}",
        "GET /pets/ (pets.pets): there is no role keeper; did you mean keepers?",
        f"PUT /pets/ (pets.pets): there is no role banished; {add}",
        "PUT /pets/ (pets.pets): there is no role keeper; did you mean keepers?",
        "WEBSOCKET /pets/talk (pets.talk): there is no role admn; did you mean admin?",
    ]


def test_any_role_will_do_where_none_are_named() -> None:
    """Without the setting nobody knows which there are."""
    assert mistakes(roles_app()) == []
    assert mistakes(roles_app(allowed_roles=("admn", "user", "keeper", "banished"))) == []


async def find_nobody(_: str) -> Principal | None:
    return None


def strict_app(*authenticators: Any, mark: Callable[[Any], Any] | None = None, environment: str = "stage") -> Quart:
    """Make an app that has no issuer."""
    settings = Settings.load("testing", database_url=NEVER_OPENED).model_copy(update={"environment": environment})
    app = create_app("pets", title="Pets", version="1", settings=settings, authenticators=authenticators)

    async def view() -> str:
        return "x"

    app.add_url_rule("/", "view", mark(view) if mark else view)
    return app


def test_an_app_that_could_let_nobody_in_is_told() -> None:
    """In prod and stage, where nothing tells who is calling, a route that is not public is a mistake."""
    (mistake,) = mistakes(strict_app())

    assert mistake.startswith(
        "GET / (view) needs a principal, and the app has no authenticator; set LIGAND_OIDC_ISSUER"
    )
    assert mistakes(strict_app(mark=public)) == []
    assert mistakes(strict_app(environment="cli")) == []
    assert mistakes(strict_app(APIKeyAuthenticator(find_nobody))) == []


def test_all_mistakes_are_told_at_once() -> None:
    """Lost marks and unknown roles together."""
    app = roles_app(allowed_roles=("keeper", "banished", "user"))

    @ADMIN
    @operation
    @app.get("/lost")
    async def lost() -> str:
        return "x"

    assert [mistake.split(":")[0] for mistake in mistakes(app)] == ["WEBSOCKET /pets/talk (pets.talk)", "lost"]
    assert not issubclass(AccessError, OperationError)


@pytest.mark.parametrize("marked", [True, False])
def test_a_head_of_its_own_does_not_open_what_get_closes(marked: bool) -> None:
    """Without one, `get` answers HEAD with its mark; beside a `get` with a mark, `head` needs one as well."""
    blueprint = Blueprint("pets", __name__)

    class Pets(MethodView):
        @requires(role("admin"))
        async def get(self) -> str:
            return "secret"

        async def head(self) -> str:
            return "secret"

    if marked:
        Pets.head = requires(role("admin"))(Pets.head)  # type: ignore[method-assign]  # as a decorator would
    blueprint.add_url_rule("/", view_func=Pets.as_view("pets"))

    if marked:
        check_access(guarded(blueprint))
    else:
        with pytest.raises(AccessError, match="head stands for get"):
            check_access(guarded(blueprint))


def test_marks_that_another_thread_makes_do_not_stop_a_start() -> None:
    """Two apps may start in two threads, one of which still registers its routes."""
    app = strict_app(mark=public)
    enough = threading.Event()

    def keep_marking() -> None:
        kept: list[Any] = []
        while not enough.is_set():
            kept.append(public(lambda: None))

    thread = threading.Thread(target=keep_marking)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        for _ in range(50):
            check_access(app)
    finally:
        sys.setswitchinterval(usual)
        enough.set()
        thread.join()
