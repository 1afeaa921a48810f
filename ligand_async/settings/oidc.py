"""The settings about callers: whose access tokens are trusted, and what they must say."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from ligand_async.settings.service import ServiceSettings
from ligand_async.settings.urls import ServiceURL

Profile = Literal["generic", "keycloak", "auth0", "entra", "cognito", "okta"]
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448"
]  # asymmetric ones only (RFC 8725 section 3.1): with HS256 whoever can verify a token can make one
DEFAULT_ALGORITHMS: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")


def check_issuers(value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what cannot be the issuer of tokens; each stays as it is written, because `iss` is compared exactly."""
    if all(map(is_issuer, value)) and len(set(value)) == len(value):
        return value
    raise PydanticCustomError(
        "ligand_issuers", "write each issuer as it calls itself in `iss`: https://host/path, no query or fragment"
    )


def is_issuer(text: str) -> bool:
    """Tell whether a text is the identifier of an issuer (OpenID Connect Discovery 1.0 section 3, RFC 8414)."""
    try:
        url = urlsplit(text)
        whole = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0 and url.username is None
    except ValueError:
        return False
    return whole and text.isprintable() and text.isascii() and not any(mark in text for mark in "?# ")


def check_words(value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse names that no token could carry."""
    if all(word and not any(character.isspace() for character in word) for word in value):
        return value
    raise PydanticCustomError("ligand_words", "write names without spaces, separated by commas")


def take_one(value: object) -> object:
    """Take one text for a list of one; variables are split before."""
    return (value,) if isinstance(value, str) else value


Issuers = Annotated[tuple[str, ...], BeforeValidator(take_one), AfterValidator(check_issuers)]
Words = Annotated[tuple[str, ...], BeforeValidator(take_one), AfterValidator(check_words)]


class OIDCSettings(ServiceSettings):
    """What `Settings` says about callers."""

    oidc_issuer: Issuers = Field(
        default=(), description="The issuers whose access tokens are trusted, each as its tokens' `iss` has it."
    )
    oidc_audience: Words = Field(
        default=(), description="What this service is called in `aud`; a token must name one of them."
    )
    oidc_profile: Profile = Field(
        default="generic", description="Where the issuer's tokens say roles and scopes, and how they look."
    )
    oidc_roles_claim: str | None = Field(
        default=None, description="The claim with the roles, where the profile's is not it; a dot leads into an object."
    )
    oidc_scopes_claim: str | None = Field(
        default=None, description="The claim with the scopes, where the profile's is not it."
    )
    oidc_algorithms: tuple[Algorithm, ...] = Field(
        default=DEFAULT_ALGORITHMS, min_length=1, description="The signature algorithms that are accepted."
    )
    oidc_leeway: float = Field(
        default=30.0, ge=0, le=300, description="Seconds by which an issuer's clock may differ from ours."
    )
    oidc_timeout: float = Field(default=5.0, gt=0, le=60, description="Seconds to wait for an issuer's answer.")
    oidc_tokens: Literal["jwt", "opaque", "both"] = Field(
        default="jwt",
        description="What tokens are: `jwt`, verified here; `opaque`, which the issuer is asked about; or `both`.",
    )
    oidc_client_id: str | None = Field(
        default=None, description="This service's own client at the issuer, for introspection and calls to others."
    )
    oidc_client_secret: SecretStr | None = Field(default=None, description="That client's secret.")
    oidc_client_auth_method: Literal["client_secret_basic", "client_secret_post"] = Field(
        default="client_secret_basic", description="How that client shows its secret (RFC 6749 section 2.3.1)."
    )
    oauth_authorization_url: ServiceURL | None = Field(
        default=None, description="Where people sign in, for the documentation; by default the issuer's metadata says."
    )
    oauth_token_url: ServiceURL | None = Field(
        default=None, description="Where codes become tokens, for the documentation; by default as above."
    )
    oauth_docs_client_id: str | None = Field(
        default=None, description="The public client that the docs page signs in as, with PKCE."
    )
    docs_role: str | None = Field(
        default=None, description="The role that may read the OpenAPI document and the docs page; none: anyone."
    )
    allowed_roles: Words = Field(
        default=(), description="The roles that exist; a route that requires another one is a mistake. None: any."
    )
