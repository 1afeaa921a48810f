"""How callers prove who they are: keys, passwords, and several ways beside each other."""

import base64
import hmac
from typing import Any

import pytest
from quart import Quart

from ligand_async import Principal, public
from ligand_async.auth import (
    APIKeyAuthenticator,
    BasicAuthenticator,
    BasicCredentials,
    BearerAuthenticator,
    enforcement_of,
)
from tests.auth.guarding import BAD, CALLERS, WordVerifier, guarded
from tests.services import Answer, send

KEYS = {"key-of-ada": CALLERS["user"]}
PASSWORDS = {"ada": "pass:wörd", "joan": ""}
BASIC = 'Basic realm="Shop", charset="UTF-8"'


class Hooks:
    """The hooks of a service; what they were asked is kept."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def by_key(self, key: str) -> Principal | None:
        self.asked.append(key)
        return KEYS.get(key)

    async def by_password(self, credentials: BasicCredentials) -> Principal | None:
        self.asked.append(credentials)
        expected = PASSWORDS.get(credentials.username, "")
        right = hmac.compare_digest(expected.encode(), credentials.password.encode())
        return CALLERS["user"] if right and credentials.username in PASSWORDS else None


def app_of(hooks: Hooks) -> Quart:
    """Make a service that takes all three, tokens first."""
    app = guarded(
        authenticators=[
            BearerAuthenticator(WordVerifier()),
            APIKeyAuthenticator(hooks.by_key),
            BasicAuthenticator(hooks.by_password, realm="Shop"),
        ]
    )

    @app.get("/closed")
    async def closed() -> str:
        return "x"

    @app.get("/open")
    @public
    async def open_to_all() -> str:
        return "x"

    return app


async def ask(path: str, *fields: tuple[str, str], hooks: Hooks | None = None) -> Answer:
    return await send(app_of(hooks or Hooks()), "GET", path, headers=[*fields])


def basic(text: str | bytes) -> tuple[str, str]:
    raw = text.encode() if isinstance(text, str) else text
    return "Authorization", f"Basic {base64.b64encode(raw).decode()}"


@pytest.mark.parametrize(
    ("fields", "path", "status"),
    [
        ([("X-API-Key", "key-of-ada")], "/closed", 200),
        ([("x-api-key", "key-of-ada")], "/closed", 200),
        ([("X-API-Key", "another")], "/closed", 401),
        ([("X-API-Key", "another")], "/open", 401),
        ([("X-API-Key", "")], "/open", 401),
        ([("X-API-Key", "key-of-ada"), ("X-API-Key", "another")], "/open", 400),
        ([("Authorization", "key-of-ada")], "/closed", 401),
    ],
)
async def test_a_key_is_who_the_hook_says(fields: list[tuple[str, str]], path: str, status: int) -> None:
    """A key that nobody has is a 401 everywhere, two keys are a 400."""
    assert (await ask(path, *fields)).status == status


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (basic("ada:pass:wörd"), 200),
        (basic("joan:"), 200),
        (("Authorization", "bAsIc " + basic("joan:")[1].split()[1]), 200),
        (("Authorization", "Basic   " + basic("joan:")[1].split()[1]), 200),
        (basic("ada:wrong"), 401),
        (basic("nobody:"), 401),
        (basic("ada"), 401),
        (basic(""), 401),
        (basic(b"ada:pass:w\xf6rd"), 401),
        (basic("ada\x00:x"), 401),
        (basic("ada:x\x7f"), 401),
        (basic("ada:x\n"), 401),
        (("Authorization", "Basic"), 401),
        (("Authorization", "Basic ada:x"), 401),
        (("Authorization", "Basic am9hbjo"), 401),
        (("Authorization", "Basic am9hbjo=="), 401),
        (("Authorization", "Basic am9h bjo="), 401),
        (("Authorization", "Basic am9hbjo=\xff"), 401),
        (("Authorization", "Basic am9hbjo=, Bearer user"), 401),
    ],
)
async def test_a_password_is_who_the_hook_says(field: tuple[str, str], status: int) -> None:
    """RFC 7617 in UTF-8, up to the first colon; what cannot be read is wrong, on a public route as well."""
    answers = [await ask(path, field) for path in ("/closed", "/open")]

    assert [answer.status for answer in answers] == [status, status]
    if status == 401:
        assert all(BASIC in answer.headers.getlist("WWW-Authenticate") for answer in answers)


async def test_hooks_are_asked_about_what_can_be_read() -> None:
    """And about nothing else."""
    hooks = Hooks()
    unreadable = [basic(text) for text in ("ada", "a\x00:x", "a:\n", "a:\x7f", "a:\x9f", b"a:\xff")]
    for field in [basic("ada:x"), *unreadable, ("Authorization", "Basic !"), ("X-API-Key", ""), ("X-API-Key", "k")]:
        await ask("/open", field, hooks=hooks)

    assert hooks.asked == [BasicCredentials("ada", "x"), "k"]


async def test_the_first_that_finds_credentials_decides() -> None:
    """In the order of `create_app`: wrong ones are not made good by others further on."""
    key, wrong = ("X-API-Key", "key-of-ada"), ("X-API-Key", "another")
    token, bad = ("Authorization", "Bearer user"), ("Authorization", f"Bearer {BAD}")

    assert [
        (await ask("/closed", *fields)).status
        for fields in ([token, wrong], [bad, key], [basic("ada:wrong"), key], [("Authorization", "Digest x"), key])
    ] == [200, 401, 200, 200]


async def test_an_unknown_scheme_is_nobody_s() -> None:
    """Ignored on public routes, a 401 elsewhere, which says no error of a token."""
    field = ("Authorization", "Digest username=ada")

    assert (await ask("/open", field)).status == 200
    refused = await ask("/closed", field)
    assert (refused.status, refused.headers.getlist("WWW-Authenticate")) == (401, ['Bearer realm="Shop"', BASIC])


async def test_a_key_may_be_in_another_header() -> None:
    """As the service says; then it is nowhere else."""
    hooks = Hooks()
    app = guarded(authenticators=[APIKeyAuthenticator(hooks.by_key, header="X-Shop-Key")])
    app.add_url_rule("/", "x", closed_view)

    assert (await send(app, "GET", "/", headers={"X-Shop-Key": "key-of-ada"})).status == 200
    assert (await send(app, "GET", "/", headers={"X-API-Key": "key-of-ada"})).status == 401


async def closed_view() -> str:
    return "x"


def test_a_password_is_not_shown() -> None:
    """Neither in a log nor in a traceback's locals."""
    assert "pass" not in repr(BasicCredentials("ada", "pass:wörd"))


async def test_the_settings_authenticator_comes_first() -> None:
    """Tokens of the issuer in the settings are known beside a service's own ways; a verifier of its own replaces it."""
    key = APIKeyAuthenticator(Hooks().by_key)
    own = BearerAuthenticator(WordVerifier())
    kinds = [type(one) for one in enforcement_of(guarded(authenticators=[key])).authenticators]

    assert kinds == [BearerAuthenticator, APIKeyAuthenticator]
    assert enforcement_of(guarded(authenticators=[key, own])).authenticators == (key, own)
