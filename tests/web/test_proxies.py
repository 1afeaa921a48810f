"""Who is calling, behind proxies and without."""

from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ligand_async import Settings, create_app
from ligand_async.settings import SettingsError
from ligand_async.web import TrustedProxies
from tests.services import NEVER_OPENED, app_of, send

PROXIES = ("10.0.0.0/8", "127.0.0.1")
CLIENT = "198.51.100.7"

inside = st.integers(0, 2**24 - 1).map(lambda number: str(IPv4Network("10.0.0.0/8")[number]))
strangers = st.ip_addresses().filter(
    lambda address: (
        not (isinstance(address, IPv4Address) and address in IPv4Network("10.0.0.0/8"))
        and str(address) != "127.0.0.1"
        and getattr(address, "ipv4_mapped", None) is None
    )
)
texts = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=30)
FORWARDED = ("for", "proto", "host", "port", "prefix", "user")
names = st.sampled_from(
    [
        "forwarded",
        "Forwarded",
        "x-real-ip",
        "remote-addr",
        "X-Forwarded-For",
        *(f"x-forwarded-{part}" for part in FORWARDED),
    ]
)
values = st.one_of(
    texts, inside, st.just("127.0.0.1"), st.lists(st.one_of(inside, texts, st.just("8.8.8.8"))).map(", ".join)
)
forged = st.lists(st.tuples(names, values), max_size=8)


def pass_through(
    trusted: tuple[str, ...], *fields: tuple[str, str], peer: str | None = "10.0.0.1", kind: str = "http"
) -> dict[str, Any]:
    """Send a request through the stage, and return its scope."""
    scope: dict[str, Any] = {
        "type": kind,
        "scheme": "http" if kind == "http" else "ws",
        "client": None if peer is None else (peer, 5000),
        "headers": [(b"host", b"inner"), *((name.encode(), value.encode("latin-1")) for name, value in fields)],
    }
    TrustedProxies(trusted).before(scope)
    return scope


def client_of(trusted: tuple[str, ...], *chain: str, peer: str | None = "10.0.0.1") -> str | None:
    """Return the client's address for lines of `X-Forwarded-For`."""
    scope = pass_through(trusted, *(("x-forwarded-for", line) for line in chain), peer=peer)
    return scope["client"][0] if scope["client"] else None


@given(peer=strangers, headers=forged)
def test_nothing_forged_makes_a_stranger_somebody_else(peer: Any, headers: list[tuple[str, str]]) -> None:
    """Whatever a peer that is not trusted sends, it stays itself, and its headers go no further."""
    for trusted in ((), PROXIES):
        scope = pass_through(trusted, *headers, peer=str(peer))

        assert (scope["client"], scope["scheme"]) == ((str(peer), 5000), "http")
        assert scope["headers"] == [(b"host", b"inner")]


@given(client=strangers, headers=forged, ours=st.lists(inside, max_size=3))
def test_nothing_forged_moves_the_client_behind_proxies(
    client: Any, headers: list[tuple[str, str]], ours: list[str]
) -> None:
    """What a client sends stands left of what our proxies append, and is never read."""
    appended = ("X-Forwarded-For", ", ".join([str(client), *ours]))

    by_network = pass_through(PROXIES, *headers, appended)
    by_count = pass_through((str(len(ours) + 1),), *headers, appended)

    assert by_network["client"][0] == by_count["client"][0] == str(client)


@pytest.mark.parametrize(
    ("trusted", "chain", "client"),
    [
        (PROXIES, [], "10.0.0.1"),
        (PROXIES, [CLIENT], CLIENT),
        (PROXIES, [f"6.6.6.6, {CLIENT}, 10.0.0.2"], CLIENT),
        (PROXIES, ["6.6.6.6", CLIENT, "10.0.0.2"], CLIENT),
        (PROXIES, ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (PROXIES, [f"{CLIENT}, unknown, 10.0.0.2"], "10.0.0.2"),
        (PROXIES, [f"{CLIENT}, <script>"], "10.0.0.1"),
        (PROXIES, [f"{CLIENT}:4711"], CLIENT),
        (PROXIES, ["[2001:db8::1]:4711"], "2001:db8::1"),
        (PROXIES, ["2001:db8::1"], "2001:db8::1"),
        (PROXIES, ["fe80::1%eth0"], "10.0.0.1"),
        (PROXIES, [f"::ffff:{CLIENT}"], CLIENT),
        (PROXIES, [f"{CLIENT}, ::ffff:10.0.0.9"], CLIENT),
        (PROXIES, ["198.51.100.007"], "10.0.0.1"),
        (("1",), [f"6.6.6.6, {CLIENT}"], CLIENT),
        (("2",), [f"6.6.6.6, {CLIENT}, 192.0.2.1"], CLIENT),
        (("2",), [CLIENT], "10.0.0.1"),
        (("2",), [f"{CLIENT}, junk"], "10.0.0.1"),
        (("2",), [f"junk, {CLIENT}"], CLIENT),
    ],
)
def test_the_client_is_the_last_that_a_trusted_proxy_saw(
    trusted: tuple[str, ...], chain: list[str], client: str
) -> None:
    """Read from the right over all lines, as far as trust and sense go."""
    assert client_of(trusted, *chain) == client


def test_a_unix_socket_has_no_address() -> None:
    """By network nobody is trusted there; by hop count the proxy is."""
    assert client_of(PROXIES, CLIENT, peer=None) is None
    assert client_of(("1",), CLIENT, peer=None) == CLIENT


@pytest.mark.parametrize(
    ("values", "scheme"),
    [
        (["https"], "https"),
        (["HTTPS"], "https"),
        (["https, http"], "http"),
        (["http", "https"], "https"),
        (["x"], "http"),
    ],
)
def test_the_nearest_proxy_says_the_scheme(values: list[str], scheme: str) -> None:
    """The last value; one that is neither http nor https changes nothing."""
    assert pass_through(PROXIES, *(("x-forwarded-proto", value) for value in values))["scheme"] == scheme


@pytest.mark.parametrize(("sent", "scheme"), [("https", "wss"), ("http", "ws"), ("wss", "ws")])
def test_websockets_have_schemes_of_their_own(sent: str, scheme: str) -> None:
    """Proxies say https for both."""
    assert pass_through(PROXIES, ("x-forwarded-proto", sent), kind="websocket")["scheme"] == scheme


def test_the_nearest_proxy_says_the_host() -> None:
    """It replaces the Host header."""
    scope = pass_through(PROXIES, ("x-forwarded-host", "evil.example, shop.example:8443"))

    assert scope["headers"] == [(b"host", b"shop.example:8443")]


@pytest.mark.parametrize(
    ("host", "status"), [("shop.example", 200), ("evil.example", 421), ("a b", 400), ("\xe9", 400)]
)
async def test_a_forwarded_host_is_checked_like_any_other(host: str, status: int) -> None:
    """By its syntax, and against the trusted hosts."""
    app = app_of(settings={"trusted_proxies": ("127.0.0.1",), "trusted_hosts": ("shop.example",)})
    base = {"client": ("127.0.0.1", 5000)}

    answer = await send(app, "GET", "/openapi.json", headers={"X-Forwarded-Host": host}, scope_base=base)

    assert answer.status == status


def test_a_trusted_proxy_s_other_words_stay() -> None:
    """Such as the name of a user it has authenticated; what was read is taken away."""
    scope = pass_through(PROXIES, ("x-forwarded-user", "ada"), ("x-forwarded-for", CLIENT), ("x-real-ip", CLIENT))

    assert [name for name, _ in scope["headers"]] == [b"host", b"x-forwarded-user"]


@pytest.mark.parametrize("given_value", [2, "2", ("2",)])
def test_a_hop_count_is_a_number(given_value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an argument or a variable."""
    if isinstance(given_value, str):
        monkeypatch.setenv("LIGAND_TRUSTED_PROXIES", given_value)
        given_value = None
    chosen = {} if given_value is None else {"trusted_proxies": given_value}

    assert Settings.load("local", database_url=NEVER_OPENED, **chosen).trusted_proxies == ("2",)


def test_networks_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses and networks of both families."""
    monkeypatch.setenv("LIGAND_TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.1,fd00::/8")

    trusted = Settings.load("local", database_url=NEVER_OPENED).trusted_proxies

    assert TrustedProxies(trusted).is_trusted(ip_address("fd12::1"))


@pytest.mark.parametrize(
    "value", [("0",), ("10",), ("2", "10.0.0.0/8"), ("10.0.0.1/8",), ("proxy.example",), ("*",), True, ("٢",)]
)
def test_another_kind_of_trust_is_a_mistake(value: Any) -> None:
    """The error says how to write it."""
    with pytest.raises(SettingsError, match="trusted_proxies"):
        Settings.load("local", database_url=NEVER_OPENED, trusted_proxies=value)


@pytest.mark.parametrize(
    ("path", "seen"),
    [("/pets", "/api/pets"), ("/api/pets", "/api/pets"), ("/api", "/api"), ("/apiary", "/api/apiary")],
)
def test_a_root_path_may_be_left_by_the_proxy(path: str, seen: str) -> None:
    """With the setting `root_path` the path of the scope has it once, as ASGI wants it, cut off by the proxy or not."""
    stage = TrustedProxies((), public_url="https://a.example/api", root_path="/api")
    scope: dict[str, Any] = {"type": "http", "path": path, "raw_path": path.encode(), "headers": [(b"host", b"a")]}
    stage.before(scope)

    assert (scope["root_path"], scope["path"]) == ("/api", seen)


def test_a_path_of_the_public_url_is_cut_off() -> None:
    """Without the setting the proxy has cut it off, and a path that begins in the same way is another one."""
    stage = TrustedProxies((), public_url="https://a.example/api")
    scope: dict[str, Any] = {"type": "http", "path": "/api/x", "raw_path": b"/api/x", "headers": [(b"host", b"a")]}
    stage.before(scope)

    assert (scope["root_path"], scope["path"]) == ("/api", "/api/api/x")


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_a_probe_may_have_any_host_below_a_path(path: str) -> None:
    """A prober calls the machine by its address, also where the service has a path in front."""
    settings = Settings.load("testing", trusted_hosts=("a.example",), service_public_url="https://a.example/api")
    app = create_app("service", title="Service", version="1", settings=settings)
    async with app.test_app():
        assert (await app.test_client().get(path, headers={"Host": "10.0.0.7"})).status_code == 200
        assert (await app.test_client().get("/docs", headers={"Host": "10.0.0.7"})).status_code == 421
