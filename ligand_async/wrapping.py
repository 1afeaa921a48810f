"""What is behind a callable: the functions that decorators have put others around."""

from collections.abc import Iterator
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

from quart import Quart
from werkzeug.local import LocalProxy

OTHERS = (type, Quart, LocalProxy)  # can be called, and are put around nothing


def copied_from(function: Any) -> Iterator[Any]:
    """Yield a function and those behind it as far as `functools.wraps` tells."""
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        yield function
        function = getattr(function, "__dict__", {}).get("__wrapped__")


def behind(function: Any) -> Iterator[Any]:
    """Yield a function and all that it may call: what it wraps, what its closure and its attributes hold.

    A decorator that does without `functools.wraps` holds its function in one of these.
    """
    seen: set[int] = set()
    waiting = [function]
    while waiting:
        found = waiting.pop()
        if id(found) in seen or not callable(found) or isinstance(found, OTHERS):
            continue
        seen.add(id(found))
        yield found
        waiting += held_by(found)


def held_by(function: Any) -> Iterator[Any]:
    """Yield what a callable holds, whatever it is."""
    match function:
        case FunctionType():
            yield from map(content_of, function.__closure__ or ())
            yield function.__dict__.get("__wrapped__")
        case MethodType():
            yield function.__func__
        case partial():
            yield from (function.func, *function.args, *function.keywords.values())
        case _:
            yield from getattr(function, "__dict__", {}).values()


def content_of(cell: CellType) -> Any:
    """Return what a cell of a closure holds; None where it is still empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
