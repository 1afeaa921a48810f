"""Only `True` opens a door: whatever else the code of a service returns to the framework is an error."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from quart import Blueprint, Quart, Response

from ligand_async import Principal, operation, requires
from ligand_async.auth import APIKeyAuthenticator, BasicAuthenticator, BearerAuthenticator
from ligand_async.principal import Requirement
from tests.auth.guarding import CALLERS, WordVerifier, guarded
from tests.services import send


class Truthy:
    """What is true in an `if`."""

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


async def coroutine() -> bool:
    return True


WRONG: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "0": lambda: 0,
    "1": lambda: 1,
    "1.0": lambda: 1.0,
    "text": lambda: "yes",
    "empty": lambda: "",
    "list": lambda: [True],
    "coroutine": coroutine,
    "response": lambda: Response("yes"),
    "truthy": Truthy,
    "class": lambda: Principal,
    "dict": lambda: {"subject": "root", "roles": ["admin"]},
}
TRUTH: dict[str, Callable[[], Any]] = {"True": lambda: True, "False": lambda: False}
TOKEN, KEY = {"Authorization": "Bearer user"}, {"X-API-Key": "k"}
PASSWORD = {"Authorization": "Basic YWRhOng="}


class Answering:
    """A requirement, an authenticator, a verifier, a hook and a deny list, which all return the same."""

    challenge = None

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    async def give(self, *_: Any) -> Any:
        return self.make()

    authenticate = verify = give


def with_requirement(make: Callable[[], Any]) -> tuple[Quart, dict[str, str]]:
    """Make a service whose requirement returns a value."""

    class Odd(Requirement):
        def is_met(self, principal: Principal) -> Any:  # noqa: ARG002  (a Requirement's)
            return make()

    return app_of(Odd()), TOKEN


def app_of(requirement: Requirement | None = None, **more: Any) -> Quart:
    blueprint = Blueprint("pets", __name__)

    @operation
    async def view() -> str:
        """Say the secret."""
        return "secret"

    blueprint.get("/")(view if requirement is None else requires(requirement)(view))
    return guarded(blueprint, **more)


PLACES: dict[str, Callable[[Callable[[], Any]], tuple[Quart, dict[str, str]]]] = {
    "requirement": with_requirement,
    "authenticator": lambda make: (app_of(authenticators=[Answering(make)]), KEY),
    "verifier": lambda make: (app_of(authenticators=[BearerAuthenticator(Answering(make))]), TOKEN),
    "key hook": lambda make: (app_of(authenticators=[APIKeyAuthenticator(Answering(make).give)]), KEY),
    "password hook": lambda make: (
        app_of(authenticators=[BasicAuthenticator(Answering(make).give, realm="x")]),
        PASSWORD,
    ),
    "deny list": lambda make: (
        app_of(authenticators=[BearerAuthenticator(WordVerifier())], deny_list=Answering(make).give),
        TOKEN,
    ),
}


@pytest.fixture(autouse=True)
def _without_warnings() -> Iterator[None]:
    """A coroutine that nobody awaits is the point."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@pytest.mark.parametrize("value", [*WRONG, *TRUTH])
@pytest.mark.parametrize("place", PLACES)
async def test_nothing_else_opens_a_route(place: str, value: str) -> None:
    """A wrong value is a 500, which the log explains; None and False say no where they have a meaning."""
    app, headers = PLACES[place]((WRONG | TRUTH)[value])
    opens = {("requirement", "True"), ("deny list", "False")}
    closes = {("requirement", "False"), ("deny list", "True")}
    closes |= {("authenticator", "None"), ("key hook", "None"), ("password hook", "None")}

    answer = await send(app, "GET", "/", headers=headers)

    assert b"secret" in answer.raw if (place, value) in opens else b"secret" not in answer.raw
    if (place, value) not in opens | closes:
        assert answer.status == 500
    elif (place, value) in closes:
        assert answer.status in {401, 403}


async def test_the_right_values_open() -> None:
    """The table above would hold if nothing ever opened."""
    for place, (make, headers) in {
        "authenticator": (PLACES["authenticator"], KEY),
        "verifier": (PLACES["verifier"], TOKEN),
        "key hook": (PLACES["key hook"], KEY),
        "password hook": (PLACES["password hook"], PASSWORD),
    }.items():
        app, _ = make(lambda: CALLERS["user"])
        assert (await send(app, "GET", "/", headers=headers)).status == 200, place
