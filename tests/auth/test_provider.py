"""The petstore with a real issuer, node-oidc-provider, by settings alone."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from quart.typing import TestClientProtocol as Client

from examples.petstore.app import create_app
from ligand_async.auth import InvalidToken
from ligand_async.auth.tokens import (
    MAX_AGE,
    PROFILES,
    AuthMethod,
    Fetcher,
    IntrospectionClient,
    IntrospectionVerifier,
    OAuthClient,
    Pace,
    TrustedIssuer,
)
from tests.provider.running import AUDIENCE, SECRET, Provider, running_provider
from tests.servers import served

pytestmark = pytest.mark.extended

PET = {"name": "Rex"}
PATIENCE = 20.0  # seconds until a service must have found its issuer


def settings_for(provider: Provider, **more: Any) -> dict[str, Any]:
    return {
        "oidc_issuer": provider.issuer,
        "oidc_audience": provider.audience,
        "oidc_client_id": "api-client_secret_basic",
        "oidc_client_secret": SECRET,
        "oidc_client_subject": True,  # its opaque tokens of the client credentials grant have no `sub`
        **more,
    }


@asynccontextmanager
async def petstore(database_url: str, provider: Provider, **more: Any) -> AsyncIterator[Client]:
    """Run the petstore on an empty database, and yield a client."""
    settings = settings_for(provider, **more)
    app = create_app("testing", database_url=database_url, database_auto_upgrade=True, **settings)
    async with app.test_app():
        yield app.test_client()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def until(well: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is well."""
    deadline = time.monotonic() + PATIENCE
    while not await well():
        assert time.monotonic() < deadline, f"not well within {PATIENCE} s"
        await asyncio.sleep(0.2)


async def test_client_credentials_token_is_accepted(provider: Provider, sqlite_url: str) -> None:
    """The issuer's name and our own are all that it takes: metadata, keys, signature, roles and scopes follow."""
    token = provider.token(scope="pets:read pets:write")
    async with petstore(sqlite_url, provider) as client:
        created = await client.post("/pets/", json=PET, headers=bearer(token))
        caller = await client.get("/me", headers=bearer(token))

    assert created.status_code == 201
    assert await caller.get_json() == {
        "subject": "svc",
        "roles": ["admin", "user"],
        "scopes": ["pets:read", "pets:write"],
    }


async def test_roles_and_scopes_decide(provider: Provider, sqlite_url: str) -> None:
    """A client may do what its token says, and is told which scope it lacks."""
    any_state = {"If-Match": "*"}
    less, more = (bearer(provider.token("reader", scope=scope)) for scope in ("pets:read", "pets:write"))
    async with petstore(sqlite_url, provider) as client:
        refused = await client.post("/pets/", json=PET, headers=less)
        created = await client.post("/pets/", json=PET, headers=more)
        kept = await client.delete(created.headers["Location"], headers=more | any_state)
        gone = await client.delete(created.headers["Location"], headers=bearer(provider.token()) | any_state)

    assert [answer.status_code for answer in (refused, created, kept, gone)] == [403, 201, 403, 204]
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert 'scope="pets:write"' in refused.headers["WWW-Authenticate"]


@pytest.mark.parametrize("client_id", ["svc", "opaque"])
async def test_token_for_another_service_is_refused(provider: Provider, sqlite_url: str, client_id: str) -> None:
    """A good token of the same issuer that was made for somebody else is a 401."""
    token = provider.token(client_id, resource="https://other.example.test")
    async with petstore(sqlite_url, provider, oidc_tokens="both") as client:
        answer = await client.get("/me", headers=bearer(token))

    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("client_id", ["brief", "opaque-brief"])
async def test_token_ends(provider: Provider, sqlite_url: str, client_id: str) -> None:
    """A token of one second is accepted, and refused after it, though it was kept."""
    async with petstore(sqlite_url, provider, oidc_tokens="both", oidc_leeway=0) as client:
        await until(lambda: is_well(client, "/readyz"))
        token = provider.token(client_id)
        before = await client.get("/me", headers=bearer(token))
        await asyncio.sleep(2.0)  # it ends at a whole second
        after = await client.get("/me", headers=bearer(token))

    assert (before.status_code, after.status_code) == (200, 401)


async def is_well(client: Client, path: str, token: str | None = None) -> bool:
    """Tell whether a path answers 200."""
    return (await client.get(path, headers=bearer(token) if token else {})).status_code == 200


async def test_keys_are_rotated_under_load(tmp_path: Path, sqlite_url: str) -> None:
    """While keys are rotated no token of an old key is refused, and none of a new one once the cool-down is over."""
    with running_provider(tmp_path) as provider:
        async with petstore(sqlite_url, provider) as client:
            old = [provider.token() for _ in range(10)]
            assert await is_well(client, "/me", old[0])
            known_at = time.monotonic()  # the keys were fetched before
            new: list[str] = []
            answers: list[tuple[bool, float, int]] = []

            async def ask(number: int) -> None:
                tokens = old if not new or number % 2 == 0 else new
                answer = await client.get("/me", headers=bearer(tokens[number // 2 % len(tokens)]))
                answers.append((tokens is new, time.monotonic() - known_at, answer.status_code))

            async def load() -> None:
                while len(answers) < 300 or sum(is_new for is_new, _, _ in answers) < 50:
                    await ask(len(answers))

            loads = asyncio.gather(*(load() for _ in range(4)))
            await asyncio.to_thread(provider.rotate)
            new += [await asyncio.to_thread(provider.token) for _ in range(10)]
            await loads
            await asyncio.sleep(max(0.0, known_at + Pace().cooldown - time.monotonic()))
            for number in range(100):
                await ask(number)

    assert {status for is_new, _, status in answers if not is_new} == {200}
    late = [status for is_new, age, status in answers if is_new and age > Pace().cooldown]
    assert len(late) == 50
    assert set(late) == {200}


async def test_outage_of_the_issuer(tmp_path: Path, sqlite_url: str) -> None:
    """Known keys outlast an outage; a service that starts in one is not ready, says so, and recovers by itself."""
    with running_provider(tmp_path) as provider:
        known, later = provider.token(), provider.token()
        async with petstore(sqlite_url, provider) as client:
            await until(lambda: is_well(client, "/readyz"))
            before = await client.get("/me", headers=bearer(known))
            provider.stop()
            during = [await client.get("/me", headers=bearer(token)) for token in (known, later)]
            ready = await client.get("/readyz")
        async with petstore(sqlite_url, provider) as client:
            new = await client.get("/me", headers=bearer(known))
            not_ready = await client.get("/readyz")
            public = await client.get("/pets/")
            provider.start()
            await until(lambda: is_well(client, "/readyz"))
            recovered = await client.get("/me", headers=bearer(known))

    assert [answer.status_code for answer in (before, *during, ready)] == [200] * 4
    assert (new.status_code, not_ready.status_code, public.status_code) == (503, 503, 200)
    assert int(new.headers["Retry-After"]) >= 1
    assert new.mimetype == "application/problem+json"
    assert recovered.status_code == 200


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_opaque_token_is_accepted(provider: Provider, sqlite_url: str, method: AuthMethod) -> None:
    """What the issuer says of a token that says nothing itself counts like claims that were signed."""
    more = {"oidc_tokens": "opaque", "oidc_client_id": f"api-{method}", "oidc_client_auth_method": method}
    token = provider.token("opaque", scope="pets:write")
    async with petstore(sqlite_url, provider, **more) as client:
        created = await client.post("/pets/", json=PET, headers=bearer(token))
        caller = await client.get("/me", headers=bearer(token))
        wrong = await client.get("/me", headers=bearer(token[:-1]))

    assert (created.status_code, wrong.status_code) == (201, 401)
    assert await caller.get_json() == {"subject": "opaque", "roles": ["user"], "scopes": ["pets:write"]}


async def test_outage_of_introspection(tmp_path: Path, sqlite_url: str) -> None:
    """Without its issuer a service knows the tokens it was told of lately, and answers 503 for any other."""
    with running_provider(tmp_path) as provider:
        known, later = provider.token("opaque"), provider.token("opaque")
        async with petstore(sqlite_url, provider, oidc_tokens="opaque") as client:
            assert await is_well(client, "/me", known)
            provider.stop()
            kept = await client.get("/me", headers=bearer(known))
            unknown = await client.get("/me", headers=bearer(later))
            provider.start()
            token = provider.token("opaque")
            await until(lambda: is_well(client, "/me", token))

    assert (kept.status_code, unknown.status_code) == (200, 503)
    assert int(unknown.headers["Retry-After"]) >= 1


async def test_wrong_client_is_no_fault_of_callers(provider: Provider, sqlite_url: str) -> None:
    """Where the issuer refuses our own client, callers get 503 and not 401."""
    more = {"oidc_tokens": "opaque", "oidc_client_secret": "wrong"}
    async with petstore(sqlite_url, provider, **more) as client:
        answer = await client.get("/me", headers=bearer(provider.token("opaque")))

    assert answer.status_code == 503


async def test_withdrawal_is_seen_within_a_minute(provider: Provider) -> None:
    """A token that its issuer withdrew is good for as long as the last answer is kept, and not longer."""
    clock = time.time()
    own = OAuthClient("api-client_secret_basic", SECRET)
    client = IntrospectionClient(provider.issuer, fetcher=Fetcher(timeout=5, allow_http=True, client=own))
    issuer = TrustedIssuer(provider.issuer, (AUDIENCE,), PROFILES["generic"], client_subject=True)
    verifier = IntrospectionVerifier(issuer, client, monotonic=lambda: clock)
    token = provider.token("opaque")
    await verifier.verify(token)
    provider.revoke(token)

    assert (await verifier.verify(token)).subject == "opaque"
    clock += MAX_AGE
    with pytest.raises(InvalidToken):
        await verifier.verify(token)
    await verifier.stop()


async def test_served_petstore(tmp_path: Path) -> None:
    """The very same application, served by variables alone, trusts the issuer, outlasts it, and starts without it."""
    (tmp_path / "provider").mkdir()
    with running_provider(tmp_path / "provider") as provider:
        variables = {
            "LIGAND_DATABASE_AUTO_UPGRADE": "true",
            "LIGAND_OIDC_ISSUER": provider.issuer,
            "LIGAND_OIDC_AUDIENCE": provider.audience,
            "LIGAND_OIDC_TOKENS": "both",
            "LIGAND_OIDC_CLIENT_SUBJECT": "true",  # its opaque tokens of the client credentials grant have no `sub`
            "LIGAND_OIDC_CLIENT_ID": "api-client_secret_basic",
            "LIGAND_OIDC_CLIENT_SECRET": SECRET,
        }
        signed, opaque = provider.token(scope="pets:write"), provider.token("opaque")
        with served("examples.petstore.app:create_app()", tmp_path, variables, by_ligand=True) as address:
            statuses = [ask(address, signed), ask(address, opaque), ask(address, signed + "x"), ask(address, None)]
            created = httpx2.post(f"{address}/pets/", json=PET, headers=bearer(signed))
            provider.stop()
            outage = ask(address, signed)
        with served("examples.petstore.app:create_app()", tmp_path, variables, by_ligand=True) as address:
            closed = [ask(address, signed), ask(address, opaque), httpx2.get(f"{address}/readyz").status_code]
            provider.start()
            await until(lambda: is_well_at(f"{address}/readyz"))
            again = ask(address, signed)

    assert statuses == [200, 200, 401, 401]
    assert (created.status_code, outage) == (201, 200)
    assert closed == [503, 503, 503]
    assert again == 200


def ask(address: str, token: str | None) -> int:
    """Return how a served petstore answers somebody."""
    return httpx2.get(f"{address}/me", headers=bearer(token) if token else {}).status_code


async def is_well_at(url: str) -> bool:
    """Tell whether an address answers 200."""
    return httpx2.get(url).status_code == 200
