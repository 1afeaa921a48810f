"""A circuit: whoever did not answer a moment ago is not asked by everybody again."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class CircuitOpen(Exception):
    """Nobody is asked now."""


class Circuit:
    """The way to one other service.

    After a failure it is open for a while: callers are turned away at once instead of each waiting for a timeout. Then
    one of them tries, and while it does the others are still turned away. An answer closes it.

    Args:
        cool_down: Seconds before the next trial.
        clock: Seconds that only grow.
    """

    def __init__(self, *, cool_down: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.cool_down = cool_down
        self.clock = clock
        self.failed_at: float | None = None
        self.is_tried = False

    @property
    def retry_after(self) -> int:
        """Return the whole seconds after which asking again makes sense."""
        return max(1, math.ceil(self.cool_down))

    @contextmanager
    def passing(self, *failures: type[Exception]) -> Iterator[None]:
        """Pass the circuit, and tell it whether there was an answer.

        Args:
            *failures: What says that there was none; any other exception says nothing either way.

        Raises:
            CircuitOpen: It is open.
        """
        is_trial = self.failed_at is not None
        if self.failed_at is not None and (self.is_tried or self.clock() - self.failed_at < self.cool_down):
            raise CircuitOpen
        self.is_tried = self.is_tried or is_trial
        try:
            yield
        except failures:
            self.failed_at = self.clock()
            raise
        else:
            self.failed_at = None
        finally:
            if is_trial:
                self.is_tried = False
