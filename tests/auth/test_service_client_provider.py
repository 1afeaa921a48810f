"""Calling another service with a token of a real issuer."""

import asyncio

import pytest

from examples.petstore.app import create_app
from ligand_async.upstream import ClientCredentials, ServiceClient
from tests.auth.upstream import Upstream
from tests.provider.running import Provider
from tests.services import NEVER_OPENED

pytestmark = pytest.mark.extended


async def test_a_real_issuer_s_token_lets_a_service_in(provider: Provider) -> None:
    """Whatever its secret is made of; and what it is sent, another service of ours takes."""
    credentials = ClientCredentials("svc", provider.secret, issuer=provider.issuer, scope="pets:write")
    with Upstream() as other:
        async with ServiceClient(other.url, credentials=credentials) as client:
            await asyncio.gather(*(client.get("/pets") for _ in range(20)))
        sent = {asked.headers["Authorization"] for asked in other.requests}

    settings = {"oidc_issuer": provider.issuer, "oidc_audience": provider.audience}
    app = create_app("testing", database_url=NEVER_OPENED, **settings)
    async with app.test_app():
        told = await app.test_client().get("/me", headers={"Authorization": sent.pop()})

    assert (told.status_code, (await told.get_json())["scopes"], sent) == (200, ["pets:write"], set())
