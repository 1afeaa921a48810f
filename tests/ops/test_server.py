"""The server's socket and configuration: what it says when it cannot listen, and which limits it has."""

import asyncio
import socket
import sys

import pytest
import uvloop

from ligand_async import Settings
from ligand_async.ops import ServerError
from ligand_async.ops.server import HEAD_BYTES, configure, make_loop, open_listener


@pytest.fixture
def settings() -> Settings:
    """Settings of a test."""
    return Settings.load("testing", max_body_bytes=1000)


def test_port_in_use_is_one_line() -> None:
    """The address, what is wrong with it, and the remedy."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServerError) as caught:
            open_listener("127.0.0.1", port)

    expected = f"cannot listen on 127.0.0.1:{port}: it is in use; choose another port with --port or PORT"
    assert str(caught.value) == expected


def test_foreign_address_is_one_line() -> None:
    """An address of another machine is refused with the remedy."""
    with pytest.raises(ServerError, match=r"^cannot listen on 192\.0\.2\.1:0: this machine does not have the address"):
        open_listener("192.0.2.1", 0)


def test_unknown_host_is_one_line() -> None:
    """An unknown host name is refused in one line."""
    with pytest.raises(ServerError, match=r"^cannot listen on nowhere\.invalid:0: \S+"):
        open_listener("nowhere.invalid", 0)


def test_server_takes_what_the_guard_refuses(settings: Settings) -> None:
    """Heads a little too long come through to the guard, whose problems say more; and nothing names the server."""
    config = configure(settings)

    assert (config.h11_max_incomplete_size, config.h2_max_header_list_size) == (HEAD_BYTES, HEAD_BYTES)
    assert config.websocket_max_message_size == 1000
    assert b"server" not in dict(config.response_headers("h11"))


def test_loop_is_the_fast_one() -> None:
    """The server runs on uvloop."""
    loop = make_loop()
    loop.close()

    assert isinstance(loop, uvloop.Loop)


def test_loop_is_of_asyncio_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform without uvloop serves all the same."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = make_loop()
    loop.close()

    assert isinstance(loop, asyncio.BaseEventLoop)
