"""Errors of migrations in words."""

import socket

import pytest

from ligand_async.data.migrations.errors import reason_of


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "no answer in time"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (ConnectionResetError(104, "whatever"), "Connection reset by peer"),
    ],
)
def test_reasons_are_plain(error: Exception, words: str) -> None:
    """Why a database cannot be reached is told in the system's words."""
    assert reason_of(error) == words
