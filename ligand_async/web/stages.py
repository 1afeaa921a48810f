"""Where the parts of the guard plug in: what a stage is, and the reply it may give."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Headers = list[tuple[bytes, bytes]]
"""Header fields as ASGI has them: names in lower case, in order, repeated where they are."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that a stage gives at once: the app never hears of the request."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""


class Stage(Protocol):
    """One part of the guard. It sees every request, HTTP or websocket, before the app, and the head of every answer."""

    def before(self, scope: MutableMapping[str, Any]) -> Reply | None:
        """Look at a request, and change its scope where that is the stage's work.

        Returns:
            An answer, if there is one already; the stages and the app behind it are not asked.

        Raises:
            Problem: The request is refused.
        """

    def after(self, scope: Mapping[str, Any], status: int, headers: Headers) -> None:
        """Add to the headers of an answer or take from them: of any, from the app, middleware or the guard."""
