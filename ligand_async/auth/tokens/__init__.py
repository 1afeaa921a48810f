"""What an access token says, and whether it is to be trusted."""

from ligand_async.auth.tokens.issuer_http import AuthMethod, Fetcher, FetchError, OAuthClient, discover
from ligand_async.auth.tokens.verifier import JWKSVerifier

__all__ = [
    "AuthMethod",
    "FetchError",
    "Fetcher",
    "JWKSVerifier",
    "OAuthClient",
    "discover",
]
