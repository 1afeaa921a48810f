"""`ServiceClient`, the HTTP client for calls to another service."""

import functools
import json as json_text
import re
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx2
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from ligand_async.auth import HTTPClient
from ligand_async.paths import leads_down
from ligand_async.settings import is_base_url
from ligand_async.upstream.credentials import ClientCredentials, ForwardToken, outgoing_token_of
from ligand_async.upstream.failures import bad_answer
from ligand_async.upstream.retries import UpstreamCalls
from ligand_async.upstream.transport import BoundTransport

T = TypeVar("T")
C = TypeVar("C")
_CONNECT_TIMEOUT = 2.0  # seconds
_Query = Mapping[str, str | int | float | bool | list[str] | None]


class ServiceClient:
    """Calls another service over HTTP, for as long as an app lives or a block runs.

    A call carries the request's id and `traceparent`, ends before the request's deadline, and is retried if that is
    safe. Its failures are problems with status 502, 503 or 504, which need no handling. Other responses, also 404, 409
    or 422, are returned.

    Args:
        base_url: The address of the service, such as `https://inventory.internal/v1`; no user, query or fragment.
        credentials: The credentials of the calls; None for a service that needs no token.
        timeout: Seconds for a whole call, with its retries and their pauses.
        retries: How often GET, HEAD and OPTIONS are retried.
        max_bytes: The largest body of a response.
        transport: Replaces httpx2's own, for another certificate authority or a client certificate.

    Raises:
        ValueError: The address is not valid.
        RuntimeError: The caller's token would be forwarded without TLS in `prod`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        credentials: ClientCredentials | ForwardToken | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        max_bytes: int = 1024 * 1024,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.base_url = _checked_base_url(base_url)
        self.timeout = timeout
        self._token = outgoing_token_of(credentials, self.base_url)
        brief = min(_CONNECT_TIMEOUT, timeout)
        http = HTTPClient(
            timeout=httpx2.Timeout(timeout, connect=brief, pool=brief),
            max_bytes=max_bytes,
            allow_http=True,  # which the address has already decided
            base_url=self.base_url,
            transport=transport,
        )
        forwards = isinstance(credentials, ForwardToken)
        self._calls = UpstreamCalls(http, self._token, forwards=forwards, retries=retries)
        self._bound = BoundTransport(self._calls, self.base_url, timeout=timeout)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: _Query | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  (a retry must know what is left)
    ) -> httpx2.Response:
        """Call the service.

        Args:
            method: The HTTP method.
            path: The path below `base_url`, which begins with a slash and has quoted variables; no query, and no step
                that is `.` or `..`, however often it is decoded.
            params: The query parameters.
            json: The body as JSON; it may contain models, times and UUIDs.
            content: The body as bytes, instead of `json`.
            headers: More request headers.
            timeout: Seconds for this call, instead of the client's.

        Raises:
            BadGateway: The service cannot be reached, fails, gives an unusable response, or rejects our credentials.
            ServiceUnavailable: The service is overloaded; `Retry-After` is passed on.
            GatewayTimeout: The service did not answer in time.
            Forbidden: The service refuses the caller whose token was forwarded.
            Unauthorized: The caller sent no token that could be forwarded.
            ValueError: The path or a header is not valid.
        """
        sent = httpx2.Headers(headers)
        if json is not None:
            content = json_text.dumps(to_jsonable_python(json, by_alias=True), allow_nan=False).encode()
            sent.setdefault("Content-Type", "application/json")
        request = self._calls.open().build_request(
            method.upper(), self.base_url + _checked_path(path), params=params, content=content, headers=sent
        )
        return await self._calls.make(request, self.timeout if timeout is None else timeout)

    async def get(
        self,
        path: str,
        *,
        params: _Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  (as above)
    ) -> httpx2.Response:
        """Send a GET request; see `request`."""
        return await self.request("GET", path, params=params, headers=headers, timeout=timeout)

    async def get_model(
        self,
        path: str,
        model: type[T],
        *,
        params: _Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  (as above)
    ) -> T:
        """Send a GET request, and return the validated body.

        Args:
            path: See `request`.
            model: A pydantic model, or another type that pydantic validates.
            params: See `request`.
            headers: See `request`.
            timeout: See `request`.

        Raises:
            BadGateway: The response does not fit, or is not a success. Use `get` and `read_model` to handle a 404.
            Problem: As `request` does.
        """
        return read_model(await self.get(path, params=params, headers=headers, timeout=timeout), model)

    async def post(
        self,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  (as above)
    ) -> httpx2.Response:
        """Send a POST request, without retries; see `request`."""
        return await self.request("POST", path, json=json, content=content, headers=headers, timeout=timeout)

    async def put(
        self,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  (as above)
    ) -> httpx2.Response:
        """Send a PUT request, without retries; see `request`."""
        return await self.request("PUT", path, json=json, content=content, headers=headers, timeout=timeout)

    async def patch(
        self,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  (as above)
    ) -> httpx2.Response:
        """Send a PATCH request, without retries; see `request`."""
        return await self.request("PATCH", path, json=json, content=content, headers=headers, timeout=timeout)

    async def delete(
        self,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  (as above)
    ) -> httpx2.Response:
        """Send a DELETE request, without retries; see `request`."""
        return await self.request("DELETE", path, headers=headers, timeout=timeout)

    def bind(self, make: Callable[..., C]) -> C:
        """Return a generated Python client whose calls are made as `request` makes them.

        They have the credentials, the deadline, the retries and the headers of this client, and fail with the same
        problems. The generated client has async functions only, and can be used as long as this one is open. Its
        `with_timeout` sets the seconds of a whole call.

        Args:
            make: The class `AuthenticatedClient` of a package that `ligand client` generated.
        """
        return make(base_url=self.base_url, token="", prefix="", httpx_args={"transport": self._bound})

    async def close(self) -> None:
        """Close the connections. A later call raises RuntimeError."""
        await self._token.close()
        await self._calls.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def read_model(response: httpx2.Response, model: type[T]) -> T:
    """Return the validated body of a response.

    Args:
        response: The response.
        model: A pydantic model, or another type that pydantic validates.

    Raises:
        BadGateway: The response is not a success, or its body does not fit.
    """
    kind: Any = model
    try:
        if response.is_success:
            value: T = _adapter_of(kind).validate_json(response.content)
            return value
    except ValidationError:
        raise bad_answer() from None  # the error holds the body
    raise bad_answer()


@functools.cache
def _adapter_of(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


_PATH = re.compile(r"/(?!/)[^\x00-\x20\x7f\\?#]*")


def _checked_base_url(base_url: str) -> str:
    if not is_base_url(base_url) or not leads_down(urlsplit(base_url).path):
        # It is not repeated in the error, as it may hold a password.
        raise ValueError(
            "base_url: write it as https://host or https://host:port/path, no user, query, fragment or `..`"
        )
    return base_url.rstrip("/")


def _checked_path(path: str) -> str:
    """Return a path if it stays below the address of its service.

    Raises:
        ValueError: It would lead elsewhere. The error does not repeat it, as parts of it may be input.
    """
    if not _PATH.fullmatch(path) or not leads_down(path):
        raise ValueError(
            "path: begin it with one slash, give the query as params, and quote its variables by "
            "urllib.parse.quote(value, safe=''); no step may be `.` or `..`, not even a quoted one"
        )
    return path
