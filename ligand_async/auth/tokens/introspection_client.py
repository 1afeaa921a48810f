"""What asks an issuer about tokens, as this service's own client there (RFC 7662)."""

import logging
from typing import Any

import httpx2

from ligand_async.auth.tokens.circuit import Circuit
from ligand_async.auth.tokens.fetcher import Fetcher, FetchError
from ligand_async.auth.tokens.metadata import discover

logger = logging.getLogger(__name__)

COOL_DOWN = 1.0  # seconds in which an issuer that did not answer is left alone

# What says that the token is none that could be asked about (RFC 7009 section 2.2.1), and that we are the problem.
NO_TOKEN = frozenset({"unsupported_token_type", "invalid_token"})
NOT_US = frozenset({"invalid_client", "unauthorized_client"})


class Unanswered(Exception):
    """It is not known what the token is."""


class OutOfOrder(Unanswered):
    """Nor would it be known of any other token now."""


class IntrospectionClient:
    """The introspection endpoint of one issuer.

    An issuer that does not answer is left alone for a second; then one question tries it.

    Args:
        issuer: Its identifier.
        fetcher: What asks.
        auth: How this service shows who it is.
    """

    def __init__(self, issuer: str, *, fetcher: Fetcher, auth: httpx2.Auth) -> None:
        self.issuer = issuer
        self.fetcher = fetcher
        self.auth = auth
        self.circuit = Circuit(cool_down=COOL_DOWN)
        self.endpoint: str | None = None

    async def ask(self, token: str) -> dict[str, Any]:
        """Return what the issuer says about a token: an object whose `active` is true or false.

        Raises:
            Unanswered: It does not say.
            CircuitOpen: It is not asked now.
        """
        with self.circuit.passing(OutOfOrder):
            endpoint = await self.find_endpoint()
            form = {"token": token, "token_type_hint": "access_token"}
            try:
                status, answer = await self.fetcher.post_form(endpoint, form, auth=self.auth)
            except FetchError as error:
                raise self.failure(error.status, {}) from error
            if status == 200 and isinstance(answer.get("active"), bool):
                return answer
            if status == 400 and answer.get("error") in NO_TOKEN:
                return {"active": False}
            raise self.failure(status, answer)

    async def check(self) -> None:
        """Make sure that there is somebody to ask.

        Raises:
            Unanswered: The issuer has never said where.
            CircuitOpen: It is not asked now.
        """
        if self.endpoint is None:
            with self.circuit.passing(OutOfOrder):
                await self.find_endpoint()

    async def find_endpoint(self) -> str:
        """Return the endpoint; the issuer's metadata is read once."""
        if self.endpoint is not None:
            return self.endpoint
        try:
            metadata = await discover(self.fetcher, self.issuer)
        except FetchError as error:
            logger.warning("the issuer %s cannot be asked about tokens: %s", self.issuer, error)
            raise OutOfOrder("no metadata") from error
        if metadata.introspection_endpoint is None:
            logger.error("the issuer %s names no introspection_endpoint; set oidc_tokens to jwt", self.issuer)
            raise OutOfOrder("no endpoint")
        self.endpoint = metadata.introspection_endpoint
        return self.endpoint

    def failure(self, status: int | None, answer: dict[str, Any]) -> Unanswered:
        """Log what came instead of an answer, and tell whether it would come again."""
        if status in {401, 403} or answer.get("error") in NOT_US:
            logger.error(
                "the issuer %s refuses this service as a client with status %s; check oidc_client_id, "
                "oidc_client_secret and oidc_client_auth_method, and whether that client may introspect",
                self.issuer,
                status,
            )
            # Something before the issuer may refuse one odd token with 403, and nothing else.
            return Unanswered("refused") if status == 403 else OutOfOrder("refused")
        logger.warning("the issuer %s did not say what a token is: %s", self.issuer, status or "no answer")
        if status in {404, 410}:
            self.endpoint = None  # it may be elsewhere by now
        return OutOfOrder("no answer") if status is None or status >= 500 or status == 429 else Unanswered("odd answer")
