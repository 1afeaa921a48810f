"""The development issuer: access tokens on a developer's own machine and in tests, and nowhere else.

Its client credentials grant (RFC 6749 section 4.4) believes every client.
"""

import functools
import json
import logging
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus
from uuid import uuid4

import httpx2
import jiter
from joserfc import jwt
from joserfc.jwk import ECKey
from quart import Blueprint, Quart, Request, Response, current_app, jsonify, request
from quart_schema import hide
from werkzeug.datastructures import MultiDict

from ligand_async.auth.errors import InvalidToken
from ligand_async.auth.tokens.compact import read_compact
from ligand_async.context import service_of, state_of
from ligand_async.errors import problem_for
from ligand_async.marks import limit, public
from ligand_async.paths import is_loopback
from ligand_async.settings import Settings

logger = logging.getLogger(__name__)

PATH = "/_dev/issuer"
ENVIRONMENTS = frozenset({"local", "testing"})
ALGORITHM = "ES256"
_CLIENT = "development"
LIFETIME = 3600  # seconds


class DevelopmentIssuer:
    """An issuer whose key pair is derived from the secret key, so that all processes of a service have the same.

    It stands in for a real issuer, with metadata (RFC 8414), keys (RFC 7517) and tokens (RFC 9068).

    Args:
        settings: The settings, of the environment `local` or `testing`.

    Attributes:
        issuer: The `iss` of its tokens, and where its metadata is found.
        audience: The `aud` of its tokens.

    Raises:
        ValueError: The environment is neither `local` nor `testing`.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.environment not in ENVIRONMENTS:
            raise ValueError(f"there is no development issuer in {settings.environment}; set oidc_issuer to a real one")
        self.issuer = settings.service_public_url + PATH
        self.audience = settings.oidc_audience or (settings.service_public_url,)
        self._key = ECKey.derive_key(
            settings.secret_key.get_secret_value(),
            "P-256",
            {"alg": ALGORITHM, "use": "sig"},
            auto_kid=True,
            kdf_options={"salt": b"ligand_async", "info": b"the development issuer's ES256 key"},
        )

    def issue(
        self,
        *,
        subject: str = "ada",
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        expires: int = LIFETIME,
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """Return an access token (RFC 9068).

        Args:
            subject: The `sub` claim.
            roles: The roles of the subject.
            scopes: The scopes of the token.
            expires: Seconds from now until it expires.
            claims: More claims, by name; their values are JSON.

        Raises:
            TypeError: Roles or scopes are a string instead of a list of strings, or a claim is not JSON.
            ValueError: A claim is one that the issuer sets itself, or the token would be refused everywhere.
        """
        if isinstance(roles, str) or isinstance(scopes, str):
            raise TypeError('roles and scopes must be lists of strings, such as ["admin"]')
        names = {"roles": list(roles), "scope": " ".join(scopes)}
        payload = {
            **self._registered(subject, _CLIENT, expires),
            **{name: value for name, value in names.items() if value},
            **_checked_claims(claims or {}),
        }
        return self._sign(payload)

    def issue_to_client(self, grant: "_Grant") -> str:
        """Return the access token of a client (RFC 6749 section 4.4)."""
        names = {"roles": list(grant.roles), "scope": " ".join(grant.scopes)}
        payload = {
            **self._registered(grant.client_id, grant.client_id, LIFETIME),
            **{name: value for name, value in names.items() if value},
            **grant.claims,
        }
        return self._sign(payload)

    def _registered(self, subject: str, client_id: str, expires: int) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.issuer,
            "sub": subject,
            "aud": self.audience[0] if len(self.audience) == 1 else list(self.audience),
            "iat": now,
            "exp": now + expires,
            "jti": str(uuid4()),
            "client_id": client_id,
        }

    def _sign(self, payload: Mapping[str, Any]) -> str:
        header = {"alg": ALGORITHM, "typ": "at+jwt", "kid": self._key.kid}
        token = jwt.encode(header, dict(payload), self._key, algorithms=[ALGORITHM])
        try:
            read_compact(token, [ALGORITHM])
        except InvalidToken as error:
            raise ValueError(
                f"no service would accept the token, because of its {error.reason}; give it fewer or smaller claims"
            ) from error
        return token

    def jwks(self) -> dict[str, Any]:
        """Return the public keys (RFC 7517 section 5)."""
        return {"keys": [self._key.as_dict(private=False)]}

    def metadata(self) -> dict[str, Any]:
        """Return the metadata of the issuer (RFC 8414 section 2, OpenID Connect Discovery 1.0 section 3)."""
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/jwks",
            "token_endpoint": f"{self.issuer}/token",
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
        }


# Those of RFC 7519 section 4.1 and RFC 9068 section 2.2, each with the argument that sets it.
_OWN_CLAIMS = {"sub": "subject", "exp": "expires", "roles": "roles", "scope": "scopes"} | dict.fromkeys(
    ("iss", "aud", "nbf", "iat", "jti", "client_id")
)


def _checked_claims(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return claims that a token can have besides those of the issuer.

    Raises:
        TypeError: A name is not text, or a value is not JSON.
        ValueError: The issuer sets a claim of this name itself, or a value is a number or a text that JSON cannot hold.
    """
    for name, value in claims.items():
        if not isinstance(name, str):
            raise TypeError("the names of claims must be text")
        if not name or not name.isprintable():
            raise ValueError("the name of a claim must be printable, and not empty")
        if name in _OWN_CLAIMS:
            argument = _OWN_CLAIMS[name]
            remedy = f"; use {argument} for it" if argument else ", and it cannot be changed"
            raise ValueError(f"the development issuer sets the claim {name} itself{remedy}")
        try:
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        except TypeError as error:
            raise TypeError(f"the claim {name} is not JSON: give text, numbers, booleans, lists and objects") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the claim {name} cannot be written as JSON") from error
    return dict(claims)


def development_issuer_of(settings: Settings) -> DevelopmentIssuer | None:
    """Return the development issuer, or None if `oidc_issuer` is set or the environment is not `local` or `testing`."""
    if settings.environment not in ENVIRONMENTS or settings.oidc_issuer:
        return None
    return DevelopmentIssuer(settings)


# Of OpenID Connect Discovery, and of RFC 8414 section 3.1, which holds where the service is not mounted below a path.
_METADATA_PATHS = (f"{PATH}/.well-known/openid-configuration", f"/.well-known/oauth-authorization-server{PATH}")


def init_development_issuer(app: Quart, issuer: DevelopmentIssuer) -> None:
    """Serve a development issuer below `/_dev/issuer`, and warn about it when the app starts."""
    state_of(app).put(issuer)
    blueprint = limit(None)(public(Blueprint("ligand_development_issuer", __name__)))
    for path in _METADATA_PATHS:
        blueprint.add_url_rule(path, "read_metadata", hide(_read_metadata))
    blueprint.add_url_rule(f"{PATH}/jwks", "read_keys", hide(_read_keys))
    blueprint.add_url_rule(f"{PATH}/token", "issue_token", hide(_issue_token), methods=["POST"])
    blueprint.before_request(_check_host)
    app.register_blueprint(blueprint)
    app.before_serving(functools.partial(_warn, service_of(app).settings))


def issuer_of(app: Quart) -> DevelopmentIssuer | None:
    """Return the development issuer of an app, or None if it has none."""
    return state_of(app).find(DevelopmentIssuer)


async def _warn(settings: Settings) -> None:
    level = logging.INFO if settings.environment == "testing" else logging.WARNING
    variable = settings.vocabulary().variable("oidc_issuer")
    logger.log(level, "the development issuer gives a token to everyone who asks; set %s to a real issuer", variable)


async def _check_host() -> None:
    # A page whose host name its owner turns to this machine would get a token with any role.
    if not is_loopback(request.host):
        raise problem_for(421, "the development issuer answers on this machine only, as localhost or 127.0.0.1")


async def _read_metadata() -> Response:
    return jsonify(_current_issuer().metadata())


async def _read_keys() -> Response:
    """Return the public keys."""
    return jsonify(_current_issuer().jwks())


async def _issue_token() -> Response:
    try:
        grant = await _read_grant(request)
    except GrantError as error:
        headers = {"WWW-Authenticate": 'Basic realm="development issuer"'} if error.status == 401 else {}
        return _answer({"error": error.error, "error_description": error.description}, error.status, headers)
    try:
        token = _current_issuer().issue_to_client(grant)
    except ValueError as error:
        return _answer({"error": "invalid_request", "error_description": str(error)}, 400, {})
    document = {"access_token": token, "token_type": "Bearer", "expires_in": LIFETIME, "scope": " ".join(grant.scopes)}
    return _answer({name: value for name, value in document.items() if value}, 200, {})


def _answer(document: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    """Return a response that is not cached (RFC 6749 section 5.1)."""
    response = jsonify(document)
    response.status_code = status
    response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache", **headers})
    return response


def _current_issuer() -> DevelopmentIssuer:
    return state_of(current_app).get(DevelopmentIssuer)


_FORM = "application/x-www-form-urlencoded"
_SCOPES = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*")  # RFC 6749 section 3.3
_CLIENT_ID = re.compile(r"[\x20-\x7E]+")  # RFC 6749 appendix A.1
_PARAMETERS = ("grant_type", "client_id", "scope", "roles", "claims")


class GrantError(Exception):
    """No token is issued (RFC 6749 section 5.2).

    Args:
        error: The error code.
        description: The mistake, and how to correct it.
    """

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = 401 if error == "invalid_client" else 400


@dataclass(frozen=True, slots=True)
class _Grant:
    """A request for a token.

    Attributes:
        client_id: The identifier that the client gives.
        scopes: The scopes of the token.
        roles: The roles of the client; a parameter that real issuers do not have.
        claims: More claims of the token; another such parameter.
    """

    client_id: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    claims: Mapping[str, Any]


async def _read_grant(request: Request) -> _Grant:
    """Read a request for a token.

    Raises:
        GrantError: It cannot be granted.
    """
    if request.mimetype != _FORM:
        raise GrantError("invalid_request", f"send the parameters as {_FORM}")
    form = await request.form
    if twice := [name for name in _PARAMETERS if len(form.getlist(name)) > 1]:
        raise GrantError("invalid_request", f"{twice[0]} is given more than once")
    if not form.get("grant_type"):
        raise GrantError("invalid_request", "grant_type is missing; send client_credentials")
    if form["grant_type"] != "client_credentials":
        raise GrantError("unsupported_grant_type", "the only grant_type here is client_credentials")
    return _Grant(
        client_id=_read_client(request, form),
        scopes=_read_names(form.get("scope", ""), "invalid_scope", "scope"),
        roles=_read_names(form.get("roles", "").replace(",", " "), "invalid_request", "roles"),
        claims=_read_claims(form.get("claims", "")),
    )


def _read_claims(text: str) -> dict[str, Any]:
    """Read the parameter `claims`, a JSON object.

    Raises:
        GrantError: It is something else, or has a claim that the issuer sets.
    """
    if not text:
        return {}
    try:
        document = jiter.from_json(text.encode(), catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise GrantError("invalid_request", "claims is not a JSON object in which each name is written once")
    try:
        return _checked_claims(document)
    except ValueError as error:
        raise GrantError("invalid_request", str(error)) from error


def _read_client(request: Request, form: MultiDict[str, str]) -> str:
    """Return the client's identifier, from the header or the form; the secret is not looked at.

    Raises:
        GrantError: There is no identifier, or there are two.
    """
    header = request.authorization
    named = {unquote_plus(header.username or "")} if header is not None and header.type == "basic" else set()
    named |= {form["client_id"]} if form.get("client_id") else set()
    if len(named) > 1:
        raise GrantError("invalid_request", "the header and the form name different clients")
    client_id = next(iter(named), "")
    if not _CLIENT_ID.fullmatch(client_id):
        raise GrantError("invalid_client", "client_id is missing or not ASCII; send any name")
    return client_id


def _read_names(text: str, error: str, parameter: str) -> tuple[str, ...]:
    text = text.strip(" ")
    if text and not _SCOPES.fullmatch(text):
        raise GrantError(error, f"{parameter} is not a list of names in ASCII, separated by single spaces")
    return tuple(dict.fromkeys(text.split()))


class InProcess(httpx2.AsyncBaseTransport):
    """A transport to a development issuer, without a server and without the hooks of the service.

    Only metadata and keys can be read.

    Args:
        issuer: The issuer.
    """

    def __init__(self, issuer: DevelopmentIssuer) -> None:
        self.issuer = issuer

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        metadata = self.issuer.metadata()
        documents = {
            httpx2.URL(f"{self.issuer.issuer}/.well-known/openid-configuration"): metadata,
            httpx2.URL(metadata["jwks_uri"]): self.issuer.jwks(),
        }
        document = documents.get(request.url)
        return httpx2.Response(404) if document is None else httpx2.Response(200, json=document)
