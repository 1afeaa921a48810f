"""Limits of single operations: the size of their bodies and their time, where those of the settings do not fit.

The marks are collected when the app starts. The guard lets in what the largest of them allows, and holds a body that is
larger than the setting back until the route is known.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from quart import Quart, Request
from werkzeug.routing import Rule

from ligand_async.context import request_state
from ligand_async.errors import ContentTooLarge, Problem
from ligand_async.marks import owners_of
from ligand_async.tasks import NO_DEADLINE
from ligand_async.web.endpoint import Endpoint, Feature

_MARK = "_ligand_request_limits"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Mark:
    """The arguments of `request_limits`."""

    max_body_bytes: int | None
    timeout: float | None


def request_limits(*, max_body_bytes: int | None = None, timeout: float | None = None) -> Callable[[T], T]:
    """Give an operation its own limits in place of the settings `max_body_bytes`, `request_timeout` and `body_timeout`.

    A decorator of a view, of a class or of its methods, above or below the others. For a blueprint write
    `request_limits(timeout=60)(blueprint)`. The nearest one decides.

    Args:
        max_body_bytes: The largest body, in bytes, 1 or more. It may be larger than the setting.
        timeout: Seconds for the body and the work together, more than 0.

    Raises:
        TypeError: Neither is given, or the object has these limits already.
        ValueError: One is out of its range.
    """
    if max_body_bytes is None and timeout is None:
        raise TypeError("request_limits() takes max_body_bytes, timeout or both")
    if max_body_bytes is not None and (not _is_number(max_body_bytes, int) or max_body_bytes < 1):
        raise ValueError("max_body_bytes is a whole number of bytes, 1 or more")
    if timeout is not None and (not _is_number(timeout, int | float) or not 0 < timeout < float("inf")):
        raise ValueError("timeout is a number of seconds, more than 0")
    mark = _Mark(max_body_bytes, timeout)

    def stamp(marked: T) -> T:
        if _MARK in getattr(marked, "__dict__", {}):
            name = getattr(marked, "__qualname__", None) or getattr(marked, "name", marked)
            raise TypeError(f"{name} has two @request_limits; join them in one")
        setattr(marked, _MARK, mark)
        return marked

    return stamp


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _mark_of(app: Quart, endpoint: str, method: str) -> _Mark | None:
    """Return the nearest mark of a route, or None."""
    marks = (getattr(owner, _MARK, None) for _, owner in owners_of(app, endpoint, method))
    return next((mark for mark in marks if isinstance(mark, _Mark)), None)


class RouteLimits:
    """The limits of an app's routes, by endpoint and method.

    Attributes:
        largest: The largest body of any route, in bytes.
    """

    def __init__(self, marks: dict[tuple[str, str], _Mark], max_body_bytes: int) -> None:
        self._marks = marks
        self._default = max_body_bytes
        self.largest = max(max_body_bytes, *(mark.max_body_bytes or 0 for mark in marks.values()))

    def apply(self, request: Request) -> None:
        """Set the limits of the current request, now that its route is known and before its body is read.

        Raises:
            ContentTooLarge: Its `Content-Length` is larger.
        """
        mark = self._marks.get((request.endpoint or "", request.method))
        most = self._default if mark is None or mark.max_body_bytes is None else mark.max_body_bytes
        state = request_state()
        state.max_body_bytes = most
        if state.route_known is not None:
            state.route_known.set()
        allow: Callable[[int], None] = request.body.allow  # type: ignore[attr-defined]  # of our request class
        allow(most)
        request.max_content_length = most
        if mark is not None and mark.timeout is not None:
            request.body_timeout = mark.timeout  # type: ignore[assignment]  # Quart annotates whole seconds
            if state.deadline is not NO_DEADLINE:
                state.deadline.restart(mark.timeout)
        if request.routing_exception is None and (request.content_length or 0) > most:
            raise ContentTooLarge(f"the body may have {most} bytes", headers={"Connection": "close"})


def find_route_limits(app: Quart, max_body_bytes: int) -> RouteLimits | None:
    """Collect the marks of an app's routes; return None if there is none.

    Args:
        app: The app.
        max_body_bytes: The limit of routes without a mark.
    """
    marks = {
        (rule.endpoint, method): mark
        for rule in app.url_map.iter_rules()
        for method in ({"GET"} if rule.websocket else rule.methods or ())
        if (mark := _mark_of(app, rule.endpoint, method)) is not None
    }
    return RouteLimits(marks, max_body_bytes) if marks else None


def _find_mistakes(app: Quart, rule: Rule, handler: Callable[..., Any]) -> Iterator[str]:  # noqa: ARG001  (a Feature's)
    if rule.websocket and isinstance(getattr(handler, _MARK, None), _Mark):
        yield "is a websocket, which has no body and no end; remove @request_limits"


def _problems(endpoint: Endpoint) -> set[type[Problem]]:
    mark = _mark_of(endpoint.app, endpoint.name, endpoint.method)
    return set() if mark is None or mark.max_body_bytes is None else {ContentTooLarge}


def _describe(endpoint: Endpoint, described: dict[str, Any]) -> None:
    mark = _mark_of(endpoint.app, endpoint.name, endpoint.method)
    if mark is None:
        return
    words = []
    if mark.max_body_bytes is not None:
        words.append(f"The body may have {mark.max_body_bytes} bytes.")
    if mark.timeout is not None:
        words.append(f"A request may take {mark.timeout:g} seconds.")
    described["description"] = "\n\n".join(filter(None, (described["description"], " ".join(words))))


REQUEST_LIMITS = Feature(find_mistakes=_find_mistakes, problems=_problems, describe=_describe)
