"""Failures of another service, as problems for our own callers that do not repeat its text."""

import math
from datetime import UTC, datetime

import httpx2
from werkzeug.http import parse_date

from ligand_async.auth import UnusableExchange, reason_of
from ligand_async.errors import BadGateway, GatewayTimeout, Problem, ServiceUnavailable

RETRY_AFTER = 5  # seconds, if the other service does not send one
_LONGEST_RETRY_AFTER = 86_400
_TRY_AGAIN = frozenset({502, 503, 504})


class UpstreamFailed(Exception):
    """One attempt failed.

    Args:
        problem: The problem for our caller.
        reason: For the log: a status or the name of an error, never what was sent or received.
        may_pass: Whether another attempt may succeed.
        retry_after: The seconds of `Retry-After`.
    """

    def __init__(
        self, problem: Problem, reason: str, *, may_pass: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(reason)
        self.problem = problem
        self.reason = reason
        self.may_pass = may_pass
        self.retry_after = retry_after


def failure_of_error(error: httpx2.HTTPError) -> UpstreamFailed:
    """Return the failure for an error of the connection."""
    name = reason_of(error)
    match error:
        case UnusableExchange():
            return UpstreamFailed(bad_answer(), f"it {error}")
        case httpx2.PoolTimeout():
            problem: Problem = unavailable("too many calls to a service behind this one are under way", RETRY_AFTER)
            return UpstreamFailed(problem, name)
        case httpx2.ConnectTimeout():
            return UpstreamFailed(GatewayTimeout("a service behind this one is not reachable"), name, may_pass=True)
        case httpx2.TimeoutException():
            return UpstreamFailed(too_late(), name)
        case httpx2.ConnectError():
            return UpstreamFailed(BadGateway("a service behind this one is not reachable"), name, may_pass=True)
        case httpx2.TransportError():
            return UpstreamFailed(bad_answer(), name, may_pass=True)
        case _:
            return UpstreamFailed(bad_answer(), name)


def failure_of_answer(response: httpx2.Response) -> UpstreamFailed | None:
    """Return the failure for a response that is not our caller's fault; None for one that the handler reads."""
    status = response.status_code
    reason = f"it answered {status}"
    match status:
        case 401 | 403:
            return UpstreamFailed(
                BadGateway("a service behind this one rejects the credentials of this service"), reason
            )
        case 429 | 503:
            seconds = _retry_after_of(response)
            problem = unavailable(
                "a service behind this one cannot answer now", RETRY_AFTER if seconds is None else seconds
            )
            return UpstreamFailed(problem, reason, may_pass=status in _TRY_AGAIN, retry_after=seconds)
        case 504:
            return UpstreamFailed(too_late(), reason, may_pass=True, retry_after=_retry_after_of(response))
        case _ if status >= 500:
            seconds = _retry_after_of(response)
            return UpstreamFailed(
                BadGateway("a service behind this one failed"),
                reason,
                may_pass=status in _TRY_AGAIN,
                retry_after=seconds,
            )
        case _:
            return None


def _retry_after_of(response: httpx2.Response) -> int | None:
    """Return the seconds of `Retry-After`, at most a day, or None without a valid one (RFC 9110 section 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(int(value[:9]), _LONGEST_RETRY_AFTER)
    date = parse_date(value)
    if date is None:
        return None
    return min(max(0, math.ceil((date - datetime.now(UTC)).total_seconds())), _LONGEST_RETRY_AFTER)


def bad_answer() -> BadGateway:
    """Return the problem for an unusable response."""
    return BadGateway("a service behind this one gave an unusable response")


def too_late() -> GatewayTimeout:
    """Return the problem for a response that did not come in time."""
    return GatewayTimeout("a service behind this one did not answer in time")


def unavailable(detail: str, retry_after: int) -> ServiceUnavailable:
    """Return the problem for a service that is not available for some seconds."""
    return ServiceUnavailable(detail, headers={"Retry-After": str(retry_after)})
