"""Where rooms meet: what one asks of another without knowing it."""

from collections.abc import Callable
from typing import Protocol

from quart import Response

from ligand_async.problem import Problem


class HealthCheck(Protocol):
    """Something the service needs in order to be ready."""

    name: str

    async def check(self) -> None:
        """Return when it is well; raise when it is not. The caller bounds the time."""


ProblemRenderer = Callable[[Problem], Response]
"""Makes the response of a problem; replace it to change the shape of every error."""
