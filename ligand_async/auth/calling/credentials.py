"""As whom this service calls another: with credentials of its own, or with its caller's token."""

from dataclasses import KW_ONLY, dataclass, field
from typing import Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from ligand_async.auth.tokens.client_auth import AuthMethod
from ligand_async.settings import Settings, SettingsError
from ligand_async.settings.fields import is_issuer

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class ForwardToken:
    """Call with the access token of the request being served.

    The other service sees the caller itself, and its token must name that service in `aud`, too. Only a token that was
    verified here is passed on.
    """


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """Call with an access token of this service's own, by the client credentials grant (RFC 6749 section 4.4).

    Args:
        client_id: This service's client at the issuer.
        client_secret: Its secret, of printable ASCII.
        issuer: Whose metadata names the token endpoint; give this or `token_url`.
        token_url: The token endpoint itself.
        scope: The scopes to ask for, separated by spaces; none asks for the client's default.
        audience: The service that is called, for issuers that want to be told.
        auth_method: How the client shows its secret (RFC 6749 section 2.3.1).
        allow_http: Whether the issuer may be asked without TLS; one on this machine always may.

    Raises:
        ValueError: Something is missing, or cannot be what it is said to be.
    """

    client_id: str
    client_secret: SecretStr | str = field(repr=False)
    _: KW_ONLY
    issuer: str | None = None
    token_url: str | None = None
    scope: str = ""
    audience: str | None = None
    auth_method: AuthMethod = "client_secret_basic"
    allow_http: bool = False

    def __post_init__(self) -> None:
        if (self.issuer is None) == (self.token_url is None):
            raise ValueError("ClientCredentials: name either the issuer or its token_url")
        url = self.issuer or self.token_url or ""
        name = "token_url" if self.issuer is None else "issuer"
        if not is_issuer(url):
            raise ValueError(f"ClientCredentials: {name} must be https://host/path, with no user, query or fragment")
        if not self.may_be_plain and urlsplit(url).scheme != "https":
            raise ValueError(f"ClientCredentials: {name} is plain http, which shows the secret to others; use https")
        if not is_plain(self.client_id) or not is_plain(self.secret):
            raise ValueError("ClientCredentials: client_id and client_secret must be printable ASCII, and not empty")

    @property
    def secret(self) -> str:
        """The secret itself."""
        return self.client_secret if isinstance(self.client_secret, str) else self.client_secret.get_secret_value()

    @property
    def may_be_plain(self) -> bool:
        """Whether the issuer may be asked over http."""
        return self.allow_http or urlsplit(self.issuer or self.token_url or "").hostname in LOOPBACK

    @classmethod
    def from_settings(cls, settings: Settings, *, scope: str = "", audience: str | None = None) -> Self:
        """Make those of the settings: the first `oidc_issuer`, `oidc_client_id`, `oidc_client_secret`.

        Args:
            settings: As `Settings.load()` returns them.
            scope: The scopes to ask for, separated by spaces.
            audience: The service that is called, for issuers that want to be told.

        Raises:
            SettingsError: One of them is not set.
        """
        client_id, secret = settings.oidc_client_id, settings.oidc_client_secret
        if not settings.oidc_issuer or client_id is None or secret is None:
            raise SettingsError(
                "calls to other services need oidc_issuer, oidc_client_id and oidc_client_secret; set all three"
            )
        return cls(
            client_id,
            secret,
            issuer=settings.oidc_issuer[0],
            scope=scope,
            audience=audience,
            auth_method=settings.oidc_client_auth_method,
            allow_http=settings.environment in {"local", "testing"},
        )


def is_plain(text: str) -> bool:
    """Tell whether a text is printable ASCII."""
    return bool(text) and text.isascii() and text.isprintable()
