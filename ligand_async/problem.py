"""A problem: what went wrong, in the words of RFC 9457. No I/O, no request."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar

from werkzeug import exceptions
from werkzeug.datastructures import Headers

PROBLEM_JSON = "application/problem+json"
RESERVED_MEMBERS = frozenset({"type", "title", "status", "detail", "instance", "errors", "request_id"})

# RFC 9110's names where the standard library's differ from one Python to the next.
TITLES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    418: "I'm a Teapot",
    422: "Unprocessable Content",
}


def title_of(status: int) -> str:
    """Return the reason phrase of a status code, the same on every Python version."""
    if status in TITLES:
        return TITLES[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown Error"


@dataclass(frozen=True, slots=True)
class InvalidPart:
    """One part of a request that was refused. It never holds the value that was sent.

    Exactly one of `pointer` (RFC 6901, into the body), `parameter` (path or query), `header` and `cookie` names it.
    """

    detail: str
    code: str
    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None
    cookie: str | None = None

    def document(self) -> dict[str, str]:
        """Return the members that are set."""
        names = ("detail", "pointer", "parameter", "header", "cookie", "code")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class Problem(exceptions.HTTPException):
    """An error that is answered with a problem document (RFC 9457).

    Raise it anywhere in a request: the transaction is rolled back and the client gets `application/problem+json`.
    A subclass sets `code` (the status, 400 to 599; 500 where it is silent) and, where RFC 9110's words do not suffice,
    `type` (a URI) and `title`.

    Args:
        detail: What happened this time, for a human; never a secret, never a value that was sent.
        errors: The parts of the request that were refused.
        headers: Response headers, such as `Retry-After`.
        **members: Extension members (RFC 9457 section 3.2), JSON values.

    Raises:
        TypeError: A member has a name that RFC 9457 or this framework reserves.
    """

    # None on this class alone, so that Quart files `@app.errorhandler(Problem)` under every status and not under one.
    code: int = None  # type: ignore[assignment]  # every instance has a status
    type: ClassVar[str] = "about:blank"
    title: ClassVar[str | None] = None

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[InvalidPart] = (),
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        reserved = RESERVED_MEMBERS.intersection(members)
        if reserved:
            raise TypeError(f"reserved problem members: {', '.join(sorted(reserved))}; choose other names")
        super().__init__(description=detail)
        self.description = detail  # not werkzeug's stock sentence where there is none
        if self.code is None:
            self.code = 500
        self.errors = tuple(errors)
        self.headers = Headers(headers or {})
        self.members = members

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self.code

    @property
    def detail(self) -> str | None:
        """What happened this time."""
        return self.description

    @property
    def name(self) -> str:
        """The title: the class's own, else the status's phrase."""
        return self.title or title_of(self.code)

    def document(self, *, instance: str | None = None, request_id: str | None = None) -> dict[str, Any]:
        """Return the problem document as JSON values."""
        document: dict[str, Any] = {"type": self.type, "title": self.name, "status": self.code}
        if self.description is not None:
            document["detail"] = self.description
        if instance is not None:
            document["instance"] = instance
        if request_id is not None:
            document["request_id"] = request_id
        if self.errors:
            document["errors"] = [part.document() for part in self.errors]
        return document | self.members

    def get_body(self, environ: Any = None, scope: Any = None) -> str:  # noqa: ARG002  (werkzeug's signature)
        """Return the document as JSON text: an app without our handlers still answers with it."""
        return json.dumps(self.document(), separators=(",", ":"))

    def get_headers(self, environ: Any = None, scope: Any = None) -> list[tuple[str, str]]:  # noqa: ARG002  (the same)
        """Return the response headers."""
        return [("Content-Type", PROBLEM_JSON), *self.headers.to_wsgi_list()]
