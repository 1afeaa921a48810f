"""The transport of a generated client: its requests become calls of a `ServiceClient`."""

import httpx2

from ligand_async.paths import is_below
from ligand_async.upstream.retries import UpstreamCalls

# Of the client's request: the body is sent in one piece, and not asked for in a coding that hides its length.
_REPLACED = frozenset({"accept-encoding", "content-length", "transfer-encoding"})


class BoundTransport(httpx2.AsyncBaseTransport, httpx2.BaseTransport):
    """Makes the calls of a client that was generated from the document of the service.

    The cookies of responses are removed: the client would send those of one caller with the requests of the next.

    Args:
        calls: Make the calls.
        base_url: The address of the service, which no call leaves.
        timeout: Seconds for a whole call, unless the client has a timeout of its own.
    """

    def __init__(self, calls: UpstreamCalls, base_url: str, *, timeout: float) -> None:
        self._calls = calls
        self._base = httpx2.URL(base_url)
        self._timeout = timeout

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Make one call.

        Args:
            request: The client's request.

        Raises:
            Problem: As `ServiceClient.request` does.
            ValueError: The call would leave the address of the service.
            TypeError: The client is of another library.
        """
        if not isinstance(request, httpx2.Request):
            raise TypeError("bind: this client is not made for httpx2; generate it by `ligand client generate python`")
        self._check(request.url)
        await request.aread()  # it may be sent again, with another token
        headers = [(name, value) for name, value in request.headers.multi_items() if name not in _REPLACED]
        sent = self._calls.open().build_request(
            request.method,
            request.url,
            content=request.content or None,
            headers=[(name, value) for name, value in headers if value or name != "authorization"],
        )
        seconds = request.extensions.get("timeout", {}).get("read")
        response = await self._calls.make(sent, self._timeout if seconds is None else seconds)
        return httpx2.Response(
            response.status_code,
            headers=[(name, value) for name, value in response.headers.multi_items() if name != "set-cookie"],
            content=response.content,
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:  # noqa: ARG002  (the signature of a transport)
        """Refuse a call that would block the event loop.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("bind: await the functions `asyncio` and `asyncio_detailed` of a bound client")

    def _check(self, url: httpx2.URL) -> None:
        base = self._base
        is_here = (url.scheme, url.netloc, url.userinfo) == (base.scheme, base.netloc, b"")
        if not is_here or not is_below(_path_of(url), _path_of(base)):
            raise ValueError(
                f"the call does not stay below {base}, the address of the ServiceClient; leave base_url as it is, and "
                "let no step of a path be `.` or `..`, not even a quoted one"
            )


def _path_of(url: httpx2.URL) -> str:
    return url.raw_path.partition(b"?")[0].decode("ascii")
