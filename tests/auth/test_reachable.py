"""A service that nobody could call does not start in prod and stage."""

from pathlib import Path
from typing import Any

import pytest
from quart import Blueprint, Quart
from quart.testing.app import LifespanError

import ligand_async
from ligand_async import Settings, public
from ligand_async.auth import BearerAuthenticator
from ligand_async.principal import Principal
from tests.auth.issuing import AUDIENCE
from tests.machine import leave_bare
from tests.settings.test_environments import SAFE


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_bare(monkeypatch, tmp_path)


class Nobody:
    async def verify(self, token: str) -> Principal:
        return Principal(token, "tests")


def make(environment: str, *blueprints: Blueprint, authenticators: Any = (), **settings: Any) -> Quart:
    loaded = Settings.load(environment, **SAFE, **settings)
    return ligand_async.create_app(
        __name__, title="Shop", version="1", settings=loaded, blueprints=blueprints, authenticators=authenticators
    )


def shop() -> Blueprint:
    pages = Blueprint("pages", __name__)

    @pages.get("/open")
    @public
    async def open_() -> str:
        return ""

    @pages.route("/closed", methods=["GET", "POST"])
    async def closed() -> str:
        return ""

    @pages.websocket("/feed")
    async def feed() -> None:
        return

    return pages


@pytest.mark.parametrize("environment", ["prod", "stage"])
async def test_service_that_nobody_could_call_does_not_start(environment: str) -> None:
    """Without issuer and authenticators the start fails, and names the routes that are not public and the variable."""
    with pytest.raises(LifespanError) as caught:
        async with make(environment, shop()).test_app():
            pass

    message = str(caught.value)
    assert "LIGAND_OIDC_ISSUER" in message
    assert "/closed" in message
    assert "/feed" in message
    assert "/open" not in message


@pytest.mark.parametrize("environment", ["prod", "stage"])
async def test_service_that_is_wholly_public_starts(environment: str) -> None:
    """Where every route is public nobody has to prove anything."""
    async with make(environment, public(Blueprint("pages", __name__))).test_app() as running:
        assert (await running.test_client().get("/livez")).status_code == 200


@pytest.mark.parametrize(
    "way",
    [
        {"oidc_issuer": "https://id.example", "oidc_audience": AUDIENCE},
        {"authenticators": [BearerAuthenticator(Nobody())]},
    ],
)
async def test_service_with_a_way_in_starts(way: dict[str, Any]) -> None:
    """An issuer or an authenticator is a way in; whether the issuer answers is not asked."""
    async with make("prod", shop(), **way).test_app() as running:
        assert (await running.test_client().get("/closed")).status_code == 401


@pytest.mark.parametrize("environment", ["local", "testing"])
async def test_elsewhere_it_starts(environment: str) -> None:
    """On one's own machine the development issuer is the way in."""
    async with make(environment, shop()).test_app() as running:
        assert (await running.test_client().get("/closed")).status_code == 401
