"""The layers of a handler: what decorators have put around an operation."""

from collections.abc import Callable
from typing import Any, TypeVar

from ligand_async.marks.operation import operation_mark

V = TypeVar("V", bound=Callable[..., Any])


def stamp_layers(view: V, attribute: str, mark: Any) -> V:
    """Stamp a handler, and the operation below the decorators that may be in between.

    Raises:
        TypeError: It is none.
    """
    if not callable(view) or isinstance(view, type):
        name = attribute.removeprefix("_ligand_")
        raise TypeError(f"@{name} marks single handlers; put it on the functions and methods that change something")
    layer: Any = view
    while True:
        setattr(layer, attribute, mark)
        below = getattr(layer, "__wrapped__", None)
        if below is None or operation_mark(below) is None:
            return view
        layer = below
