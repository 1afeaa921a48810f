"""Services whose routes are guarded, and callers with tokens of plain words, for tests of enforcement."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from quart import Blueprint, Quart, g
from quart.typing import TestClientProtocol as Client
from werkzeug.datastructures import Headers

from ligand_async import (
    Principal,
    claim,
    current_principal,
    operation,
    public,
    requires,
    role,
    scope,
)
from ligand_async.auth import BearerAuthenticator, InvalidToken
from ligand_async.protocols import Authenticator
from tests.services import NEVER_OPENED, Answer, make_app, send

PROBLEM = "application/problem+json"

BAD = "bad"


def caller(subject: str, *, roles: Sequence[str] = (), scopes: Sequence[str] = (), **claims: Any) -> Principal:
    """Return a principal of the tests' issuer; its token id is its name."""
    return Principal(
        subject, "https://issuer.example", frozenset(roles), frozenset(scopes), claims=claims, token_id=f"{subject}-1"
    )


CALLERS = {
    "admin": caller("root", roles=["admin", "user"]),
    "user": caller("ada", roles=["user"]),
    "writer": caller("grace", scopes=["pets:read", "pets:write"]),
    "acme": caller("joan", tenant="acme"),
}


class WordVerifier:
    """A `TokenVerifier` for which a word is a token; it remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def verify(self, token: str) -> Principal:
        self.asked.append(token)
        if token not in CALLERS:
            raise InvalidToken("unknown")
        return CALLERS[token]


def guarded(*blueprints: Blueprint, authenticators: Sequence[Authenticator] | None = None, **more: Any) -> Quart:
    """Make a service, without a database, that takes the words for tokens."""
    if authenticators is None:
        authenticators = [BearerAuthenticator(WordVerifier())]
    return make_app(NEVER_OPENED, *blueprints, database=None, authenticators=authenticators, **more)


def bearer(word: str | None) -> Headers:
    """Return the headers of a caller; of nobody none."""
    return Headers({"Authorization": f"Bearer {word}"} if word is not None else {})


async def statuses(client: Client, path: str, *words: str | None, method: str = "GET") -> list[int]:
    """Return the status that each caller gets."""
    asked: Any = client.open  # whose protocol asks for all arguments
    return [(await asked(path, method=method, headers=bearer(word))).status_code for word in words]


REALM = 'Bearer realm="Shop"'


@operation
async def tell() -> dict[str, Any]:
    """Tell who is calling, in every way that a handler can ask."""
    principal = current_principal()
    return {"current": principal and principal.subject, "g": g.principal and g.principal.subject}


def app_of(**more: Any) -> Quart:
    """Make a service with a route of each kind."""
    blueprint = Blueprint("pets", __name__)
    marks: dict[str, Callable[[Any], Any]] = {
        "open": public,
        "closed": lambda view: view,
        "admin": requires(role("admin")),
        "writer": requires(role("admin") | scope("pets:write")),
        "both": requires(scope("pets:write") & scope("pets:delete") & ~scope("pets:suspended")),
        "acme": requires(claim("tenant", "acme")),
    }
    for name, mark in marks.items():

        async def view() -> Any:
            return await tell()

        blueprint.add_url_rule(f"/{name}", name, mark(view), methods=["GET", "POST"])
    return guarded(blueprint, **more)


async def get(app: Quart, path: str, word: str | None = None, **headers: str) -> Answer:
    """Ask as somebody."""
    return await send(app, "GET", path, headers={**bearer(word), **headers})


async def hang(*_: Any) -> Any:
    await asyncio.sleep(60)
