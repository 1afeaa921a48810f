"""What an issuer publishes about itself (OpenID Connect Discovery 1.0, RFC 8414)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ligand_async.auth.tokens.fetcher import Fetcher, FetchError


@dataclass(frozen=True, slots=True)
class Metadata:
    """An issuer's metadata, as far as it matters here.

    Attributes:
        issuer: What it calls itself.
        jwks_uri: Where its keys are.
        token_endpoint: Where clients get tokens.
        introspection_endpoint: Where it says what a token is (RFC 7662).
        authorization_endpoint: Where people sign in.
    """

    issuer: str
    jwks_uri: str | None = None
    token_endpoint: str | None = None
    introspection_endpoint: str | None = None
    authorization_endpoint: str | None = None


async def discover(fetcher: Fetcher, issuer: str) -> Metadata:
    """Find an issuer's metadata: OpenID Connect's place first, then OAuth's.

    Args:
        fetcher: What asks.
        issuer: The issuer's identifier; the document must hold the very same text.

    Raises:
        FetchError: The issuer does not answer, or neither place holds its metadata.
    """
    failures = []
    for url in metadata_urls(issuer):
        try:
            return read_metadata(await fetcher.get_json(url), issuer, url)
        except FetchError as error:
            if error.status is None:  # whoever does not answer here does not answer there
                raise
            failures.append(error)
    raise FetchError("; ".join(map(str, failures)), status=failures[-1].status)


def metadata_urls(issuer: str) -> Iterator[str]:
    """Yield where an issuer's metadata can be."""
    yield f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    url = urlsplit(issuer)
    yield f"{url.scheme}://{url.netloc}/.well-known/oauth-authorization-server{url.path.rstrip('/')}"


def read_metadata(document: dict[str, Any], issuer: str, url: str) -> Metadata:
    """Return the metadata of a document.

    Raises:
        FetchError: It is another issuer's.
    """
    if document.get("issuer") != issuer:
        raise FetchError(f"{url} is not about the issuer {issuer}", status=200)
    return Metadata(
        issuer=issuer,
        jwks_uri=text_of(document, "jwks_uri"),
        token_endpoint=text_of(document, "token_endpoint"),
        introspection_endpoint=text_of(document, "introspection_endpoint"),
        authorization_endpoint=text_of(document, "authorization_endpoint"),
    )


def text_of(document: dict[str, Any], name: str) -> str | None:
    """Return a member that is a text."""
    value = document.get(name)
    return value if isinstance(value, str) else None
