"""The names of operations."""

import pytest
from quart import Blueprint, Quart
from quart_schema import operation_id

from ligand_async.web import operation
from tests.docs.describing import describe, make_app, operations


@operation
async def answer() -> None:
    pass


def names_of(app: Quart) -> set[str]:
    return set(operations(describe(app)))


@pytest.mark.parametrize(
    ("blueprint", "endpoint", "name"),
    [
        ("pets", "list_pets", "list_pets"),
        ("pets", "read_pet", "read_pet"),
        ("categories", "read_category", "read_category"),
        ("teams", "create", "create_teams"),
        ("user-accounts", "list_accounts", "list_user_accounts"),
        ("v2", "list_pets", "list_v2_pets"),
    ],
)
def test_a_name_is_verb_and_resource(blueprint: str, endpoint: str, name: str) -> None:
    """A name has the verb first, and says what its blueprint is about once."""
    things = Blueprint(blueprint, __name__)
    things.add_url_rule("/", endpoint, answer)
    assert names_of(make_app(things)) == {name}


def test_a_blueprint_mounted_twice_gives_two_sets() -> None:
    """The same blueprint under another name has names of its own."""
    pets = Blueprint("pets", __name__)
    pets.add_url_rule("/", "list_pets", answer)
    app = make_app(pets)
    app.register_blueprint(pets, name="old_pets", url_prefix="/old")
    assert names_of(app) == {"list_pets", "list_old_pets"}


def test_another_route_renames_nothing() -> None:
    """Routes that come later leave the names of the earlier ones alone."""
    app = make_app()
    app.add_url_rule("/pets", "list_pets", answer)
    app.add_url_rule("/pets/<int:page>", "list_pets")
    app.add_url_rule("/cats", "list_cats", answer)
    assert names_of(app) == {"list_pets", "list_pets_2", "list_cats"}


def test_a_function_of_several_methods_has_the_method_first() -> None:
    """One function for two methods is two operations."""
    app = make_app()
    app.add_url_rule("/pets", "pets", answer, methods=["GET", "POST"])
    assert names_of(app) == {"get_pets", "post_pets"}


@pytest.mark.parametrize("path", ["/pets", "/more"])
def test_a_function_that_is_routed_for_another_method_keeps_its_name(path: str) -> None:
    """The method comes before the name of the later route, at the same path or at another."""
    app = make_app()
    app.add_url_rule("/pets", "pets", answer)
    app.add_url_rule(path, "pets", methods=["POST"])
    app.add_url_rule(path, "pets", methods=["DELETE"])
    assert names_of(app) == {"pets", "post_pets", "delete_pets"}


def test_an_explicit_name_is_taken() -> None:
    """The name that quart-schema's `operation_id` gives is the name."""
    app = make_app()

    @app.get("/pets")
    @operation_id("petSearch")
    @operation
    async def list_pets() -> None:
        pass

    assert names_of(app) == {"petSearch"}


def test_two_operations_of_one_name_are_refused() -> None:
    """A clash names both operations and what to do."""
    pet, pets = Blueprint("pet", __name__), Blueprint("pets", __name__)
    pet.add_url_rule("/pet", "read_pet", answer)
    pets.add_url_rule("/pets", "read_pet", answer)
    with pytest.raises(
        ValueError, match=r"'read_pet': GET /pet \(pet.read_pet\) and GET /pets \(pets.read_pet\); rename"
    ):
        describe(make_app(pet, pets))


def test_names_that_clients_write_alike_are_refused() -> None:
    """One would take the other's place in a client, and nobody would be told."""
    app = make_app()
    app.add_url_rule("/pets", "list_pets", answer)
    app.add_url_rule("/all", "all_pets", operation_id("listPets")(answer_again))
    with pytest.raises(ValueError, match="two operations are called 'listPets'"):
        describe(app)


@operation
async def answer_again() -> None:
    pass
