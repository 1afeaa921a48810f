"""When a unit of work runs again, and when not."""

import pytest
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ligand_async.data import ConnectionLost, DatabaseUnreachable, StatementTimedOut
from ligand_async.data.unit import MAX_ATTEMPTS, may_run_again


class Refusal(Exception):
    """A driver's error with a SQLSTATE."""

    def __init__(self, sqlstate: str | None = None) -> None:
        self.sqlstate = sqlstate


class InvalidCachedStatementError(Exception):
    """Named as SQLAlchemy's asyncpg dialect names a stale plan."""


DEADLOCK = DBAPIError("", {}, Refusal("40P01"))
SERIALIZATION = DBAPIError("", {}, Refusal("40001"))
UNIQUE = DBAPIError("", {}, Refusal("23505"))
STALE = DBAPIError("", {}, InvalidCachedStatementError())
DEAD = DBAPIError("", {}, Refusal("57P01"), connection_invalidated=True)
LOST = ConnectionLost("")


@pytest.mark.parametrize("error", [DEAD, LOST, STALE])
def test_reads_run_again_once(error: SQLAlchemyError) -> None:
    """A read that met a dead connection or a stale plan runs a second time, not a third."""
    assert may_run_again(error, 1, reads=True, retry_safe=False)
    assert not may_run_again(error, 2, reads=True, retry_safe=False)


@pytest.mark.parametrize("error", [DEADLOCK, UNIQUE, StatementTimedOut(""), DatabaseUnreachable("")])
def test_reads_do_not_run_again_for_other_reasons(error: SQLAlchemyError) -> None:
    """A timeout would only double the wait, and a database that is down stays down for a while."""
    assert not may_run_again(error, 1, reads=True, retry_safe=False)


@pytest.mark.parametrize("error", [DEADLOCK, SERIALIZATION, STALE, DEAD, LOST, UNIQUE])
def test_writes_do_not_run_again_unasked(error: SQLAlchemyError) -> None:
    """A handler that writes may have done more than write: it runs once."""
    assert not may_run_again(error, 1, reads=False, retry_safe=False)


@pytest.mark.parametrize("error", [DEADLOCK, SERIALIZATION, STALE])
def test_safe_writes_run_three_times_in_all(error: SQLAlchemyError) -> None:
    """What declares itself `retry_safe` gets three attempts."""
    attempts = [may_run_again(error, attempt, reads=False, retry_safe=True) for attempt in range(1, MAX_ATTEMPTS + 1)]
    assert attempts == [True, True, False]


@pytest.mark.parametrize("error", [DEAD, LOST, UNIQUE, StatementTimedOut("")])
def test_safe_writes_do_not_run_again_after_a_lost_connection(error: SQLAlchemyError) -> None:
    """A connection lost at commit leaves open whether it was committed: running again could write twice."""
    assert not may_run_again(error, 1, reads=False, retry_safe=True)
