"""Failures of another service as problems for our own callers, with none of its words in them."""

import math
from datetime import UTC, datetime

import httpx2
from werkzeug.http import parse_date

from ligand_async.auth import UnusableExchange
from ligand_async.errors import BadGateway, GatewayTimeout, Problem, ServiceUnavailable

RETRY_AFTER = 5  # seconds, where the other service does not say
_LONGEST_RETRY_AFTER = 86_400
_TRY_AGAIN = frozenset({502, 503, 504})


class UpstreamFailed(Exception):
    """One attempt failed.

    Args:
        problem: What our caller is told.
        reason: For the log: a status or the name of an error, never what was sent or received.
        may_pass: Whether another attempt may do better.
        retry_after: Seconds for which the other service asks to be left alone.
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
    """Return what an error of the connection means."""
    name = type(error).__name__
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
    """Return what an answer means that our caller has no part in; None for one that the handler reads."""
    status = response.status_code
    reason = f"it answered {status}"
    match status:
        case 401 | 403:
            return UpstreamFailed(BadGateway("a service behind this one does not let this service in"), reason)
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
    """Return the seconds that `Retry-After` asks for, at most a day; None where it says nothing (RFC 9110 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(int(value[:9]), _LONGEST_RETRY_AFTER)
    date = parse_date(value)
    if date is None:
        return None
    return min(max(0, math.ceil((date - datetime.now(UTC)).total_seconds())), _LONGEST_RETRY_AFTER)


def bad_answer() -> BadGateway:
    """Return the problem of an answer that cannot be taken."""
    return BadGateway("a service behind this one gave a wrong answer")


def too_late() -> GatewayTimeout:
    """Return the problem of an answer that did not come in time."""
    return GatewayTimeout("a service behind this one did not answer in time")


def unavailable(detail: str, retry_after: int) -> ServiceUnavailable:
    """Return the problem of a service that asks to be left alone for some seconds."""
    return ServiceUnavailable(detail, headers={"Retry-After": str(retry_after)})
