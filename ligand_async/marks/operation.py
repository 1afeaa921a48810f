"""What `@operation` promises about a handler."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from ligand_async.problem import Problem

SessionMode = Literal["read", "write", "snapshot", "replica"]

ATTRIBUTE = "_ligand_operation"


@dataclass(frozen=True, slots=True)
class OperationMark:
    """What `@operation` promises about a handler.

    Attributes:
        status: The status of success.
        raises: Problems that the handler raises itself.
        location: The endpoint that the `Location` header of success names.
        session: The session's mode, or None for the method's default.
        retry_safe: Whether a failed serialization may run the handler again.
        response_type: What success is made of, `None` for an empty answer, `Response` for one made by hand.
        cookies_model: What is read from cookies.
        body_media_types: What the body may be sent as; empty when there is no body.
    """

    status: int
    raises: tuple[type[Problem], ...] = ()
    location: str | None = None
    session: SessionMode | None = None
    retry_safe: bool = False
    response_type: Any = None
    cookies_model: type[BaseModel] | None = None
    body_media_types: tuple[str, ...] = ()


def stamp_operation(view: Callable[..., Any], mark: OperationMark) -> None:
    """Put the mark on a view."""
    setattr(view, ATTRIBUTE, mark)


def operation_mark(view: Callable[..., Any]) -> OperationMark | None:
    """Return the mark of a view, or None where there is none."""
    mark = getattr(view, ATTRIBUTE, None)
    return mark if isinstance(mark, OperationMark) else None
