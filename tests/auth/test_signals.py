"""Who calls, who is refused and whose keys are new is told, and no receiver is in a request's way."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from blinker import NamedSignal
from quart import Blueprint, Quart, current_app

from ligand_async import Principal, public, requires, role
from ligand_async.auth import BasicAuthenticator, BasicCredentials, BearerAuthenticator
from ligand_async.auth.tokens import Pace
from ligand_async.protocols import Authenticator
from ligand_async.signals import (
    access_denied,
    authentication_failed,
    failures_of,
    principal_authenticated,
    token_keys_rotated,
)
from tests.auth.guarding import CALLERS, WordVerifier, bearer, guarded, statuses
from tests.auth.issuing import Issuer
from tests.auth.verifying import Clock, make_service, verifying
from tests.services import NEVER_OPENED, running, send

SIGNALS = (principal_authenticated, authentication_failed, access_denied)
HASTE = Pace(cooldown=0.0)  # an issuer may be asked at any time


async def check_password(_credentials: BasicCredentials) -> Principal | None:
    """Know nobody."""
    return None


def make_app() -> Quart:
    """Make a service with a route for each kind of caller."""
    blueprint = Blueprint("pets", __name__)
    marks: dict[str, Callable[[Any], Any]] = {
        "open": public,
        "closed": lambda view: view,
        "admin": requires(role("admin")),
    }
    for name, mark in marks.items():

        async def view() -> dict[str, Any]:
            return {}

        blueprint.add_url_rule(f"/{name}", name, mark(view))
    authenticators: list[Authenticator] = [
        BearerAuthenticator(WordVerifier()),
        BasicAuthenticator(check_password, realm="Shop"),
    ]
    return guarded(blueprint, authenticators=authenticators, settings={"signal_timeout": 0.2})


@pytest.fixture
def app() -> Quart:
    return make_app()


@pytest.fixture
def heard(app: Quart) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What was told: (signal, values)."""
    heard: list[tuple[str, dict[str, Any]]] = []

    def hearing(signal: NamedSignal) -> Any:
        def hear(sender: Quart, **values: Any) -> None:
            assert sender is app
            heard.append((signal.name, values))

        return hear

    with ExitStack() as stack:
        for signal in SIGNALS:
            stack.enter_context(signal.connected_to(hearing(signal), sender=app))
        yield heard


async def ask(app: Quart, path: str, word: str | None = None) -> int:
    """Ask as somebody: the service is stopped afterwards, and so has told everybody."""
    return (await send(app, "GET", path, headers=bearer(word))).status


async def test_good_credentials_are_told(app: Quart, heard: list[Any]) -> None:
    """Who was authenticated is told on every request, also where nobody had to be."""
    assert [await ask(app, path, "user") for path in ("/open", "/closed")] == [200, 200]

    assert heard == [("principal-authenticated", {"principal": CALLERS["user"]})] * 2


async def test_nobody_is_told_of_on_a_public_route(app: Quart, heard: list[Any]) -> None:
    """A caller without credentials, where none are needed, is no event."""
    assert await ask(app, "/open") == 200

    assert heard == []


async def test_bad_token_is_told_with_its_reason(app: Quart, heard: list[Any]) -> None:
    """A token that is refused is told with what is wrong with it, and without the token itself."""
    assert await ask(app, "/open", "stolen") == 401

    ((name, values),) = heard
    assert (name, values["reason"], values["problem"].status) == ("authentication-failed", "unknown", 401)
    assert "stolen" not in repr(values)


@pytest.mark.parametrize(("headers", "reason"), [({}, "missing"), ({"Authorization": "Basic YWRhOnh4"}, "credentials")])
async def test_other_refusals_are_told_by_a_word(
    app: Quart, heard: list[Any], headers: dict[str, str], reason: str
) -> None:
    """Credentials that are missing, and those of another kind that are wrong, have a word of their own."""
    assert (await send(app, "GET", "/closed", headers=headers)).status == 401

    assert [(name, values["reason"]) for name, values in heard] == [("authentication-failed", reason)]


async def test_denied_principal_is_told_with_what_was_required(app: Quart, heard: list[Any]) -> None:
    """A principal that is not who may is told of as such, after who it is."""
    assert await ask(app, "/admin", "user") == 403

    assert [name for name, _ in heard] == ["principal-authenticated", "access-denied"]
    assert heard[1][1] == {"principal": CALLERS["user"], "requirement": role("admin")}


async def test_route_that_is_none_is_told_of_nothing(app: Quart, heard: list[Any]) -> None:
    """Where no route is, nobody is authenticated."""
    assert await ask(app, "/nowhere", "stolen") == 404

    assert heard == []


def fail(_app: Quart, **_: Any) -> None:
    raise RuntimeError("broken receiver")


async def hang(_app: Quart, **_: Any) -> None:
    await asyncio.sleep(60)


def leave(_app: Quart, **_: Any) -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("receiver", [fail, hang, leave], ids=lambda one: one.__name__)
async def test_receivers_are_not_in_the_way(app: Quart, receiver: Any) -> None:
    """However receivers fail, requests are answered as without them, and at once."""
    with ExitStack() as stack:
        for signal in SIGNALS:
            stack.enter_context(signal.connected_to(receiver, sender=app))
        async with running(app, tables=False) as client:
            async with asyncio.timeout(0.15):
                found = await statuses(client, "/admin", "admin", "user", "stolen")

    assert found == [200, 403, 401]
    assert failures_of(app) == {"principal-authenticated": 2, "authentication-failed": 1, "access-denied": 1}


async def test_rotation_of_keys_is_told_in_the_context_of_the_app() -> None:
    """Other keys than before are told with their names; the first keys, and the same ones again, are not."""
    heard: list[Any] = []
    with Issuer() as issuer:
        app = make_service(NEVER_OPENED, issuer)

        async def hear(sender: Quart, *, issuer: str, kids: tuple[str | None, ...]) -> None:
            heard.append((current_app.name == sender.name, issuer, kids))

        with token_keys_rotated.connected_to(hear, sender=app):
            async with app.test_app():
                client = app.test_client()
                assert (await client.get("/who", headers=bearer(issuer.mint()))).status_code == 200
    assert heard == []

    clock = Clock()
    with Issuer() as issuer:
        async with verifying(issuer, clock=clock, pace=HASTE) as verifier:
            app = guarded(authenticators=[BearerAuthenticator(verifier)])
            with token_keys_rotated.connected_to(hear, sender=app):
                await verifier.verify(issuer.mint())
                key = issuer.rotate()
                await verifier.verify(issuer.mint())
                await asyncio.gather(*app.background_tasks)

        assert heard == [(True, issuer.url, (key.key_id,))]
