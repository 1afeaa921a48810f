"""Enforcement: before a handler runs, the caller is authenticated and checked, or refused with a challenge.

`WWW-Authenticate` offers the challenges of RFC 9110 section 11.6.1 and RFC 6750 section 3.
"""

import asyncio
import logging
from collections.abc import Sequence

from quart import Quart, g, request, websocket
from quart.wrappers.base import BaseRequestWebsocket

from ligand_async.auth.access import Access, access_of
from ligand_async.auth.authenticators import BearerAuthenticator
from ligand_async.auth.errors import InsufficientScope, InvalidRequest, InvalidToken, bearer_challenge
from ligand_async.context import request_state, service_of, state_of
from ligand_async.errors import Problem, ServiceUnavailable, Unauthorized
from ligand_async.principal import Principal, Requirement
from ligand_async.protocols import Authenticator, DenyList
from ligand_async.signals import access_denied, announce, authentication_failed, principal_authenticated

logger = logging.getLogger(__name__)


class Challenges:
    """The challenges of one app.

    Args:
        realm: The service's title.
        authenticators: Those of the app.
    """

    def __init__(self, realm: str, authenticators: Sequence[Authenticator]) -> None:
        self.realm = realm
        self.others = [one.challenge for one in authenticators if one.challenge is not None]
        # A 401 must have a challenge; where no scheme is known at all, it is this one.
        self.takes_tokens = not self.others or any(isinstance(one, BearerAuthenticator) for one in authenticators)

    def bearer(self, error: str | None = None, *, scope: str | None = None) -> str:
        """Return the challenge for access tokens."""
        return bearer_challenge(self.realm, error=error, scope=scope)

    def add(self, problem: Problem) -> None:
        """Add the challenges to a 401, or to the 400 of RFC 6750, unless it has its own."""
        if (problem.status != 401 and not isinstance(problem, InvalidRequest)) or "WWW-Authenticate" in problem.headers:
            return
        error = getattr(problem, "error", None)
        if self.takes_tokens or error is not None:
            problem.headers.add("WWW-Authenticate", self.bearer(error))
        for challenge in self.others:
            problem.headers.add("WWW-Authenticate", challenge)


_LEAST_PATIENCE = 10.0  # seconds, for authenticators and deny list together
_QUESTIONS = 3  # that an issuer may be asked for one token: metadata, keys, introspection
_RETRY_AFTER = "5"  # seconds


class Enforcement:
    """The authenticators of one app, and what its marks decide.

    Args:
        app: The app.
        authenticators: Asked in this order; the first that finds credentials decides who is calling.
        deny_list: Asked about every principal, on every request.
        patience: Seconds that all of them may take together.
    """

    def __init__(
        self, app: Quart, authenticators: Sequence[Authenticator], deny_list: DenyList | None, *, patience: float
    ) -> None:
        self.app = app
        self.authenticators = tuple(authenticators)
        self.deny_list = deny_list
        self.patience = patience
        self.challenges = Challenges(service_of(app).title, self.authenticators)
        self.decided: dict[tuple[str, str], Access] = {}

    async def check_request(self) -> None:
        """Authenticate the current request and let it pass, or raise.

        A routing error stays what it is, and so does the answer to OPTIONS that Quart makes.
        """
        current = request._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy
        g.principal = None
        request_state().principal = None
        rule = current.url_rule
        if current.routing_exception is None and not (
            current.method == "OPTIONS" and rule is not None and rule.provide_automatic_options
        ):
            await self.check(current.endpoint or "", current.method, current)

    async def check_websocket(self) -> None:
        """Do the same for the handshake of a websocket."""
        current = websocket._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy
        g.principal = None
        request_state().principal = None
        if current.routing_exception is None:
            await self.check(current.endpoint or "", "GET", current)

    async def check(self, endpoint: str, method: str, connection: BaseRequestWebsocket) -> None:
        """Find out who is calling and whether they may.

        Raises:
            Unauthorized: Nobody was authenticated, or the credentials are wrong.
            InsufficientScope: The principal is not who may.
            ServiceUnavailable: Nobody can tell now.
        """
        access = self.decide(endpoint, method)
        limit = asyncio.timeout(self.patience)
        try:
            async with limit:
                principal = await self.identify(connection)
        except TimeoutError as error:
            if not limit.expired():
                raise
            logger.warning("the caller could not be authenticated: no answer within %g s", self.patience)
            raise ServiceUnavailable(
                "the caller could not be authenticated in time", headers={"Retry-After": _RETRY_AFTER}
            ) from error
        except Problem as problem:
            self.complete(problem, reason=getattr(problem, "reason", "credentials"))
            raise
        if principal is not None:
            g.principal = principal
            request_state().principal = principal
            announce(principal_authenticated, self.app, principal=principal)
            requirement = access.requirement
            if requirement is not None and not requirement.is_met(principal):
                announce(access_denied, self.app, principal=principal, requirement=requirement)
                raise self.forbid(principal, requirement)
        elif not access.is_public:
            raise self.refuse()

    async def identify(self, connection: BaseRequestWebsocket) -> Principal | None:
        """Ask the authenticators, then the deny list.

        Raises:
            TypeError: One of them answered with something that is no answer; nobody is let in on that.
        """
        for authenticator in self.authenticators:
            principal = await authenticator.authenticate(connection)
            if principal is None:
                continue
            if not isinstance(principal, Principal):
                raise TypeError(f"{type(authenticator).__name__}.authenticate() returned no Principal and not None")
            if self.deny_list is not None:
                denied = await self.deny_list(principal)
                if denied is None:
                    raise TypeError("the deny list returned None; return True or False")
                if denied and isinstance(authenticator, BearerAuthenticator):
                    raise InvalidToken("denied")
                if denied:
                    raise Unauthorized("these credentials are not valid any more")
            return principal
        return None

    def decide(self, endpoint: str, method: str) -> Access:
        """Return who may call a route; routes do not change once the app serves."""
        key = (endpoint, method)
        found = self.decided.get(key)
        if found is None:
            found = self.decided[key] = access_of(self.app, endpoint, method)
        return found

    def refuse(self) -> Unauthorized:
        """Make the refusal of a request that nobody sent."""
        refusal = Unauthorized("credentials are required")
        self.complete(refusal, reason="missing")
        return refusal

    def forbid(self, principal: Principal, requirement: Requirement) -> InsufficientScope:
        """Make the refusal of a principal that is not who may."""
        missing = requirement.scopes() - principal.scopes
        scope = " ".join(sorted(requirement.scopes())) if missing else None
        refusal = InsufficientScope(f"this needs {requirement}")
        if self.challenges.takes_tokens:
            refusal.headers["WWW-Authenticate"] = self.challenges.bearer(InsufficientScope.error, scope=scope)
        return refusal

    def complete(self, problem: Problem, *, reason: str) -> None:
        """Add what a refusal must carry, challenges or when to come back, and tell of a 401."""
        if isinstance(problem, InvalidToken):
            logger.info("an access token was refused: %s", problem.reason)
        if problem.status == 503:
            problem.headers.setdefault("Retry-After", _RETRY_AFTER)
        self.challenges.add(problem)
        if problem.status == 401:
            announce(authentication_failed, self.app, reason=reason, problem=problem)


def enforcement_of(app: Quart) -> Enforcement:
    """Return the enforcement of an app.

    Raises:
        RuntimeError: The app was not made by `ligand_async.create_app`.
    """
    return service_of(app).get(Enforcement)


def is_enforced(app: Quart) -> bool:
    """Return True if an app asks its callers who they are; one that was not made by `create_app` does not."""
    return state_of(app).find(Enforcement) is not None


def add_challenges(app: Quart, problem: Problem) -> None:
    """Add to a 401 the challenges that it must carry, whoever raised it (RFC 9110 section 15.5.2)."""
    if problem.status == 401 and is_enforced(app):
        enforcement_of(app).challenges.add(problem)


def init_enforcement(
    app: Quart, authenticators: Sequence[Authenticator], *, deny_list: DenyList | None = None
) -> Enforcement:
    """Close the routes of an app to whoever their marks do not let in.

    Call it before anything else registers what runs before requests.
    """
    patience = max(_LEAST_PATIENCE, _QUESTIONS * service_of(app).settings.oidc_timeout)
    enforcement = state_of(app).put(Enforcement(app, authenticators, deny_list, patience=patience))
    app.before_request(enforcement.check_request)
    app.before_websocket(enforcement.check_websocket)
    return enforcement
