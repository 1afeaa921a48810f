"""Access tokens: their verification, and the requests to their issuers."""

from ligand_async.auth.tokens.claims import PROFILES, ClaimProfile
from ligand_async.auth.tokens.compact import read_compact
from ligand_async.auth.tokens.introspection import IntrospectionClient, IntrospectionVerifier
from ligand_async.auth.tokens.issuer_http import AuthMethod, Fetcher, FetchError, OAuthClient, discover
from ligand_async.auth.tokens.keys import DEFAULT_PACE, Pace
from ligand_async.auth.tokens.token_cache import MAX_AGE
from ligand_async.auth.tokens.verifier import JWKSVerifier, TrustedIssuer

__all__ = [
    "DEFAULT_PACE",
    "MAX_AGE",
    "PROFILES",
    "AuthMethod",
    "ClaimProfile",
    "FetchError",
    "Fetcher",
    "IntrospectionClient",
    "IntrospectionVerifier",
    "JWKSVerifier",
    "OAuthClient",
    "Pace",
    "TrustedIssuer",
    "discover",
    "read_compact",
]
