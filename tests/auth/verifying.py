"""What tests of verification share: a clock to set, a verifier of a test's issuer, and a service that has one."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from quart import Blueprint, Quart, g

from ligand_async import requires, role
from ligand_async.auth import InvalidToken
from ligand_async.auth.tokens import Fetcher, JWKSVerifier
from ligand_async.auth.tokens.claims import PROFILES, ClaimProfile
from ligand_async.auth.tokens.keys import DEFAULT_PACE, Pace
from ligand_async.auth.tokens.verifier import TrustedIssuer
from ligand_async.principal import Principal
from tests.auth.issuing import AUDIENCE, Issuer
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
