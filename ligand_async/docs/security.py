"""Security in the document: the schemes, the operations that need one, and requirements in words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

from quart import Quart

from ligand_async.auth import (
    Access,
    BearerAuthenticator,
    BrowserAuthenticator,
    access_of,
    enforcement_of,
    is_enforced,
    issuer_of,
)
from ligand_async.auth.tokens import JWKSVerifier
from ligand_async.context import service_of
from ligand_async.paths import origin_of
from ligand_async.principal import AllOf, AnyOf, HasClaim, HasRole, HasScope, Not, Requirement
from ligand_async.web import Endpoint

MOST = 16  # alternatives; a reader learns nothing from more


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to meet a requirement, as far as OpenAPI can express it.

    Attributes:
        roles: The roles that it takes, sorted.
        scopes: The scopes that it takes, sorted.
    """

    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()


def alternatives_of(requirement: Requirement | None) -> list[Alternative]:
    """Return every way to meet a requirement: its disjunctive normal form, without claims and negations.

    A requirement with too many ways has one empty alternative: the description of the operation has the words.
    """
    ways = [frozenset[Requirement]()] if requirement is None else _expand(requirement)
    found = [
        Alternative(
            tuple(sorted(part.name for part in way if isinstance(part, HasRole))),
            tuple(sorted(part.name for part in way if isinstance(part, HasScope))),
        )
        for way in ways
    ]
    return [*dict.fromkeys(found)] if len(found) <= MOST else [Alternative()]


def _expand(requirement: Requirement, *, denied: bool = False) -> list[frozenset[Requirement]]:
    """Return the conjunctions of roles and scopes that meet a requirement, or that do not where it is denied."""
    match requirement:
        case Not(part):
            return _expand(part, denied=not denied)
        case AllOf(left, right) | AnyOf(left, right):
            one, other = _expand(left, denied=denied), _expand(right, denied=denied)
            if isinstance(requirement, AllOf) == denied:  # De Morgan
                return one + other
            if len(one) * len(other) > MOST:
                return [frozenset()]
            return [*dict.fromkeys(first | second for first in one for second in other)]
        case HasRole() | HasScope() if not denied:
            return [frozenset({requirement})]
        case _:
            return [frozenset()]


def words_of(requirement: Requirement) -> str:
    """Return a requirement in words, with its names as code."""
    match requirement:
        case HasRole(name):
            return f"role {_code(name)}"
        case HasScope(name):
            return f"scope {_code(name)}"
        case HasClaim(name, value):
            return f"claim {_code(name)} = {_code(value)}"
        case AllOf(left, right):
            return f"{_grouped(left, AnyOf)} and {_grouped(right, AnyOf)}"
        case AnyOf(left, right):
            return f"{words_of(left)} or {words_of(right)}"
        case Not(part):
            return f"not {_grouped(part, AllOf, AnyOf)}"
        case _:
            return str(requirement)


def _grouped(requirement: Requirement, *kinds: type[Requirement]) -> str:
    """Return a requirement in words, in parentheses where it is of such a kind."""
    words = words_of(requirement)
    return f"({words})" if isinstance(requirement, kinds) else words


def _code(value: str | int | bool) -> str:
    """Return a value as a code span of CommonMark, as JSON writes it unless it is text."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`` {text} ``" if "`" in text else f"`{text}`"


_Scheme = dict[str, Any]

_DISCOVERY = "/.well-known/openid-configuration"
_SCOPED = frozenset({"oauth2", "openIdConnect"})  # the types whose requirements list scopes; those of others list roles


class Security:
    """The security schemes of the document, and the requirements of its endpoints.

    Args:
        app: The app; one that was not made by `create_app` does not authenticate.
        endpoints: Its documented endpoints.
    """

    def __init__(self, app: Quart, endpoints: Iterable[Endpoint]) -> None:
        enforced = is_enforced(app)
        self._access = {
            endpoint.key: access_of(app, endpoint.name, endpoint.method) for endpoint in endpoints if enforced
        }
        closed = [access for access in self._access.values() if not access.is_public]
        self.schemes: dict[str, _Scheme] = dict(_schemes_of(app, _scopes_of(closed))) if closed else {}

    def access(self, endpoint: Endpoint) -> Access | None:
        """Return who may call an endpoint, or None if the app does not authenticate."""
        return self._access.get(endpoint.key)

    def requirements(self, endpoint: Endpoint) -> list[dict[str, list[str]]] | None:
        """Return an endpoint's security requirements, one for each scheme and each way to meet its own requirement.

        None if everything in the document is public, or if the document has no scheme.
        """
        access = self.access(endpoint)
        if access is None or not self.schemes:
            return None
        if access.is_public:
            return []
        found = [
            {name: _named_in(scheme, alternative)}
            for alternative in alternatives_of(access.requirement)
            for name, scheme in self.schemes.items()
        ]
        return [one for index, one in enumerate(found) if one not in found[:index]]

    def description(self, endpoint: Endpoint) -> str:
        """Return an endpoint's requirement in words; empty if any principal may call it."""
        access = self.access(endpoint)
        requirement = None if access is None else access.requirement
        return "" if requirement is None else f"Requires {words_of(requirement)}."


def _named_in(scheme: _Scheme, alternative: Alternative) -> list[str]:
    """Return the list of a requirement for a scheme: scopes, or roles of the principal (OpenAPI 3.1)."""
    return list(alternative.scopes if scheme["type"] in _SCOPED else alternative.roles)


def _scopes_of(closed: Iterable[Access]) -> list[str]:
    """Return every scope that a requirement names, sorted."""
    parts = chain.from_iterable(access.requirement.parts() for access in closed if access.requirement is not None)
    return sorted({part.name for part in parts if isinstance(part, HasScope)})


def _schemes_of(app: Quart, scopes: Iterable[str]) -> Iterator[tuple[str, _Scheme]]:
    """Yield the security schemes of an app, each with its name: those of its tokens first."""
    if _takes_tokens(app):
        yield "bearer", {"type": "http", "scheme": "bearer", **({"bearerFormat": "JWT"} if _are_signed(app) else {})}
        for name, issuer in zip(_numbered("openIdConnect"), _issuers_of(app), strict=False):
            yield name, {"type": "openIdConnect", "openIdConnectUrl": issuer.rstrip("/") + _DISCOVERY}
        if len(urls := _oauth_urls(app)) == 2:
            flow = {"authorizationUrl": urls[0], "tokenUrl": urls[1], "scopes": dict.fromkeys(scopes, "")}
            yield "oauth2", {"type": "oauth2", "flows": {"authorizationCode": flow}}
    names: dict[str, Iterator[str]] = {}
    for authenticator in enforcement_of(app).authenticators:
        described = getattr(authenticator, "security_scheme", None)
        if described is not None:
            name, scheme = described
            yield next(names.setdefault(name, _numbered(name))), dict(scheme)


def _numbered(name: str) -> Iterator[str]:
    """Yield a name, and then names for others of its kind."""
    yield name
    yield from (f"{name}{number}" for number in count(2))


def _takes_tokens(app: Quart) -> bool:
    """Return whether access tokens are accepted at all.

    The environment `cli` has no issuer. A service with closed routes accepts tokens where it is deployed, unless it has
    another authenticator: without an issuer it would not start. Those for browsers verify the same tokens.
    """
    found = enforcement_of(app).authenticators
    only_browsers = all(isinstance(one, BrowserAuthenticator) for one in found)
    unset = only_browsers and service_of(app).settings.environment == "cli"
    return unset or any(isinstance(one, BearerAuthenticator) for one in found)


def _are_signed(app: Quart) -> bool:
    """Return whether all access tokens are signed (RFC 9068): none is opaque or goes to a verifier of the service."""
    verifiers = [one.verifier for one in enforcement_of(app).authenticators if isinstance(one, BearerAuthenticator)]
    if not verifiers:
        return service_of(app).settings.oidc_tokens == "jwt"
    return all(isinstance(one, JWKSVerifier) for one in verifiers)


def _issuers_of(app: Quart) -> tuple[str, ...]:
    """Return the issuers whose tokens are trusted, the development issuer where it is the one."""
    development = issuer_of(app)
    return service_of(app).settings.oidc_issuer if development is None else (development.issuer,)


def _oauth_urls(app: Quart) -> tuple[str, ...]:
    """Return the authorization URL and the token URL, or nothing unless both are set."""
    settings = service_of(app).settings
    urls = (settings.oauth_authorization_url, settings.oauth_token_url)
    return tuple(url for url in urls if url is not None) if None not in urls else ()


def origins_of(app: Quart) -> list[str]:
    """Return the origins that a page which signs in talks to: of the issuers and of the OAuth URLs, sorted."""
    if not is_enforced(app) or not _takes_tokens(app):
        return []
    origins = map(origin_of, (*_issuers_of(app), *_oauth_urls(app)))
    return sorted({origin for origin in origins if origin is not None})


def client_of(app: Quart) -> str | None:
    """Return the public client that the page signs in as."""
    return service_of(app).settings.oauth_docs_client_id if is_enforced(app) else None
