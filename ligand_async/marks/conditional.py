"""Which operations change only what their caller has seen: what `conditional` says."""

from typing import Any

from ligand_async.marks.layers import V, stamp_layers

ATTRIBUTE = "_ligand_conditional"


def conditional(view: V) -> V:
    """Let an operation change only what its caller has seen (RFC 9110 section 13).

    A decorator of an operation, a function or a method of a `MethodView`, above or below the others. The handler calls
    `check_preconditions(entity)` before it changes anything; where it does not, nothing is committed. PUT, PATCH and
    DELETE without a precondition are answered 428, those that come too late 412.

    Raises:
        TypeError: What is marked is no function.
    """
    return stamp_layers(view, ATTRIBUTE, True)


def is_conditional(view: Any) -> bool:
    """Tell whether a view, or the handler that it was made of, is marked."""
    return getattr(view, ATTRIBUTE, False) is True
