"""Who is calling, and whether they may."""

from ligand_async.auth.access import Access, AccessError, Route, access_of, routes_of
from ligand_async.auth.authenticators import (
    APIKeyAuthenticator,
    BasicAuthenticator,
    BasicCredentials,
    BearerAuthenticator,
    current_caller_token,
)
from ligand_async.auth.browser import BrowserAuthenticator, CookieAuthenticator, SubprotocolAuthenticator
from ligand_async.auth.checks import check_access
from ligand_async.auth.development import ENVIRONMENTS, LIFETIME, DevelopmentIssuer, issuer_of
from ligand_async.auth.enforcement import Enforcement, add_challenges, counts_failures, enforcement_of, is_enforced
from ligand_async.auth.errors import InsufficientScope, InvalidRequest, InvalidToken, bearer_challenge
from ligand_async.auth.failures import count_attempt, network_of
from ligand_async.auth.http_client import HTTPClient, UnusableExchange, reason_of
from ligand_async.auth.setup import init_auth, trusted_issuers

__all__ = [
    "ENVIRONMENTS",
    "LIFETIME",
    "APIKeyAuthenticator",
    "Access",
    "AccessError",
    "BasicAuthenticator",
    "BasicCredentials",
    "BearerAuthenticator",
    "BrowserAuthenticator",
    "CookieAuthenticator",
    "DevelopmentIssuer",
    "Enforcement",
    "HTTPClient",
    "InsufficientScope",
    "InvalidRequest",
    "InvalidToken",
    "Route",
    "SubprotocolAuthenticator",
    "UnusableExchange",
    "access_of",
    "add_challenges",
    "bearer_challenge",
    "check_access",
    "count_attempt",
    "counts_failures",
    "current_caller_token",
    "enforcement_of",
    "init_auth",
    "is_enforced",
    "issuer_of",
    "network_of",
    "reason_of",
    "routes_of",
    "trusted_issuers",
]
