"""Opaque tokens in a service, by its settings: row 90 of the fault matrix."""

import logging
from typing import Any

import pytest
from quart import Blueprint, Quart

from ligand_async import current_principal, operation
from ligand_async.settings import SettingsError
from tests.auth.issuing import INTROSPECTION, SECRET, IntrospectingIssuer
from tests.auth.verifying import settings_for
from tests.services import make_app, running

callers = Blueprint("callers", __name__)


@callers.get("/caller")
@operation
async def read_caller() -> dict[str, str]:
    principal = current_principal()
    assert principal is not None
    return {"subject": principal.subject}


def make_service(database_url: str, settings: dict[str, Any]) -> Quart:
    return make_app(database_url, callers, settings=settings)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_opaque_token_is_asked_about(
    issuer: IntrospectingIssuer, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 90: an opaque token is asked about and its answer kept; 503 in an outage, and nothing of it in the log."""
    caplog.set_level(logging.DEBUG)
    known, unknown = issuer.issue("a-known-token"), issuer.issue("a-later-token")
    async with running(make_service(sqlite_url, settings_for(issuer))) as client:
        first = await client.get("/caller", headers=bearer(known))
        wrong = await client.get("/caller", headers=bearer("never-issued"))
        issuer.stop()
        kept = await client.get("/caller", headers=bearer(known))
        outage = await client.get("/caller", headers=bearer(unknown))
        ready = await client.get("/readyz")

    assert await first.get_json() == {"subject": "ada"}
    assert (wrong.status_code, kept.status_code, outage.status_code) == (401, 200, 503)
    assert 'error="invalid_token"' in wrong.headers["WWW-Authenticate"]
    assert int(outage.headers["Retry-After"]) >= 1
    assert outage.mimetype == "application/problem+json"
    assert "WWW-Authenticate" not in outage.headers
    assert ready.status_code == 200
    assert issuer.asked[INTROSPECTION] == 2
    logged = caplog.text + await outage.get_data(as_text=True) + await wrong.get_data(as_text=True)
    assert not any(secret in logged for secret in (SECRET, known, unknown, "never-issued"))


async def test_service_starts_without_its_issuer(issuer: IntrospectingIssuer, sqlite_url: str) -> None:
    """A service whose issuer is down starts, is not ready, and answers 503 where a token is needed."""
    token = issuer.issue()
    issuer.stop()
    async with running(make_service(sqlite_url, settings_for(issuer)), tables=False) as client:
        ready = await client.get("/readyz")
        asked = await client.get("/caller", headers=bearer(token))
        bare = await client.get("/caller")

    assert (ready.status_code, asked.status_code, bare.status_code) == (503, 503, 401)
    assert (await ready.get_json())["checks"]["token_introspection"] == "failed"


async def test_both_kinds_of_token(issuer: IntrospectingIssuer, sqlite_url: str) -> None:
    """With `both`, a signed token is verified here and any other is asked about."""
    opaque = issuer.issue()
    async with running(make_service(sqlite_url, settings_for(issuer, "both")), tables=False) as client:
        answers = [await client.get("/caller", headers=bearer(token)) for token in (issuer.mint(), opaque)]
        asked = issuer.asked[INTROSPECTION]
        forged = await client.get("/caller", headers=bearer(issuer.mint(signature=b"forged")))

    assert [answer.status_code for answer in answers] == [200, 200]
    assert forged.status_code == 401
    assert (asked, issuer.asked[INTROSPECTION]) == (1, 1)


async def test_only_the_first_issuer_is_asked(issuer: IntrospectingIssuer, sqlite_url: str) -> None:
    """No issuer learns the tokens of another, nor the secret that is kept with another."""
    with IntrospectingIssuer() as second:
        token = second.issue()
        settings = {**settings_for(issuer), "oidc_issuer": (issuer.url, second.url)}
        async with running(make_service(sqlite_url, settings), tables=False) as client:
            answer = await client.get("/caller", headers=bearer(token))

        assert answer.status_code == 401
        assert second.requests == []


@pytest.mark.parametrize("missing", ["oidc_client_id", "oidc_client_secret"])
def test_opaque_tokens_need_a_client(issuer: IntrospectingIssuer, sqlite_url: str, missing: str) -> None:
    """A service that could never ask does not start, and says what it needs."""
    with pytest.raises(SettingsError, match=missing):
        make_service(sqlite_url, {**settings_for(issuer), missing: None})
