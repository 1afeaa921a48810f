"""One call to another service: its attempts, its token, its trace and its time."""

import asyncio
import logging
import random
import re

import httpx2
from quart import has_request_context, has_websocket_context, request, websocket

from ligand_async.auth import HTTPClient
from ligand_async.context import current_deadline, current_request_id
from ligand_async.errors import Forbidden
from ligand_async.upstream.credentials import OutgoingToken
from ligand_async.upstream.failures import UpstreamFailed, failure_of_answer, failure_of_error, too_late

logger = logging.getLogger(__name__)

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
FIRST_PAUSE = 0.1  # seconds, doubled by each attempt
_LONGEST_PAUSE = 2.0


class UpstreamCalls:
    """Sends calls, and retries them.

    Args:
        http: The client.
        token: The token that calls carry.
        forwards: Whether that token is the caller's: then a 403 is about the caller.
        retries: How often a safe method is tried again.
    """

    def __init__(self, http: HTTPClient, token: OutgoingToken, *, forwards: bool, retries: int) -> None:
        self._http = http
        self._token = token
        self._forwards = forwards
        self._retries = retries
        self._closed = False

    def open(self) -> httpx2.AsyncClient:
        """Return the client.

        Raises:
            RuntimeError: It was closed.
        """
        if self._closed:
            raise RuntimeError("the ServiceClient was closed; make another")
        return self._http.open()

    async def close(self) -> None:
        """Close the connections; a call under way does not open new ones."""
        self._closed = True
        await self._http.close()

    async def make(self, request: httpx2.Request, seconds: float) -> httpx2.Response:
        """Send a request, with retries, and return the response for the handler.

        Args:
            request: The request, without its token.
            seconds: The time for all attempts; the deadline of the request being served may be nearer.

        Raises:
            Problem: There is no such response.
        """
        for name, value in _carried_headers().items():
            request.headers.setdefault(name, value)
        left = current_deadline().seconds_left
        limit = asyncio.timeout(seconds if left is None else min(seconds, left))
        try:
            async with limit:
                return await self._try(request, limit)
        except TimeoutError as error:
            if not limit.expired():
                raise
            _log(request, "it did not answer in time")
            raise too_late() from error

    async def _try(self, request: httpx2.Request, limit: asyncio.Timeout) -> httpx2.Response:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._attempt(request)
            except UpstreamFailed as failure:
                pause = pause_after(failure, request.method, attempt, self._retries)
                if pause is None or pause >= _seconds_left(limit):
                    _log(request, f"{failure.reason} ({attempt} attempts)")
                    raise failure.problem from failure
            await asyncio.sleep(pause)

    async def _attempt(self, request: httpx2.Request) -> httpx2.Response:
        token = await self._token.get()
        response = await self._send(request, token)
        if response.status_code == 401 and token is not None:
            another = await self._token.renew(token)
            if another is not None:
                response = await self._send(request, another)
        if response.status_code == 403 and self._forwards:
            raise UpstreamFailed(Forbidden("a service behind this one refuses this to the caller"), "it answered 403")
        failure = failure_of_answer(response)
        if failure is not None:
            raise failure
        return response

    async def _send(self, request: httpx2.Request, token: str | None) -> httpx2.Response:
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        self.open()
        try:
            return await self._http.send(request)
        except httpx2.LocalProtocolError:
            raise ValueError("a header of the call cannot be sent over HTTP") from None  # the error holds it
        except httpx2.HTTPError as error:
            raise failure_of_error(error) from error


def pause_after(failure: UpstreamFailed, method: str, attempt: int, retries: int) -> float | None:
    """Return the seconds until a call is retried, or None if it is not.

    They are random from zero up ("full jitter"), so that calls that failed together do not come back together. A short
    `Retry-After` is added to them; a long one means no retry.

    Args:
        failure: The failure of the last attempt.
        method: The HTTP method: only a safe one is retried (RFC 9110 section 9.2.1).
        attempt: The number of attempts so far.
        retries: The largest number of retries.
    """
    asked = failure.retry_after or 0.0
    if not failure.may_pass or method not in _SAFE or attempt > retries or asked > _LONGEST_PAUSE:
        return None
    return asked + random.uniform(0, min(_LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1)))  # noqa: S311  (not a secret)


def _seconds_left(limit: asyncio.Timeout) -> float:
    at = limit.when()
    return 0.0 if at is None else at - asyncio.get_running_loop().time()


def _log(request: httpx2.Request, reason: str) -> None:
    """Log the failure without path and query, which may contain personal data."""
    logger.warning("call to %s://%s failed: %s", request.url.scheme, request.url.netloc.decode(), reason)


# Trace Context, section 3.2: version, trace-id, parent-id, flags; later versions may go on behind a hyphen.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?")


def _carried_headers() -> dict[str, str]:
    """Return `X-Request-ID` and `traceparent`, if the current request has them."""
    found = {"X-Request-ID": current_request_id(), "traceparent": _incoming_traceparent()}
    return {name: value for name, value in found.items() if value is not None}


def _incoming_traceparent() -> str | None:
    """Return the `traceparent` of the current request, or None if it has no valid one.

    A later version is reduced to the members of version 00 (Trace Context, section 3.2.3).
    """
    if not (has_request_context() or has_websocket_context()):
        return None
    values = (request if has_request_context() else websocket).headers.getlist("traceparent")
    match = _TRACEPARENT.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        return None
    value = match.string
    if value.startswith("00"):
        return value if match["more"] is None else None
    return f"00-{value[3:55]}"
