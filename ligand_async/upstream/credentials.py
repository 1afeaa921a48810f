"""Credentials for another service: the service's own access token, or the caller's token forwarded."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from pydantic import SecretStr
from quart import has_app_context, has_request_context, has_websocket_context

from ligand_async.auth import current_caller_token
from ligand_async.auth.tokens import AuthMethod, Fetcher, FetchError, OAuthClient, discover
from ligand_async.context import find_service
from ligand_async.errors import BadGateway, Problem, Unauthorized
from ligand_async.paths import is_loopback
from ligand_async.settings import Settings, SettingsError, is_issuer, metadata_path_of
from ligand_async.tasks import Cooldown, SingleFlight, this_app
from ligand_async.upstream.failures import RETRY_AFTER, unavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ForwardToken:
    """Call with the access token of the request being served.

    The other service sees the caller itself, so the token must also name that service in `aud`. Only a token that was
    verified here is forwarded. In `prod` it is sent by https only, or to a proxy on this machine.
    """


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """Call with an access token of this service's own, by the client credentials grant (RFC 6749 section 4.4).

    Args:
        client_id: This service's client at the issuer.
        client_secret: Its secret, of printable ASCII.
        issuer: The issuer, whose metadata has the token endpoint; give this or `token_url`.
        private_url: The address at which this service reaches the issuer, if that is not its identifier.
        token_url: The token endpoint itself.
        scope: The scopes to ask for, separated by spaces; if empty, the client's default.
        audience: The service that is called, for issuers that need it.
        auth_method: How the client sends its secret (RFC 6749 section 2.3.1).
        allow_http: Whether plain http is allowed; for an issuer on this machine it always is.

    Raises:
        ValueError: An argument is missing or not valid.
    """

    client_id: str
    client_secret: SecretStr | str = field(repr=False)
    _: KW_ONLY
    issuer: str | None = None
    private_url: str | None = None
    token_url: str | None = None
    scope: str = ""
    audience: str | None = None
    auth_method: AuthMethod = "client_secret_basic"
    allow_http: bool = False

    def __post_init__(self) -> None:
        if (self.issuer is None) == (self.token_url is None):
            raise ValueError("ClientCredentials: give either issuer or token_url")
        if self.private_url is not None and self.issuer is None:
            raise ValueError("ClientCredentials: private_url is the issuer's; give issuer, too, or only token_url")
        for name in ("issuer", "private_url", "token_url"):
            url: str | None = getattr(self, name)
            if url is None:
                continue
            if surplus := metadata_path_of(url):
                raise ValueError(f"ClientCredentials: {name} is not the address of the metadata; leave out {surplus}")
            if not is_issuer(url):
                raise ValueError(
                    f"ClientCredentials: {name} must be https://host/path, with no user, query or fragment"
                )
            if url == self._called and not self.may_be_plain and urlsplit(url).scheme != "https":
                raise ValueError(f"ClientCredentials: {name} is plain http, which exposes the secret; use https")
        if not _is_plain(self.client_id) or not _is_plain(self.secret):
            raise ValueError("ClientCredentials: client_id and client_secret must be printable ASCII, and not empty")

    @property
    def secret(self) -> str:
        """The secret as a string."""
        return self.client_secret if isinstance(self.client_secret, str) else self.client_secret.get_secret_value()

    @property
    def may_be_plain(self) -> bool:
        """Whether plain http is allowed."""
        return self.allow_http or is_loopback(urlsplit(self._called).netloc)

    @property
    def _called(self) -> str:
        return self.private_url or self.issuer or self.token_url or ""

    @classmethod
    def from_settings(cls, settings: Settings, *, scope: str = "", audience: str | None = None) -> Self:
        """Make credentials from the first `oidc_issuer`, `oidc_client_id` and `oidc_client_secret`.

        Args:
            settings: The settings.
            scope: The scopes to ask for, separated by spaces.
            audience: The service that is called, for issuers that need it.

        Raises:
            SettingsError: One of them is not set.
        """
        client_id, secret = settings.oidc_client_id, settings.oidc_client_secret
        if not settings.oidc_issuer or client_id is None or secret is None:
            raise SettingsError(
                "calls to other services need oidc_issuer, oidc_client_id and oidc_client_secret; set all three"
            )
        first = settings.oidc_issuer[0]
        return cls(
            client_id,
            secret,
            issuer=first,
            private_url=settings.issuer_options(first).private_url or settings.oidc_private_url,
            scope=scope,
            audience=audience,
            auth_method=settings.oidc_client_auth_method,
            allow_http=settings.environment in {"local", "testing"},
        )


def _is_plain(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable()


_LEEWAY = 30.0  # seconds before its end in which a token is renewed
_MARGIN = 5.0  # seconds before its end in which a token is no longer used
_COOL_DOWN = 1.0  # seconds after a failure in which the issuer is not asked
_REFUSED_COOL_DOWN = 10.0  # seconds after a token was rejected in which no other is fetched for that reason


@dataclass(frozen=True, slots=True)
class _IssuedToken:
    """A token with its times, by the clock of `ClientToken`.

    Attributes:
        value: The token itself.
        renew_at: The time from which another is fetched, while this one is still used.
        use_until: The time from which it is no longer used.
    """

    value: str = field(repr=False)
    renew_at: float
    use_until: float


class ClientToken:
    """The access token of this service, fetched with its credentials and renewed in time.

    Args:
        credentials: The credentials.
        fetcher: Sends the requests to the issuer, as a client of it.
        clock: Seconds that never go back.
    """

    def __init__(
        self, credentials: ClientCredentials, *, fetcher: Fetcher, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.credentials = credentials
        self._fetcher = fetcher
        self._clock = clock
        self._token: _IssuedToken | None = None
        self._flight: SingleFlight[_IssuedToken] = SingleFlight()
        self._problem: Problem | None = None  # of the last fetch, if it failed
        self._failed = Cooldown(clock=clock)
        self._refused = Cooldown(clock=clock)

    async def get(self) -> str:
        """Return a token that is valid for the next few seconds.

        Raises:
            BadGateway: The issuer rejects these credentials, or its answer is not a token.
            ServiceUnavailable: The issuer does not answer.
        """
        token, now = self._token, self._clock()
        if token is not None and now < token.renew_at:
            return token.value
        if token is None or now >= token.use_until:
            return (await self._fetched()).value
        if not self._failed.seconds_left:
            self._flight.begin(None, self._fetch)  # and nobody waits for it
        return token.value

    async def renew(self, refused: str) -> str | None:
        """Return another token than one that was rejected, or None if one was renewed for this reason a moment ago.

        Args:
            refused: The rejected token.

        Raises:
            Problem: As `get` does.
        """
        if self._token is not None and self._token.value != refused:
            return self._token.value
        if self._refused.seconds_left and not self._flight.tasks:
            return None
        self._refused.begin(_REFUSED_COOL_DOWN)
        self._token = None
        return (await self._fetched()).value

    async def close(self) -> None:
        """Stop a fetch under way, and close the connections."""
        await self._flight.stop()
        await self._fetcher.close()

    async def _fetched(self) -> _IssuedToken:
        """Wait for a fetch, which may be under way already."""
        if self._problem is not None and self._failed.seconds_left and not self._flight.tasks:
            raise _copy_of(self._problem)
        try:
            return await self._flight.share(None, self._fetch)
        except Problem as problem:
            raise _copy_of(problem) from problem

    async def _fetch(self) -> _IssuedToken:
        try:
            self._token = await self._ask()
        except Problem as problem:
            self._problem = problem
            self._failed.begin(_COOL_DOWN)
            raise
        self._failed.end()
        return self._token

    async def _ask(self) -> _IssuedToken:
        asked_at = self._clock()
        one = self.credentials
        try:
            url = one.token_url or await self._find_endpoint()
            answer = await self._fetcher.fetch_token(url, scope=one.scope, audience=one.audience)
        except FetchError as error:
            raise self._failure(error.status, str(error)) from error
        token = _read_token(answer, asked_at)
        if token is None:
            raise self._failure(200, "it answered 200 without a bearer token")
        return token

    def _failure(self, status: int | None, reason: str) -> Problem:
        """Return the problem for a failed fetch, and log it once for all who wait."""
        logger.warning("no token for client %s to call other services: %s", self.credentials.client_id, reason)
        if status is None or status == 429 or status >= 500:
            return unavailable("a service behind this one is not available now", RETRY_AFTER)
        return BadGateway("a service behind this one rejects the credentials of this service")

    async def _find_endpoint(self) -> str:
        """Return the token endpoint in the issuer's metadata."""
        found = await discover(self._fetcher, self.credentials.issuer or "", self.credentials.private_url)
        if found.token_endpoint is None:
            raise FetchError("the issuer's metadata has no token_endpoint")
        return found.token_endpoint


def _read_token(answer: Mapping[str, Any], asked_at: float) -> _IssuedToken | None:
    """Read a token response (RFC 6749 section 5.1); return None if it is not a bearer token.

    Args:
        answer: The JSON object.
        asked_at: The time of the request, before which the token was not issued.
    """
    value, kind = answer.get("access_token"), answer.get("token_type")
    if not (isinstance(value, str) and _is_plain(value) and " " not in value):
        return None
    if not (isinstance(kind, str) and kind.lower() == "bearer"):
        return None
    lifetime = float(answer["expires_in"])
    return _IssuedToken(
        value,
        renew_at=asked_at + lifetime - min(_LEEWAY, lifetime / 2),
        use_until=asked_at + lifetime - min(_MARGIN, lifetime / 4),
    )


def _copy_of(problem: Problem) -> Problem:
    """Copy a problem, so that callers do not share its headers and its traceback."""
    return type(problem)(problem.detail, headers=dict(problem.headers))


_ISSUER_TIMEOUT = 5.0  # seconds


class OutgoingToken(Protocol):
    """The source of the token that calls carry."""

    async def get(self) -> str | None:
        """Return the token, or None for a call that carries none."""
        ...

    async def renew(self, refused: str) -> str | None:
        """Return another token than the rejected one, or None if there is no other."""
        ...

    async def close(self) -> None:
        """Stop requests for tokens."""
        ...


class _NoToken:
    """Calls carry no token."""

    async def get(self) -> str | None:
        """Return nothing."""
        return None

    async def renew(self, refused: str) -> str | None:  # noqa: ARG002  (the protocol's signature)
        """Return None: there is no other."""
        return None

    async def close(self) -> None:
        """Do nothing."""


class _ForwardedToken(_NoToken):
    """Calls carry the token of the request being served.

    Args:
        base_url: Where the token is sent.
    """

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._is_plain = parts.scheme != "https" and not is_loopback(parts.netloc)
        if has_app_context():  # made by a factory of the app, as it starts
            self._check_is_safe()

    def _check_is_safe(self) -> None:
        if self._is_plain and (service := find_service(this_app())) and service.settings.environment == "prod":
            raise RuntimeError(
                "ForwardToken: in prod a caller's token is sent by https only; write base_url as https://…"
            )

    async def get(self) -> str:
        """Return the caller's token.

        Raises:
            Unauthorized: The caller sent no token, or was authenticated in another way.
            RuntimeError: No request is being served, or the address is plain http in `prod`.
        """
        token = current_caller_token()
        if token is not None:
            self._check_is_safe()
            return token
        if not (has_request_context() or has_websocket_context()):
            raise RuntimeError("ForwardToken: no request is being served, so there is no token; use ClientCredentials")
        raise Unauthorized("an access token is required")


def outgoing_token_of(credentials: ClientCredentials | ForwardToken | None, base_url: str) -> OutgoingToken:
    """Return the source of the tokens for some credentials.

    Args:
        credentials: The credentials, or None.
        base_url: The address that is called with them.

    Raises:
        RuntimeError: A caller's token would be sent without TLS in `prod`.
    """
    match credentials:
        case ClientCredentials():
            client = OAuthClient(credentials.client_id, credentials.secret, credentials.auth_method)
            fetcher = Fetcher(timeout=_ISSUER_TIMEOUT, allow_http=credentials.may_be_plain, client=client)
            return ClientToken(credentials, fetcher=fetcher)
        case ForwardToken():
            return _ForwardedToken(base_url)
        case None:
            return _NoToken()
