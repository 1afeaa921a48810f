"""The server's configuration: its loop, and which limits it has."""

import asyncio
import sys

import pytest
import uvloop

from ligand_async import Settings
from ligand_async.ops.server import HEAD_BYTES, configure, make_loop


@pytest.fixture
def settings() -> Settings:
    """Settings of a test."""
    return Settings.load("testing", max_body_bytes=1000)


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
