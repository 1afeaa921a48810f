"""An issuer's metadata is found where the standards put it, and is believed only if it is its own."""

import httpx2
import pytest

from ligand_async.auth import InvalidToken
from ligand_async.auth.tokens import Fetcher, FetchError, discover
from ligand_async.auth.tokens.issuer_http import Metadata, metadata_urls
from ligand_async.auth.tokens.keys import KeySource
from ligand_async.errors import ServiceUnavailable
from ligand_async.settings import DEFAULT_ALGORITHMS
from tests.auth.issuing import KEYS, METADATA, OAUTH_METADATA, Issuer, to_json
from tests.auth.verifying import Clock, fetcher, verify, verifying


async def find(url: str) -> Metadata:
    asks = fetcher()
    try:
        return await discover(asks, url)
    finally:
        await asks.close()


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        (
            "https://a",
            ["https://a/.well-known/openid-configuration", "https://a/.well-known/oauth-authorization-server"],
        ),
        (
            "https://a/realms/b",
            [
                "https://a/realms/b/.well-known/openid-configuration",
                "https://a/.well-known/oauth-authorization-server/realms/b",
            ],
        ),
        (
            "https://a/",
            ["https://a/.well-known/openid-configuration", "https://a/.well-known/oauth-authorization-server"],
        ),
        (
            "https://a:8443/b/",
            [
                "https://a:8443/b/.well-known/openid-configuration",
                "https://a:8443/.well-known/oauth-authorization-server/b",
            ],
        ),
    ],
)  # fmt: skip  (a table)
def test_places_are_those_of_the_standards(issuer: str, urls: list[str]) -> None:
    """OpenID Connect appends its path; RFC 8414 inserts its own after the host; a slash at the end is dropped."""
    assert list(metadata_urls(issuer)) == urls


@pytest.mark.parametrize("path", ["", "/", "/realms/acme", "/realms/acme/"])
async def test_metadata_is_found(path: str) -> None:
    """The endpoints are read, whether the issuer has a path or a slash at its end or not."""
    with Issuer(path) as issuer:
        found = await find(issuer.url)

        assert found.issuer == issuer.url
        assert (found.jwks_uri, found.token_endpoint) == (issuer.origin + KEYS, f"{issuer.origin}/token")
        assert (await verify(issuer.mint(), issuer)).issuer == issuer.url


async def test_oauth_metadata_is_found() -> None:
    """An issuer that speaks OAuth only is found at the place of RFC 8414."""
    with Issuer("/tenant") as issuer:
        issuer.answer("/tenant" + METADATA, status=404)

        assert (await find(issuer.url)).jwks_uri
        assert issuer.asked[OAUTH_METADATA + "/tenant"] == 1


async def test_silent_issuer_is_asked_once() -> None:
    """Where an issuer does not answer at all, the second place is not tried."""
    issuer = Issuer()
    issuer.start()
    issuer.stop()
    with pytest.raises(FetchError) as caught:
        await find(issuer.url)

    assert str(caught.value).count("no answer") == 1


@pytest.mark.parametrize("value", ["https://evil.example", None, 5, [], "{url}/", "{URL}", "{url}/{tenantid}"])
async def test_metadata_of_another_issuer_is_refused(value: object) -> None:
    """The document names the very issuer that was asked (OpenID Connect Discovery 1.0 section 4.3)."""
    with Issuer() as issuer:
        told = (
            value.replace("{url}", issuer.url).replace("{URL}", issuer.url.upper()) if isinstance(value, str) else value
        )
        for path in (METADATA, OAUTH_METADATA):
            issuer.answer(path, body=to_json(issuer.metadata() | {"issuer": told}))

        with pytest.raises(FetchError, match="not about the issuer"):
            await find(issuer.url)


async def test_members_of_another_type_are_none() -> None:
    """An endpoint that is no text is no endpoint."""
    with Issuer(token_endpoint=5, introspection_endpoint=None, jwks_uri=["x"]) as issuer:
        found = await find(issuer.url)

    assert (found.token_endpoint, found.introspection_endpoint, found.jwks_uri) == (None, None, None)


async def test_keys_that_moved_are_found() -> None:
    """After keys could not be fetched their address is asked for again."""
    clock = Clock()
    with Issuer() as issuer:
        async with verifying(issuer, clock=clock) as verifier:
            await verifier.verify(issuer.mint())
            issuer.rotate()
            issuer.members = {"jwks_uri": f"{issuer.origin}/elsewhere"}
            issuer.answer("/elsewhere", body=to_json({"keys": [issuer.keys[0].published()]}))
            issuer.answer(KEYS, status=404)
            clock.forward(31)
            with pytest.raises(InvalidToken):
                await verifier.verify(issuer.mint())
            clock.forward(31)

            assert await verifier.verify(issuer.mint())


async def test_keys_over_plain_http_are_refused() -> None:
    """The address of the keys, which the metadata gives, is https like that of the issuer."""

    class Local(httpx2.AsyncBaseTransport):
        """Answers as if over TLS."""

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            asked.append(str(request.url))
            return httpx2.Response(200, json={"issuer": "https://id.example", "jwks_uri": "http://id.example/keys"})

    asked: list[str] = []
    strict = Fetcher(timeout=1, allow_http=False, transport=Local())
    source = KeySource("https://id.example", fetcher=strict, algorithms=DEFAULT_ALGORITHMS)
    with pytest.raises(FetchError, match="not https"):
        await source()

    assert asked == ["https://id.example/.well-known/openid-configuration"]


async def test_metadata_is_read_again_after_an_hour() -> None:
    """Keys that moved while the old address still answers are found within the hour."""
    clock = Clock()
    with Issuer() as issuer:
        async with verifying(issuer, clock=clock) as verifier:
            await verifier.verify(issuer.mint())
            old = to_json({"keys": [issuer.keys[0].published()]})
            issuer.rotate()
            issuer.members = {"jwks_uri": f"{issuer.origin}/elsewhere"}
            issuer.answer("/elsewhere", body=to_json({"keys": [issuer.keys[0].published()]}))
            issuer.answer(KEYS, body=old)
            clock.forward(3601)

            assert await verifier.verify(issuer.mint(iat=clock.now, exp=clock.now + 60))


async def test_metadata_without_keys_is_a_failure() -> None:
    """An issuer that names no keys is one whose tokens cannot be verified now."""
    with Issuer(jwks_uri=None) as issuer:
        async with verifying(issuer) as verifier:
            with pytest.raises(ServiceUnavailable):
                await verifier.verify(issuer.mint())
