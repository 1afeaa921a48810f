"""Enforcement: before a handler runs, the caller is authenticated and checked, or refused with a challenge.

`WWW-Authenticate` offers the challenges of RFC 9110 section 11.6.1 and RFC 6750 section 3.
"""

import logging
from collections.abc import Sequence

from quart import Quart, g, request, websocket
from quart.wrappers.base import BaseRequestWebsocket

from ligand_async.auth.access import Access, access_of
from ligand_async.auth.authenticators import BearerAuthenticator, TokenAuthenticator
from ligand_async.auth.errors import InsufficientScope, InvalidRequest, InvalidToken, bearer_challenge
from ligand_async.auth.failures import FailureLimits
from ligand_async.auth.tokens.verifier import JWKSVerifier
from ligand_async.context import request_state, service_of, state_of
from ligand_async.errors import Problem, ServiceUnavailable, TooManyRequests, Unauthorized
from ligand_async.principal import Principal, Requirement, meets
from ligand_async.protocols import Authenticator, DenyList
from ligand_async.settings import Quota, read_quotas
from ligand_async.signals import access_denied, announce, authentication_failed, principal_authenticated
from ligand_async.tasks import TimeLimit

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
        # A 401 must have a challenge; in an app without any scheme it is this one.
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
_QUESTIONS = 3  # requests to an issuer that one token may need: metadata, keys, introspection
_RETRY_AFTER = "5"  # seconds


class Enforcement:
    """Authenticates the callers of one app, and decides whether they may call its routes.

    Args:
        app: The app.
        authenticators: The first that finds credentials in a request decides who the caller is.
        deny_list: Called for every principal, on every request.
        patience: Seconds that all of them may take together.
        failures: Counts failed attempts and refusals.
    """

    def __init__(
        self,
        app: Quart,
        authenticators: Sequence[Authenticator],
        deny_list: DenyList | None,
        *,
        patience: float,
        failures: FailureLimits,
    ) -> None:
        self.app = app
        self.authenticators = tuple(authenticators)
        self.deny_list = deny_list
        self.patience = patience
        self.failures = failures
        self.challenges = Challenges(service_of(app).title, self.authenticators)
        self.decided: dict[tuple[str, str], Access] = {}

    async def check_request(self) -> None:
        """Authenticate the current request, and raise if the caller may not call the route.

        Routing errors and the automatic answer to OPTIONS are left alone.
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
        """Check the handshake of a websocket in the same way."""
        current = websocket._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy
        g.principal = None
        request_state().principal = None
        if current.routing_exception is None:
            await self.check(current.endpoint or "", "GET", current)

    async def check(self, endpoint: str, method: str, connection: BaseRequestWebsocket) -> None:
        """Authenticate the caller, and check the access of the route.

        Raises:
            Unauthorized: There are no credentials, or they are wrong.
            InsufficientScope: The principal does not meet the requirement.
            ServiceUnavailable: The caller cannot be authenticated now.
        """
        access = self.decide(endpoint, method)
        state = request_state()
        state.forbid = self.forbid
        limit = TimeLimit.after(self.patience)
        succeeded: bool | None = None
        try:
            async with limit:
                principal = await self.identify(connection)
            succeeded = True
        except TimeoutError as error:
            if not limit.is_expired:
                raise
            logger.warning("the caller could not be authenticated: no answer within %g s", self.patience)
            raise ServiceUnavailable(
                "the caller could not be authenticated in time", headers={"Retry-After": _RETRY_AFTER}
            ) from error
        except Problem as problem:
            succeeded = False if problem.status == 401 else None
            self.complete(problem, reason=getattr(problem, "reason", "credentials"))
            raise
        finally:
            if state.attempt is not None:
                self.failures.end(state.attempt, succeeded=succeeded)
                state.attempt = None
        if principal is not None:
            g.principal = principal
            state.principal = principal
            announce(principal_authenticated, self.app, principal=principal)
            requirement = access.requirement
            if requirement is not None and not meets(principal, requirement):
                raise self.forbid(principal, requirement)
        elif not access.is_public:
            raise self.refuse()
        state.decided = access.marks

    async def identify(self, connection: BaseRequestWebsocket) -> Principal | None:
        """Call the authenticators, then the deny list.

        Raises:
            TypeError: One of them returned a value of the wrong type, which lets nobody in.
        """
        for authenticator in self.authenticators:
            principal = await authenticator.authenticate(connection)
            if principal is None:
                continue
            if not isinstance(principal, Principal):
                raise TypeError(f"{type(authenticator).__name__}.authenticate() must return a Principal or None")
            if self.deny_list is not None:
                denied = await self.deny_list(principal)
                if denied is not True and denied is not False:
                    raise TypeError(f"the deny list must return True or False, not {type(denied).__name__}")
                if denied and isinstance(authenticator, TokenAuthenticator):
                    raise authenticator.refusal("denied")
                if denied:
                    raise Unauthorized("these credentials are no longer valid")
            return principal
        return None

    def decide(self, endpoint: str, method: str) -> Access:
        """Return the access of a route. It is decided once, as routes do not change once the app serves."""
        key = (endpoint, method)
        found = self.decided.get(key)
        if found is None:
            found = self.decided[key] = access_of(self.app, endpoint, method)
        return found

    def refuse(self) -> Unauthorized:
        """Return the problem for a request without credentials."""
        refusal = Unauthorized("credentials are required")
        self.complete(refusal, reason="missing")
        return refusal

    def forbid(self, principal: Principal, requirement: Requirement) -> InsufficientScope | TooManyRequests:
        """Announce that a principal does not meet a requirement, and return the problem: a 429 if it was too often."""
        announce(access_denied, self.app, principal=principal, requirement=requirement)
        too_often = self.failures.count_refusal(principal)
        if too_often is not None:
            return too_often
        missing = requirement.scopes() - principal.scopes
        scope = " ".join(sorted(requirement.scopes())) if missing else None
        refusal = InsufficientScope(f"this needs {requirement}")
        if self.challenges.takes_tokens:
            refusal.headers["WWW-Authenticate"] = self.challenges.bearer(InsufficientScope.error, scope=scope)
        return refusal

    def complete(self, problem: Problem, *, reason: str) -> None:
        """Add the headers that a refusal needs, `WWW-Authenticate` or `Retry-After`, and announce a 401."""
        if isinstance(problem, InvalidToken):
            logger.info("access token rejected: %s", problem.reason)
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


def counts_failures(app: Quart, access: Access) -> bool:
    """Return whether a route that is not public can answer 429 to callers who fail too often.

    Signed tokens are not counted, as they cannot be guessed; other credentials are, and so are refusals (403).
    """
    enforcement, settings = enforcement_of(app), service_of(app).settings
    only_signed = all(
        isinstance(one, TokenAuthenticator) and isinstance(one.verifier, JWKSVerifier)
        for one in enforcement.authenticators
    )
    counts_refusals = settings.refused_requests is not None and access.requirement is not None
    return counts_refusals or (settings.failed_attempts is not None and not only_signed)


def add_challenges(app: Quart, problem: Problem) -> None:
    """Add the challenges that every 401 must have (RFC 9110 section 15.5.2)."""
    if problem.status == 401 and is_enforced(app):
        enforcement_of(app).challenges.add(problem)


def init_enforcement(
    app: Quart, authenticators: Sequence[Authenticator], *, deny_list: DenyList | None = None
) -> Enforcement:
    """Make the enforcement of an app. The app calls it before anything else of the service runs."""
    settings = service_of(app).settings
    patience = max(_LEAST_PATIENCE, _QUESTIONS * settings.oidc_timeout)
    failures = state_of(app).put(FailureLimits(_quotas(settings.failed_attempts), _quotas(settings.refused_requests)))
    return state_of(app).put(Enforcement(app, authenticators, deny_list, patience=patience, failures=failures))


def _quotas(text: str | None) -> tuple[Quota, ...]:
    return () if text is None else read_quotas(text)
