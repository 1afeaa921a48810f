"""What the development issuer answers: its metadata, its keys, its tokens."""

import functools
import logging
from typing import Any

from quart import Blueprint, Quart, Response, current_app, jsonify, request
from quart_schema import hide

from ligand_async.auth.development.grant import GrantError, read_grant
from ligand_async.auth.development.issuer import LIFETIME, PATH, DevelopmentIssuer
from ligand_async.context import service_of
from ligand_async.marks import limit, public
from ligand_async.settings import Settings

logger = logging.getLogger(__name__)

EXTENSION = "ligand_development_issuer"
# Of OpenID Connect Discovery, and of RFC 8414 section 3.1, which holds where the service is not mounted below a path.
METADATA_PATHS = (f"{PATH}/.well-known/openid-configuration", f"/.well-known/oauth-authorization-server{PATH}")


def init_development_issuer(app: Quart, issuer: DevelopmentIssuer) -> None:
    """Serve a development issuer below `/_dev/issuer`, and warn about it when the app starts."""
    app.extensions[EXTENSION] = issuer
    blueprint = limit(None)(public(Blueprint("ligand_development_issuer", __name__)))
    for path in METADATA_PATHS:
        blueprint.add_url_rule(path, "read_metadata", hide(read_metadata))
    blueprint.add_url_rule(f"{PATH}/jwks", "read_keys", hide(read_keys))
    blueprint.add_url_rule(f"{PATH}/token", "issue_token", hide(issue_token), methods=["POST"])
    app.register_blueprint(blueprint)
    app.before_serving(functools.partial(warn, service_of(app).settings))


def issuer_of(app: Quart) -> DevelopmentIssuer | None:
    """Return the development issuer that an app serves and trusts, if there is one."""
    issuer = app.extensions.get(EXTENSION)
    return issuer if isinstance(issuer, DevelopmentIssuer) else None


async def warn(settings: Settings) -> None:
    """Say in the log that the service believes whoever asks; a test is not warned of what it wants."""
    level = logging.INFO if settings.environment == "testing" else logging.WARNING
    variable = settings.vocabulary().variable("oidc_issuer")
    logger.log(level, "the development issuer gives a token to whoever asks; %s names a real one", variable)


async def read_metadata() -> Response:
    """Return where everything is."""
    return jsonify(current_issuer().metadata())


async def read_keys() -> Response:
    """Return the public keys."""
    return jsonify(current_issuer().jwks())


async def issue_token() -> Response:
    """Issue a token, or say why not."""
    try:
        grant = await read_grant(request)
    except GrantError as error:
        headers = {"WWW-Authenticate": 'Basic realm="development issuer"'} if error.status == 401 else {}
        return answer({"error": error.error, "error_description": error.description}, error.status, headers)
    token = current_issuer().issue(
        subject=grant.client_id, roles=grant.roles, scopes=grant.scopes, claims={"client_id": grant.client_id}
    )
    document = {"access_token": token, "token_type": "Bearer", "expires_in": LIFETIME, "scope": " ".join(grant.scopes)}
    return answer({name: value for name, value in document.items() if value}, 200, {})


def answer(document: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    """Return an answer that nobody keeps (RFC 6749 section 5.1)."""
    response = jsonify(document)
    response.status_code = status
    response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache", **headers})
    return response


def current_issuer() -> DevelopmentIssuer:
    """Return the issuer of the app that serves this request."""
    issuer: DevelopmentIssuer = current_app.extensions[EXTENSION]
    return issuer
