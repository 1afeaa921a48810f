"""Who may call what, for the document: the ways to show who one is, and the operations that ask for one."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain, count
from typing import Any
from urllib.parse import urlsplit

from quart import Quart

from ligand_async.auth.access import Access, access_of
from ligand_async.auth.authenticators import BearerAuthenticator
from ligand_async.auth.development import issuer_of
from ligand_async.auth.enforcement import EXTENSION, enforcement_of
from ligand_async.auth.tokens.verifier import JWKSVerifier
from ligand_async.context import service_of
from ligand_async.docs.endpoints import Endpoint
from ligand_async.docs.requirements import Alternative, alternatives_of, words_of
from ligand_async.principal import HasScope

Scheme = dict[str, Any]

DISCOVERY = "/.well-known/openid-configuration"
ORIGIN = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+")
SCOPED = frozenset({"oauth2", "openIdConnect"})  # the types whose requirements list scopes; those of others list roles


class Security:
    """What the document says about callers.

    Args:
        app: The app; one that was not made by `create_app` asks nobody who they are.
        endpoints: Its documented endpoints.
    """

    def __init__(self, app: Quart, endpoints: Iterable[Endpoint]) -> None:
        enforced = EXTENSION in app.extensions
        self._access = {
            endpoint.key: access_of(app, endpoint.name, endpoint.method) for endpoint in endpoints if enforced
        }
        closed = [access for access in self._access.values() if not access.is_public]
        self.schemes: dict[str, Scheme] = dict(schemes_of(app, scopes_of(closed))) if closed else {}

    def access(self, endpoint: Endpoint) -> Access | None:
        """Return who may call an endpoint, or None where nobody is asked."""
        return self._access.get(endpoint.key)

    def requirements(self, endpoint: Endpoint) -> list[dict[str, list[str]]] | None:
        """Return an endpoint's security requirements, one for each scheme and each way to meet what it asks for.

        None where nothing in the document is closed, or where the document knows no scheme.
        """
        access = self.access(endpoint)
        if access is None or not self.schemes:
            return None
        if access.is_public:
            return []
        found = [
            {name: named_in(scheme, alternative)}
            for alternative in alternatives_of(access.requirement)
            for name, scheme in self.schemes.items()
        ]
        return [one for index, one in enumerate(found) if one not in found[:index]]

    def description(self, endpoint: Endpoint) -> str:
        """Return what an endpoint asks for in words; nothing where any principal will do."""
        access = self.access(endpoint)
        requirement = None if access is None else access.requirement
        return "" if requirement is None else f"Requires {words_of(requirement)}."


def named_in(scheme: Scheme, alternative: Alternative) -> list[str]:
    """Return what a requirement lists for a scheme: its scopes, or the roles of its principal (OpenAPI 3.1)."""
    return list(alternative.scopes if scheme["type"] in SCOPED else alternative.roles)


def scopes_of(closed: Iterable[Access]) -> list[str]:
    """Return every scope that something asks for, sorted."""
    parts = chain.from_iterable(access.requirement.parts() for access in closed if access.requirement is not None)
    return sorted({part.name for part in parts if isinstance(part, HasScope)})


def schemes_of(app: Quart, scopes: Iterable[str]) -> Iterator[tuple[str, Scheme]]:
    """Yield the security schemes of an app, each with its name: those of its tokens first."""
    if takes_tokens(app):
        yield "bearer", {"type": "http", "scheme": "bearer", **({"bearerFormat": "JWT"} if are_signed(app) else {})}
        for name, issuer in zip(numbered("openIdConnect"), issuers_of(app), strict=False):
            yield name, {"type": "openIdConnect", "openIdConnectUrl": issuer.rstrip("/") + DISCOVERY}
        if len(urls := oauth_urls(app)) == 2:
            flow = {"authorizationUrl": urls[0], "tokenUrl": urls[1], "scopes": dict.fromkeys(scopes, "")}
            yield "oauth2", {"type": "oauth2", "flows": {"authorizationCode": flow}}
    names: dict[str, Iterator[str]] = {}
    for authenticator in enforcement_of(app).authenticators:
        described = getattr(authenticator, "security_scheme", None)
        if described is not None:
            name, scheme = described
            yield next(names.setdefault(name, numbered(name))), dict(scheme)


def numbered(name: str) -> Iterator[str]:
    """Yield a name, and then names for others of its kind."""
    yield name
    yield from (f"{name}{number}" for number in count(2))


def takes_tokens(app: Quart) -> bool:
    """Tell whether access tokens are taken at all.

    The environment `cli` knows no issuer. What is closed there takes tokens wherever it is served, unless something
    else authenticates: without an issuer it would not start.
    """
    found = enforcement_of(app).authenticators
    unset = not found and service_of(app).settings.environment == "cli"
    return unset or any(isinstance(one, BearerAuthenticator) for one in found)


def are_signed(app: Quart) -> bool:
    """Tell whether all access tokens are signed ones (RFC 9068), and none is opaque or of a verifier of one's own."""
    verifiers = [one.verifier for one in enforcement_of(app).authenticators if isinstance(one, BearerAuthenticator)]
    if not verifiers:
        return service_of(app).settings.oidc_tokens == "jwt"
    return all(isinstance(one, JWKSVerifier) for one in verifiers)


def issuers_of(app: Quart) -> tuple[str, ...]:
    """Return the issuers whose tokens are trusted, the development issuer where it is the one."""
    development = issuer_of(app)
    return service_of(app).settings.oidc_issuer if development is None else (development.issuer,)


def oauth_urls(app: Quart) -> tuple[str, ...]:
    """Return where people sign in and where codes become tokens, or nothing unless both are set."""
    settings = service_of(app).settings
    urls = (settings.oauth_authorization_url, settings.oauth_token_url)
    return tuple(url for url in urls if url is not None) if None not in urls else ()


def origins_of(app: Quart) -> list[str]:
    """Return the origins that a page which signs in talks to: of the issuers and of the OAuth URLs, sorted."""
    if EXTENSION not in app.extensions or not takes_tokens(app):
        return []
    urls = [urlsplit(url) for url in (*issuers_of(app), *oauth_urls(app))]
    return sorted({origin for url in urls if ORIGIN.fullmatch(origin := f"{url.scheme}://{url.netloc}".lower())})


def client_of(app: Quart) -> str | None:
    """Return the public client that the page signs in as."""
    return service_of(app).settings.oauth_docs_client_id if EXTENSION in app.extensions else None
