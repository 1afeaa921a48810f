"""Which operations do their work once: what `idempotent` says."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, overload

from ligand_async.marks.layers import V, stamp_layers

ATTRIBUTE = "_ligand_idempotent"


@dataclass(frozen=True, slots=True)
class IdempotentMark:
    """What `@idempotent` says of an operation.

    Attributes:
        required: Whether a request must have a key.
        expires: How long a reply is kept.
    """

    required: bool = False
    expires: timedelta = timedelta(hours=24)


@overload
def idempotent(view: V, /) -> V: ...
@overload
def idempotent(*, required: bool = False, expires: timedelta = ...) -> Callable[[V], V]: ...
def idempotent(view: Any = None, /, *, required: bool = False, expires: timedelta = timedelta(hours=24)) -> Any:
    """Do the work of a POST or PATCH once, however often it is sent (draft-ietf-httpapi-idempotency-key-header).

    A decorator of an operation, a function or a method of a `MethodView`, above or below the others. A request that
    names a key in `Idempotency-Key` has its reply stored in the transaction of its work; the same request again, by the
    same caller, is answered with that reply.

    Args:
        view: The operation; without it, as in `@idempotent(required=True)`, a decorator is returned.
        required: Refuse requests without a key.
        expires: How long the reply is kept.

    Raises:
        TypeError: What is marked is no function.
        ValueError: The replies would expire at once.
    """
    if expires <= timedelta():
        raise ValueError(f"expires={expires} is no time to keep a reply for; 24 hours are usual")
    mark = IdempotentMark(required, expires)

    def stamp(view: V) -> V:
        return stamp_layers(view, ATTRIBUTE, mark)

    return stamp if view is None else stamp(view)


def idempotent_mark(view: Any) -> IdempotentMark | None:
    """Return the mark of a view, or None where there is none."""
    mark = getattr(view, ATTRIBUTE, None)
    return mark if isinstance(mark, IdempotentMark) else None
