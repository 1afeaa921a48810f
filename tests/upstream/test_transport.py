"""The transport of generated clients: their calls are those of a `ServiceClient`."""

import io
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx2
import pytest

from ligand_async import operation
from ligand_async.errors import BadGateway, GatewayTimeout, ServiceUnavailable
from ligand_async.upstream import ServiceClient
from ligand_async.web import app_scope
from tests.services import app_of, send
from tests.upstream.service import HANG, Reply, Upstream


@dataclass
class Generated:
    """What openapi-python-client makes of its `AuthenticatedClient`, as far as its transport is concerned."""

    base_url: str
    token: str
    prefix: str
    httpx_args: dict[str, Any]
    timeout: httpx2.Timeout | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        authorization = f"{self.prefix} {self.token}" if self.prefix else self.token
        headers = self.headers | {"Authorization": authorization}
        self.http = httpx2.AsyncClient(base_url=self.base_url, headers=headers, timeout=self.timeout, **self.httpx_args)

    async def request(self, method: str, url: str, **options: Any) -> httpx2.Response:
        return await self.http.request(method, url, **options)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as service:
        yield service


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[Generated]:
    async with ServiceClient(f"{upstream.url}/v1", credentials=upstream.credentials()) as service:
        yield service.bind(Generated)


async def test_a_call_is_one_of_the_service_client(upstream: Upstream, client: Generated) -> None:
    """It goes below the base address, carries the token, and asks for no coding that would hide a length."""
    upstream.script("/v1/pets", {"name": "Rex"})

    response = await client.request("POST", "/pets", params={"page": 2}, json={"a": 1}, headers={"If-Match": '"1"'})

    asked = upstream.requests[-1]
    assert (response.status_code, response.json()) == (200, {"name": "Rex"})
    assert (asked.method, asked.path, asked.query, asked.body) == ("POST", "/v1/pets", "page=2", b'{"a":1}')
    names = ("Authorization", "If-Match", "Content-Type", "Accept-Encoding")
    assert [asked.headers[name] for name in names] == ["Bearer token-1", '"1"', "application/json", "identity"]


async def test_without_credentials_no_token_is_sent(upstream: Upstream) -> None:
    """Not even an empty one; a token that the generated client has itself goes on."""
    async with ServiceClient(upstream.url) as service:
        await service.bind(Generated).request("GET", "/pets")
        own = Generated(service.base_url, "its-own", "Bearer", service.bind(Generated).httpx_args)
        await own.request("GET", "/pets")

    assert [asked.headers["Authorization"] for asked in upstream.requests] == [None, "Bearer its-own"]


@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 409, 412, 422])
async def test_an_answer_for_the_handler_is_returned(upstream: Upstream, client: Generated, status: int) -> None:
    """With its headers; the generated client makes of it what its document says."""
    body = b"" if status in {204, 304} else b"{}"
    upstream.script("/v1/pets", Reply(status, body, {"ETag": '"7"'}))

    response = await client.request("GET", "/pets")

    assert (response.status_code, response.content, response.headers["ETag"]) == (status, body, '"7"')


async def test_a_safe_call_is_retried(upstream: Upstream, client: Generated) -> None:
    """As often as the ServiceClient says; any other method is sent once. What fails for good is a problem."""
    upstream.script("/v1/pets", 503, 502, {"name": "Rex"})
    assert (await client.request("GET", "/pets")).json() == {"name": "Rex"}

    upstream.script("/v1/pets", 503)
    with pytest.raises(ServiceUnavailable):
        await client.request("POST", "/pets", json={})
    upstream.script("/v1/pets", 500)
    with pytest.raises(BadGateway):
        await client.request("GET", "/pets")

    assert [asked.method for asked in upstream.requests if asked.path == "/v1/pets"] == ["GET"] * 3 + ["POST", "GET"]


async def test_a_refused_token_is_replaced(upstream: Upstream, client: Generated) -> None:
    """The same body is sent with another one, an upload, too."""
    upstream.accepts = "token-2"
    await client.request("POST", "/photos", files={"photo": ("rex.png", io.BytesIO(b"png"), "image/png")})

    first, second = [asked for asked in upstream.requests if asked.path == "/v1/photos"]
    assert [asked.headers["Authorization"] for asked in (first, second)] == ["Bearer token-1", "Bearer token-2"]
    assert b"png" in first.body
    assert first.body == second.body


@pytest.mark.parametrize(
    "url",
    [
        *("/a/%2e%2e/b", "/a/%252e%252e/b", "/a%2F..%2Fadmin", "/..;/admin", "http://127.0.0.1:1/v1/pets"),
        *("{origin}/pets", "{origin}/v1x/pets", "{other}/v1/pets"),
    ],
)
async def test_a_call_stays_below_the_base_address(upstream: Upstream, client: Generated, url: str) -> None:
    """A token is not sent elsewhere, whatever the generated client was told: nothing is sent."""
    other = upstream.url.replace("http://", "http://ada:pw@")
    with pytest.raises(ValueError, match="does not stay below http"):
        await client.request("GET", url.format(origin=upstream.url, other=other))
    assert upstream.requests == []


async def test_nothing_of_one_call_is_kept_for_the_next(upstream: Upstream, client: Generated) -> None:
    """A cookie of a response is not sent with the next request; one that the operation has is."""
    upstream.script("/v1/pets", Reply(headers={"Set-Cookie": "session=ada; Path=/"}))
    for cookie in (None, "theme=dark", None):
        await client.request("GET", "/pets", headers={} if cookie is None else {"Cookie": cookie})

    asked = [asked.headers["Cookie"] for asked in upstream.requests if asked.path == "/v1/pets"]
    assert asked == [None, "theme=dark", None]


async def test_a_timeout_of_the_client_is_that_of_a_call(upstream: Upstream) -> None:
    """`with_timeout` counts instead of the ServiceClient's own timeout, in seconds for the whole call."""
    upstream.script("/pets", HANG)
    async with ServiceClient(upstream.url, timeout=60) as service:
        bound = service.bind(partial(Generated, timeout=httpx2.Timeout(0.2)))
        with pytest.raises(GatewayTimeout):
            await bound.request("GET", "/pets")


async def open_pets(url: str) -> AsyncIterator[Generated]:
    async with ServiceClient(url, timeout=60) as service:
        yield service.bind(Generated)


@operation
async def read_pet(pets: Generated) -> Any:
    return (await pets.request("GET", "/pet")).json()


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_a_request_s_id_and_trace_go_on(upstream: Upstream) -> None:
    """The other service's log and traces can be read beside ours."""
    app = app_of(("GET", "/", read_pet), provide={Generated: app_scope(partial(open_pets, upstream.url))})
    await send(app, "GET", "/", headers={"X-Request-ID": "abc-1", "traceparent": TRACE})

    (asked,) = upstream.requests
    assert (asked.headers["X-Request-ID"], asked.headers["traceparent"]) == ("abc-1", TRACE)


async def test_a_call_ends_before_the_request_s_deadline(upstream: Upstream) -> None:
    """It has what is left, and its failure is our problem."""
    upstream.script("/pet", HANG)
    provide = {Generated: app_scope(partial(open_pets, upstream.url))}
    app = app_of(("GET", "/", read_pet), provide=provide, settings={"request_timeout": 0.3})

    answer = await send(app, "GET", "/")

    assert (answer.status, answer.headers["Content-Type"]) == (504, "application/problem+json")


async def test_a_generated_client_is_as_open_as_its_service_client(upstream: Upstream) -> None:
    """Closing the generated client closes nothing; a call after the end of the ServiceClient's block is a mistake."""
    async with ServiceClient(upstream.url) as service:
        first, second = service.bind(Generated), service.bind(Generated)
        async with first.http:
            await first.request("GET", "/pets")
        await second.request("GET", "/pets")
    with pytest.raises(RuntimeError, match="was closed"):
        await second.request("GET", "/pets")


async def test_other_clients_are_refused_by_name(upstream: Upstream) -> None:
    """A function that would block the loop, and a client of another HTTP library, say what to do."""
    async with ServiceClient(upstream.url) as service:
        transport = service.bind(Generated).httpx_args["transport"]
        with httpx2.Client(transport=transport) as blocking, pytest.raises(RuntimeError, match="await the functions"):
            blocking.get(upstream.url)
        with pytest.raises(TypeError, match="ligand client generate python"):
            await transport.handle_async_request(object())
    assert upstream.requests == []
