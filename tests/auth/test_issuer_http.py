"""Requests to an issuer: its metadata, its tokens, and what it answers about tokens."""

import functools
import gzip

import pytest

from ligand_async.auth.tokens import Fetcher, FetchError, OAuthClient, discover
from ligand_async.auth.tokens.issuer_http import MAX_BYTES, Metadata, metadata_urls
from ligand_async.errors import ServiceUnavailable
from tests.auth.issuing import KEYS, METADATA, OAUTH_METADATA, Answer, Asked, Issuer, to_json
from tests.auth.verifying import fetcher, verify, verifying


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

    assert str(caught.value).count("did not answer") == 1


@pytest.mark.parametrize("value", ["https://evil.example", None, 5, [], "{url}/", "{URL}", "{url}/{tenantid}"])
async def test_metadata_of_another_issuer_is_refused(value: object) -> None:
    """The document names the very issuer that was asked (OpenID Connect Discovery 1.0 section 4.3)."""
    with Issuer() as issuer:
        told = (
            value.replace("{url}", issuer.url).replace("{URL}", issuer.url.upper()) if isinstance(value, str) else value
        )
        for path in (METADATA, OAUTH_METADATA):
            issuer.answer(path, body=to_json(issuer.metadata() | {"issuer": told}))

        with pytest.raises(FetchError, match="is not the metadata of the issuer"):
            await find(issuer.url)


async def test_members_of_another_type_are_none() -> None:
    """An endpoint that is no text is no endpoint."""
    with Issuer(token_endpoint=5, introspection_endpoint=None, jwks_uri=["x"]) as issuer:
        found = await find(issuer.url)

    assert (found.token_endpoint, found.introspection_endpoint, found.jwks_uri) == (None, None, None)


async def test_metadata_without_keys_is_a_failure() -> None:
    """An issuer that names no keys is one whose tokens cannot be verified now."""
    with Issuer(jwks_uri=None) as issuer:
        async with verifying(issuer) as verifier:
            with pytest.raises(ServiceUnavailable):
                await verifier.verify(issuer.mint())


async def test_form_is_posted() -> None:
    """A form arrives as one, with credentials, and the answer comes back with its status."""
    asked: list[Asked] = []

    def answer(request: Asked) -> Answer:
        asked.append(request)
        return Answer(400, b'{"error": "invalid_grant"}')

    with Issuer() as issuer:
        issuer.answers["/introspect"] = answer
        asks = fetcher(client=OAuthClient("me", "s"))
        found = await asks.introspect_token(f"{issuer.origin}/introspect", "b c")
        await asks.close()

    assert found == (400, {"error": "invalid_grant"})
    assert (asked[0].method, asked[0].body) == ("POST", b"token=b+c&token_type_hint=access_token")
    assert asked[0].headers["Authorization"].startswith("Basic ")
    assert asked[0].headers["Accept-Encoding"] == "identity"


async def test_form_is_not_sent_on() -> None:
    """A redirect of a form is not followed: it holds secrets."""
    with Issuer() as issuer:
        issuer.answer("/token", status=307, headers={"Location": "/keys"})
        asks = fetcher(client=OAuthClient("me", "s"))
        with pytest.raises(FetchError):
            await asks.introspect_token(f"{issuer.origin}/token", "secret")
        with pytest.raises(FetchError):
            await asks.fetch_token(f"{issuer.origin}/token")
        await asks.close()

        assert not issuer.asked[KEYS]


@pytest.mark.parametrize("name", ["fetch_token", "introspect_token"])
async def test_answers_to_forms_are_bounded(name: str) -> None:
    """What Authlib's client reads has the same limits: size, coding, time, and https."""
    with Issuer() as issuer:
        url = f"{issuer.origin}/form"
        values = () if name == "fetch_token" else ("opaque",)
        for answer, expected in (
            (Answer(body=b" " * (MAX_BYTES * 20) + b"{}"), f"more than {MAX_BYTES}"),
            (Answer(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"}), "coding"),
            (Answer(body=b"[" * 100_000), "a JSON object"),
            (Answer(never=True), "TimeoutError"),
        ):
            issuer.answers["/form"] = functools.partial(lambda answer, _: answer, answer)
            asks = fetcher(0.3, client=OAuthClient("me", "s"))
            with pytest.raises(FetchError, match=expected):
                await getattr(asks, name)(url, *values)
            await asks.close()

        asked = issuer.asked.total()
        asks = Fetcher(timeout=1, allow_http=False, client=OAuthClient("me", "s"))
        with pytest.raises(FetchError, match="not https"):
            await getattr(asks, name)(url, *values)
        assert issuer.asked.total() == asked


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b'{"access_token": "a", "token_type": "Bearer"}'),
        (401, b'{"access_token": "a", "token_type": "Bearer"}'),
        (201, b'{"access_token": "a", "token_type": "Bearer"}'),
        (200, b'{"access_token": "a", "token_type": "Bearer", "error": "invalid_scope"}'),
        (200, b'{"access_token": "a", "token_type": "Bearer", "expires_in": NaN}'),
    ],
)
async def test_only_a_success_is_a_token(status: int, body: bytes) -> None:
    """A token counts only in an answer with status 200 that is JSON and not an error (RFC 6749 section 5.1)."""
    with Issuer() as issuer:
        issuer.answer("/token", status=status, body=body)
        asks = fetcher(client=OAuthClient("me", "s"))
        with pytest.raises(FetchError) as caught:
            await asks.fetch_token(f"{issuer.origin}/token")
        await asks.close()

    assert caught.value.status == status
