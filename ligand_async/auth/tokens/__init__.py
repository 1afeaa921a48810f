"""What an access token says, and whether it is to be trusted."""

from ligand_async.auth.tokens.issuer_http import AuthMethod, Fetcher, FetchError, client_auth, discover, origin
from ligand_async.auth.tokens.verifier import JWKSVerifier

__all__ = [
    "AuthMethod",
    "FetchError",
    "Fetcher",
    "JWKSVerifier",
    "client_auth",
    "discover",
    "origin",
]
