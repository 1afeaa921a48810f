"""Operations that cannot fit their rules keep the app from starting."""

from typing import Annotated, Any
from uuid import UUID

import pytest
from quart import Blueprint, Quart
from quart.views import MethodView, View
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import operation, public
from ligand_async.web import OperationError
from tests.services import app_of, ask


class Mailer: ...


@operation
async def wants_an_id(pet_id: UUID) -> None: ...


@operation
async def wants_an_int(pet_id: int) -> None: ...


@operation
async def wants_an_int_or_not(pet_id: int = 1) -> None: ...


@operation
async def wants_text(pet_id: str) -> None: ...


@operation
async def wants_nothing() -> None: ...


@operation
async def wants_a_mailer(mailer: Mailer) -> None: ...


@operation
async def wants_a_session(db_session: AsyncSession) -> None: ...


@operation
async def wants_a_list(pets: list[Mailer]) -> None: ...


@operation
async def wants_what_has_no_hash(pets: Annotated[Mailer, []]) -> None: ...


@operation
async def wants_numbers(pet_id: list[int]) -> None: ...


@operation(location="nowhere.at_all")
async def leads_nowhere() -> int:
    raise NotImplementedError


@operation(location=".nowhere")
async def leads_nowhere_near() -> int:
    raise NotImplementedError


async def start(app: Quart) -> str:
    """Start an app that does not, and return what it says."""
    with pytest.raises(OperationError) as refusal:
        await app.startup()
    return str(refusal.value)


@pytest.mark.parametrize(
    ("view", "rule", "words"),
    [
        (wants_a_mailer, "/pets", "/pets (wants_a_mailer): parameter 'mailer' is neither a variable of the rule nor"),
        (
            wants_a_mailer,
            "/",
            "parameter 'mailer' is neither a variable of the rule nor a type that create_app(provide",
        ),
        (wants_a_list, "/", "parameter 'pets' is neither"),
        (wants_what_has_no_hash, "/", "parameter 'pets' is neither"),
        (
            wants_nothing,
            "/<pet_id>",
            "/<pet_id> (wants_nothing): the handler has no parameter for the rule's variable 'pet_id'",
        ),
        (wants_an_id, "/<int:pet_id>", "'pet_id' is annotated UUID, and its converter makes int"),
        (wants_text, "/<uuid:pet_id>", "'pet_id' is annotated str, and its converter makes UUID"),
        (wants_an_int, "/<float:pet_id>", "'pet_id' is annotated int, and its converter makes float"),
        (wants_numbers, "/<pet_id>", "'pet_id' is a variable of the path, which holds one value, not list[int]"),
        (wants_a_session, "/", "parameter 'db_session' is a session, and the app has no database"),
        (leads_nowhere, "/", "location='nowhere.at_all' is not an endpoint of the app"),
        (leads_nowhere_near, "/", "location='.nowhere' is not an endpoint of the app"),
    ],
)
async def test_a_mistake_keeps_the_app_from_starting(view: Any, rule: str, words: str) -> None:
    """The message names the rule, the function, the parameter and the remedy."""
    assert words in await start(app_of(("GET", rule, view)))


async def test_all_mistakes_are_told_at_once() -> None:
    """One start, one list."""
    words = await start(
        app_of(("GET", "/a", wants_a_list), ("GET", "/b", wants_a_mailer), ("GET", "/<c>", wants_nothing))
    )

    places = ("/a (wants_a_list)", "/b (wants_a_mailer)", "/<c> (wants_nothing)")
    assert [place in words for place in places] == [True] * 3


async def test_blueprints_that_come_later_are_checked_too() -> None:
    """Registered after `create_app` and before the start."""
    app, late = app_of(), Blueprint("late", __name__, url_prefix="/late")
    late.get("/")(wants_a_mailer)
    app.register_blueprint(late)

    assert "/late/ (wants_a_mailer): parameter 'mailer'" in await start(app)


async def test_methods_of_classes_are_checked() -> None:
    """Each method under each rule."""

    class Pets(MethodView):
        @operation
        async def get(self) -> None: ...

        @operation
        async def post(self, pet_id: Mailer) -> None: ...

    class Whole(View):
        @operation
        async def dispatch_request(self, toy_id: Mailer) -> None: ...

    app = app_of()
    app.add_url_rule("/pets", view_func=Pets.as_view("pets"))
    app.add_url_rule("/toys", view_func=Whole.as_view("toys"))
    words = await start(app)

    assert "Pets.post): parameter 'pet_id' is neither" in words
    assert "Whole.dispatch_request): parameter 'toy_id' is neither" in words
    assert "Pets.get)" not in words


@pytest.mark.parametrize(
    ("view", "rule", "path"),
    [
        (wants_an_id, "/<uuid:pet_id>", "/8d3bb5e4-6a3e-4a0b-8f0e-0c8f3d1d5a55"),
        (wants_text, "/<pet_id>", "/x"),
        (wants_text, "/<path:pet_id>", "/x/y"),
        (wants_text, "/<any(a, b):pet_id>", "/a"),
        (wants_an_int_or_not, "/", "/"),
        (wants_an_int_or_not, "/<pet_id>", "/1"),
        (wants_an_int, "/<pet_id>", "/1"),
        (wants_an_id, "/<path:pet_id>", "/8d3bb5e4-6a3e-4a0b-8f0e-0c8f3d1d5a55"),
        (wants_an_int_or_not, "/<int:pet_id>", "/1"),
    ],
)
async def test_what_fits_starts(view: Any, rule: str, path: str) -> None:
    """Converters and annotations that agree."""
    assert (await ask(view, path, rule=rule)).status == 204


async def test_defaults_of_a_rule_are_variables() -> None:
    """`add_url_rule(defaults=…)` gives a variable without writing it."""
    app = app_of()
    app.add_url_rule("/first", "first", public(wants_an_int), defaults={"pet_id": 1})
    async with app.test_app():
        assert (await app.test_client().get("/first")).status_code == 204


async def test_plain_views_are_not_checked() -> None:
    """Whatever is no operation is Quart's affair."""
    app = app_of()

    @app.get("/<anything>")
    @public
    async def plain(anything: str, more: str = "") -> str:
        return anything

    @app.websocket("/ws")
    async def socket() -> None: ...

    async with app.test_app():
        assert await (await app.test_client().get("/x")).get_data() == b"x"
