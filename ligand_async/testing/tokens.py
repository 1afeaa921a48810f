"""Access tokens for tests of a service, which it trusts like those of a real issuer."""

from collections.abc import Iterable, Mapping
from typing import Any

from quart import Quart

from ligand_async.auth import LIFETIME, issuer_of


def access_token(
    app: Quart,
    *,
    subject: str = "ada",
    roles: Iterable[str] = (),
    scopes: Iterable[str] = (),
    expires: int = LIFETIME,
    claims: Mapping[str, Any] | None = None,
) -> str:
    """Return an access token that a service in `testing` or `local` trusts.

    Args:
        app: What `create_app` made.
        subject: The caller's subject.
        roles: The caller's roles.
        scopes: The token's scopes.
        expires: Seconds until the token expires; a negative number makes an expired token.
        claims: More claims of the token, such as `{"tenant": "acme"}`.

    Raises:
        RuntimeError: The service has no development issuer.
        TypeError: A claim is not JSON, or roles or scopes are a string.
        ValueError: A claim is one that the issuer sets itself, such as `exp`.
    """
    issuer = issuer_of(app)
    if issuer is None:
        raise RuntimeError(
            f"app {app.name!r} has no development issuer: it is there in the environments testing and local, "
            "where oidc_issuer is not set and no BearerAuthenticator is given to create_app()"
        )
    return issuer.issue(subject=subject, roles=roles, scopes=scopes, expires=expires, claims=claims)


def authorization(
    app: Quart,
    *,
    subject: str = "ada",
    roles: Iterable[str] = (),
    scopes: Iterable[str] = (),
    expires: int = LIFETIME,
    claims: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Return the headers of a request that carries such a token.

        response = await client.post("/pets/", json=pet, headers=authorization(app, roles=["user"]))

    Arguments and errors are those of `access_token`.
    """
    token = access_token(app, subject=subject, roles=roles, scopes=scopes, expires=expires, claims=claims)
    return {"Authorization": f"Bearer {token}"}
