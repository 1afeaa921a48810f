"""Clocks, verifiers and services for tests that verify tokens of an issuer."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from quart import Blueprint, Quart, g

from ligand_async import requires, role
from ligand_async.auth import InvalidToken
from ligand_async.auth.tokens import (
    DEFAULT_PACE,
    PROFILES,
    AuthMethod,
    ClaimProfile,
    Fetcher,
    IntrospectionClient,
    IntrospectionVerifier,
    JWKSVerifier,
    OAuthClient,
    Pace,
    TrustedIssuer,
)
from ligand_async.errors import ServiceUnavailable
from ligand_async.principal import Principal
from ligand_async.settings import Quota
from tests.auth.issuing import AUDIENCE, CLIENT, SECRET, Issuer
from tests.services import make_app

PATIENCE = 2.0  # seconds


class Clock:
    """A clock that only goes when it is told to."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def trust(issuer: Issuer, profile: str | ClaimProfile = "generic", **options: Any) -> TrustedIssuer:
    """Trust an issuer."""
    chosen = PROFILES[profile] if isinstance(profile, str) else profile
    return TrustedIssuer(**{"issuer": issuer.url, "audience": (AUDIENCE,), "profile": chosen, **options})


def fetcher(timeout: float = PATIENCE, **options: Any) -> Fetcher:
    """Make a fetcher that may ask this machine."""
    return Fetcher(timeout=timeout, allow_http=True, **options)


@asynccontextmanager
async def verifying(
    *trusted: Issuer | TrustedIssuer, clock: Clock | None = None, pace: Pace = DEFAULT_PACE, patience: float = PATIENCE
) -> AsyncIterator[JWKSVerifier]:
    """Make a verifier, and stop it at the end; it looks for keys when it needs them."""
    issuers = [one if isinstance(one, TrustedIssuer) else trust(one) for one in trusted]
    clock = clock or Clock()
    verifier = JWKSVerifier(issuers, fetcher=fetcher(patience), pace=pace, clock=clock, monotonic=clock)
    try:
        yield verifier
    finally:
        await verifier.stop()


async def verify(token: str, *trusted: Issuer | TrustedIssuer, clock: Clock | None = None) -> Principal:
    """Verify one token."""
    async with verifying(*trusted, clock=clock) as verifier:
        return await verifier.verify(token)


async def refused(token: str, *trusted: Issuer | TrustedIssuer, clock: Clock | None = None) -> str:
    """Verify one token that must be refused; return why it was."""
    with pytest.raises(InvalidToken) as caught:
        await verify(token, *trusted, clock=clock)
    return caught.value.reason


def make_service(database_url: str, issuer: Issuer, **settings: Any) -> Quart:
    """Make a service that trusts an issuer: `/who` is for anyone with a token, `/admin` for administrators."""
    pages = Blueprint("pages", __name__)

    @pages.route("/who", methods=["GET", "POST"])
    async def who() -> dict[str, str]:
        return {"subject": g.principal.subject}

    @pages.get("/admin")
    @requires(role("admin"))
    async def admin() -> dict[str, str]:
        return {}

    return make_app(
        database_url, pages, database=None, settings={"oidc_issuer": issuer.url, "oidc_audience": AUDIENCE, **settings}
    )


def bearer(token: str, scheme: str = "Bearer") -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"{scheme} {token}"}


INTROSPECTION_PATIENCE = 0.6  # seconds


def settings_for(issuer: Issuer, tokens: str = "opaque") -> dict[str, Any]:
    """Return the settings of a service that asks this issuer."""
    return {
        "oidc_issuer": issuer.url,
        "oidc_audience": AUDIENCE,
        "oidc_tokens": tokens,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
        "oidc_timeout": 0.5,
    }


def make_verifier(
    issuer: Issuer,
    clock: Clock,
    *,
    method: AuthMethod = "client_secret_basic",
    profile: str = "generic",
    unknown: tuple[Quota, ...] = (),
) -> IntrospectionVerifier:
    """Make what asks this issuer; only the test moves its clock on."""
    own = OAuthClient(CLIENT, SECRET, method)
    client = IntrospectionClient(issuer.url, fetcher=fetcher(INTROSPECTION_PATIENCE, client=own), clock=clock)
    return IntrospectionVerifier(trust(issuer, profile), client, unknown=unknown, clock=clock, monotonic=clock)


async def outcome(verifier: IntrospectionVerifier, token: str) -> str:
    """Return the subject of a token, why it is refused, or `unknown`."""
    try:
        return (await verifier.verify(token)).subject
    except InvalidToken as refusal:
        return refusal.reason
    except ServiceUnavailable:
        return "unknown"
