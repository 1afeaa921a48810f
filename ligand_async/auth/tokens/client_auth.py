"""How this service's own client shows an issuer who it is (RFC 6749 section 2.3.1)."""

from typing import Literal
from urllib.parse import quote_plus

import httpx2

AuthMethod = Literal["client_secret_basic", "client_secret_post"]


def client_auth(client_id: str, client_secret: str, method: AuthMethod) -> httpx2.Auth:
    """Return what adds a client's credentials to a request that has a form.

    Args:
        client_id: The client.
        client_secret: Its secret.
        method: `client_secret_basic`, in the `Authorization` header, or `client_secret_post`, in the form.
    """
    # Slow to import, and most services have no client of their own.
    from authlib.integrations.httpx_client import OAuth2ClientAuth  # type: ignore[import-untyped]  # it has no types

    if method == "client_secret_basic":  # form-encoded within the header, which Authlib leaves to its caller
        client_id, client_secret = quote_plus(client_id), quote_plus(client_secret)
    auth: httpx2.Auth = OAuth2ClientAuth(client_id, client_secret, method)
    return auth
