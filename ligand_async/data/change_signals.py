"""What a unit of work tells of its changes, and to whom."""

from typing import Self

from quart import Quart

from ligand_async.data.flushes import ChangeLog, observers_of, watch_session
from ligand_async.data.sessions import UnitSession
from ligand_async.signals import (
    changes_committed,
    changes_flushing,
    changes_rolled_back,
    consult,
    deliver,
    receivers_of,
)


class ChangeSignals:
    """The signals of one unit of work.

    Args:
        app: Their sender.
        session: The unit's.
        log: What it has changed.
    """

    def __init__(self, app: Quart, session: UnitSession, log: ChangeLog) -> None:
        self._app = app
        self._session = session
        self._log = log

    @classmethod
    def watching(cls, app: Quart, session: UnitSession) -> Self | None:
        """Watch a session as far as anybody wants to know; return its signals where they have receivers."""
        signals = (changes_flushing, changes_committed, changes_rolled_back)
        is_heard = any(receivers_of(signal, app) for signal in signals)
        log = watch_session(session.sync_session, observers_of(app), logs=is_heard)
        return None if log is None else cls(app, session, log)

    async def consult(self) -> bool:
        """Send what was flushed since the last time to those who may veto.

        Returns:
            Whether anybody was told, who may have changed more.

        Raises:
            Exception: The veto, or what else a receiver raised.
        """
        if not self._log.is_fresh or not receivers_of(changes_flushing, self._app):
            return False
        changes = self._log.take_fresh()
        if changes:
            await consult(changes_flushing, self._app, session=self._session, changes=changes)
        return bool(changes)

    async def tell_committed(self) -> None:
        """Send what is durable now."""
        if changes := self._log.kept():
            await deliver(changes_committed, self._app, changes=changes)

    async def tell_rolled_back(self) -> None:
        """Send what has come to nothing."""
        if changes := self._log.lost():
            await deliver(changes_rolled_back, self._app, changes=changes)
