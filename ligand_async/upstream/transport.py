"""The transport of a call to another service: its attempts, its time, its connection and its whole answer."""

import asyncio
import functools
import logging
import random
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2

from ligand_async.auth.tokens import origin
from ligand_async.context import current_deadline
from ligand_async.errors import Forbidden
from ligand_async.upstream.credentials import OutgoingToken
from ligand_async.upstream.failures import UpstreamFailed, bad_answer, failure_of_answer, failure_of_error, too_late

logger = logging.getLogger(__name__)

_CONNECT_TIMEOUT = 2.0  # seconds
_MAX_REDIRECTS = 3
_FOLLOWED = frozenset({"GET", "HEAD"})


class UpstreamConnection:
    """An HTTP client that keeps nothing of one call for the next but its connections.

    Args:
        timeout: Seconds without a byte.
        max_bytes: The largest body.
        transport: Instead of the network's.
    """

    def __init__(self, *, timeout: float, max_bytes: int, transport: httpx2.AsyncBaseTransport | None) -> None:
        brief = min(_CONNECT_TIMEOUT, timeout)
        self._timeout = httpx2.Timeout(timeout, connect=brief, pool=brief)
        self._max_bytes = max_bytes
        self._transport = transport
        self._client: httpx2.AsyncClient | None = None
        self._closed = False

    def open(self) -> httpx2.AsyncClient:
        """Return the client, made in the loop that first asks.

        Raises:
            RuntimeError: It was closed.
        """
        if self._closed:
            raise RuntimeError("the ServiceClient was closed; make another")
        if self._client is None:
            # What one caller's answer sets must not travel with another caller's request.
            cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
            self._client = httpx2.AsyncClient(
                timeout=self._timeout, transport=self._transport, cookies=cookies, verify=_trusted_authorities()
            )
        return self._client

    async def close(self) -> None:
        """Close the connections."""
        client, self._client, self._closed = self._client, None, True
        if client is not None:
            await client.aclose()

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and read its answer; GET and HEAD follow up to three redirects within the origin.

        Raises:
            UpstreamFailed: There is no answer, or none that can be taken.
            ValueError: A header cannot be sent.
        """
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                response = await self._send_once(request)
                if request.method not in _FOLLOWED or not response.has_redirect_location:
                    return response
                request = _redirected(request, response)
        except httpx2.LocalProtocolError:
            raise ValueError("a header of the call cannot be sent over HTTP") from None  # the error holds it
        except httpx2.HTTPError as error:
            raise failure_of_error(error) from error
        raise UpstreamFailed(bad_answer(), f"it redirects more than {_MAX_REDIRECTS} times")

    async def _send_once(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self.open().send(request, stream=True)
        try:
            if request.method != "HEAD" and answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise UpstreamFailed(bad_answer(), "it answers in a coding that was not asked for")
            body = bytearray()
            async for part in answer.aiter_raw():
                body += part
                if len(body) > self._max_bytes:
                    raise UpstreamFailed(bad_answer(), f"it answers more than {self._max_bytes} bytes")
        finally:
            await answer.aclose()
        return httpx2.Response(answer.status_code, headers=answer.headers, content=bytes(body), request=request)


@functools.cache
def _trusted_authorities() -> ssl.SSLContext:
    """Return whose certificates are believed; read once, as that takes long."""
    return httpx2.create_ssl_context()


def _redirected(request: httpx2.Request, response: httpx2.Response) -> httpx2.Request:
    """Return the request for where an answer leads.

    Raises:
        UpstreamFailed: It leads to another origin, or nowhere.
    """
    try:
        target = request.url.join(response.headers["Location"])
    except (httpx2.InvalidURL, ValueError):
        raise UpstreamFailed(bad_answer(), "it redirects to what is no address") from None  # which is not logged
    if origin(target) != origin(request.url) or target.userinfo:
        raise UpstreamFailed(bad_answer(), "it redirects to another origin")
    return httpx2.Request(request.method, target, headers=request.headers, extensions=request.extensions)


_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
FIRST_PAUSE = 0.1  # seconds, doubled by each attempt
_LONGEST_PAUSE = 2.0


class UpstreamCalls:
    """Makes calls.

    Args:
        connection: To the other service.
        token: What knows the token that a call carries.
        forwards: Whether that token is the caller's: then a 403 is about the caller.
        retries: How often a safe method is tried again.
    """

    def __init__(self, connection: UpstreamConnection, token: OutgoingToken, *, forwards: bool, retries: int) -> None:
        self._connection = connection
        self._token = token
        self._forwards = forwards
        self._retries = retries

    async def make(self, request: httpx2.Request, seconds: float) -> httpx2.Response:
        """Send a request, again if that may help, and return the answer that our handler reads.

        Args:
            request: Without its token.
            seconds: For all of it; the deadline of the request being served may be nearer.

        Raises:
            Problem: There is no such answer.
        """
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
        return await self._connection.send(request)


def pause_after(failure: UpstreamFailed, method: str, attempt: int, retries: int) -> float | None:
    """Return the seconds after which a call is tried again, or None where it is not.

    They are random from nothing up ("full jitter"), so that many who failed together do not come back together. A
    `Retry-After` comes before them, where it is short; where it is long there is nothing to wait for.

    Args:
        failure: What happened.
        method: The HTTP method: only one that is safe is sent twice (RFC 9110 section 9.2.1).
        attempt: How many there were, from 1.
        retries: How many more than one there may be.
    """
    asked = failure.retry_after or 0.0
    if not failure.may_pass or method not in _SAFE or attempt > retries or asked > _LONGEST_PAUSE:
        return None
    return asked + random.uniform(0, min(_LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1)))  # noqa: S311  (not a secret)


def _seconds_left(limit: asyncio.Timeout) -> float:
    """Return how long there is until a limit."""
    at = limit.when()
    return 0.0 if at is None else at - asyncio.get_running_loop().time()


def _log(request: httpx2.Request, reason: str) -> None:
    """Say which service failed, without the path and the query string, which may tell of somebody."""
    logger.warning("call to %s://%s failed: %s", request.url.scheme, request.url.netloc.decode(), reason)
