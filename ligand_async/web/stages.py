"""The protocol of the guard's stages, and the reply that a stage may give."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Headers = list[tuple[bytes, bytes]]
"""Header fields as ASGI has them: names in lower case, in order, repeated where they are."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response that a stage gives at once; the app does not see the request."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""


class Stage(Protocol):
    """One part of the guard: it sees every request, HTTP or websocket, and the head of every response.

    A stage that inherits from this class may leave one of the two out, and is not called for it.
    """

    def before(self, scope: MutableMapping[str, Any]) -> Reply | None:  # noqa: ARG002  (for the stages to use)
        """Check a request, or change its scope.

        Returns:
            A reply, if the stage has one; then the other stages and the app do not run. Else None.

        Raises:
            Problem: The request is refused.
        """
        return None

    def after(self, scope: Mapping[str, Any], status: int, headers: Headers) -> None:  # noqa: ARG002  (the same)
        """Add or remove headers of a response, whether it comes from the app, from middleware or from the guard."""
        return
