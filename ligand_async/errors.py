"""Problems, the errors of RFC 9457: a class for each status that handlers raise, classes with a type, and `abort`.

Nothing here does I/O or needs a request. A problem has a type of its own (RFC 9457 section 3.1.1) where the phrase of
its status does not say enough.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, NoReturn

from werkzeug import exceptions
from werkzeug.datastructures import Headers

PROBLEM_JSON = "application/problem+json"
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""The headers that every response carries, unless a handler has set them; problems of the server itself too."""

RESERVED_MEMBERS = frozenset({"type", "title", "status", "detail", "instance", "errors", "request_id"})

# RFC 9110's names where the standard library's differ from one Python to the next.
TITLES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    418: "I'm a Teapot",
    422: "Unprocessable Content",
}

_UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


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

    One of `pointer` (RFC 6901, into the body), `parameter` (path or query), `header` and `cookie` names it;
    none does if it has no name, as a rule over several query parameters.
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
    A subclass sets `code` (the status, 400 to 599; 500 by default) and, where the phrase of the status does not say
    enough, `type` (a URI) and `title`.

    Args:
        detail: A sentence about this occurrence, for a human. Never a secret, never a value that was sent.
        errors: The parts of the request that were refused.
        headers: Response headers, such as `Retry-After`.
        **members: Extension members (RFC 9457 section 3.2), JSON values.

    Raises:
        TypeError: A member has a name that RFC 9457 or this framework reserves.
    """

    # None on this class alone, so that Quart files `@app.errorhandler(Problem)` under every status and not under one.
    code: int = None  # type: ignore[assignment]  # every instance has a status
    type: ClassVar[str] = "about:blank"
    title: str | None = None
    """A class's own title; an instance has one in any case, by default the phrase of its status."""
    request_id: str | None = None
    """The id of the request, once the problem is being answered."""

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
        self.title = self.title or title_of(self.code)
        self.errors = tuple(errors)
        self.headers = Headers(headers or {})
        self.members = members

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self.code

    @property
    def detail(self) -> str | None:
        """A sentence about this occurrence, or None."""
        return self.description

    @property
    def name(self) -> str:
        """The title: the class's own, else the status's phrase."""
        return self.title or title_of(self.code)

    def document(self, *, request_id: str | None = None) -> dict[str, Any]:
        """Return the problem document as JSON values.

        Args:
            request_id: The request's, if the problem has none yet. As a URN (RFC 9562) it is the `instance` too, if it
                is a UUID. The path is not: it is what the client sent, and that is not repeated.
        """
        request_id = request_id or self.request_id
        document: dict[str, Any] = {"type": self.type, "title": self.name, "status": self.code}
        if self.description is not None:
            document["detail"] = self.description
        if request_id is not None:
            if _UUID_TEXT.fullmatch(request_id):
                document["instance"] = f"urn:uuid:{request_id}"
            document["request_id"] = request_id
        if self.errors:
            document["errors"] = [part.document() for part in self.errors]
        return document | self.members

    def get_body(self, environ: Any = None, scope: Any = None) -> str:  # noqa: ARG002  (werkzeug's signature)
        """Return the document as JSON text: an app without our handlers still answers with it."""
        return problem_bytes(self).decode()

    def get_headers(self, environ: Any = None, scope: Any = None) -> list[tuple[str, str]]:  # noqa: ARG002  (the same)
        """Return the response headers."""
        return [("Content-Type", PROBLEM_JSON), *self.headers.to_wsgi_list()]


def problem_bytes(problem: Problem, *, request_id: str | None = None) -> bytes:
    """Return a problem document as JSON in UTF-8.

    Raises:
        TypeError: An extension member is not a JSON value.
        ValueError: The same, for numbers that are not finite.
    """
    document = problem.document(request_id=request_id)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


class BadRequest(Problem, exceptions.BadRequest):
    """The request is malformed (RFC 9110 section 15.5.1)."""

    code = 400


class Unauthorized(Problem, exceptions.Unauthorized):
    """The caller is not authenticated (RFC 9110 section 15.5.2). It needs a `WWW-Authenticate` header."""

    code = 401


class Forbidden(Problem, exceptions.Forbidden):
    """The caller is authenticated but may not do this (RFC 9110 section 15.5.4)."""

    code = 403


class NotFound(Problem, exceptions.NotFound):
    """The resource does not exist (RFC 9110 section 15.5.5)."""

    code = 404


class Conflict(Problem, exceptions.Conflict):
    """The request conflicts with the state of the resource (RFC 9110 section 15.5.10)."""

    code = 409


class Gone(Problem, exceptions.Gone):
    """The resource was deleted and will not come back (RFC 9110 section 15.5.11)."""

    code = 410


class PreconditionFailed(Problem, exceptions.PreconditionFailed):
    """The resource is not in the state that the request names (RFC 9110 section 15.5.13)."""

    code = 412


class ContentTooLarge(Problem, exceptions.RequestEntityTooLarge):
    """The body is larger than the service takes (RFC 9110 section 15.5.14)."""

    code = 413


class UnsupportedMediaType(Problem, exceptions.UnsupportedMediaType):
    """The body is not in a form that the operation reads (RFC 9110 section 15.5.16)."""

    code = 415


class UnprocessableContent(Problem, exceptions.UnprocessableEntity):
    """The request is well-formed but cannot be carried out (RFC 9110 section 15.5.21)."""

    code = 422


class PreconditionRequired(Problem, exceptions.PreconditionRequired):
    """The request needs a precondition such as `If-Match` (RFC 6585 section 3)."""

    code = 428


class TooManyRequests(Problem, exceptions.TooManyRequests):
    """The caller sends too many requests (RFC 6585 section 4)."""

    code = 429


class InternalServerError(Problem, exceptions.InternalServerError):
    """The service failed (RFC 9110 section 15.6.1)."""

    code = 500


class BadGateway(Problem, exceptions.BadGateway):
    """A service behind this one sent an invalid response (RFC 9110 section 15.6.3)."""

    code = 502


class ServiceUnavailable(Problem, exceptions.ServiceUnavailable):
    """The service is not available now (RFC 9110 section 15.6.4). It may have a `Retry-After` header."""

    code = 503


class GatewayTimeout(Problem, exceptions.GatewayTimeout):
    """A service behind this one did not respond in time (RFC 9110 section 15.6.5)."""

    code = 504


@functools.cache
def problem_class(status: int) -> type[Problem]:
    """Return the class of a status: one of those above, or one like them made for it.

    Each inherits werkzeug's exception of its status, if there is one, so that `@app.errorhandler(404)` handles both.

    Args:
        status: 400 to 599; any other number is a fault of the service and becomes a 500.
    """
    if not 400 <= status <= 599:
        return InternalServerError
    for known in Problem.__subclasses__():
        if known.__module__ == __name__ and known.code == status:
            return known
    theirs = exceptions.default_exceptions.get(status)
    name = "".join(character for character in title_of(status).title() if character.isalnum())
    return type(name, (Problem,) if theirs is None else (Problem, theirs), {"code": status})


def problem_for(status: int, detail: str | None = None, **members: Any) -> Problem:
    """Make the problem of a status code.

    Args:
        status: 400 to 599; any other number is a fault of the service and becomes a 500.
        detail: A sentence about this occurrence.
        **members: Extension members, and the options of `Problem`.
    """
    return problem_class(status)(detail, **members)


def abort(status: int, detail: str | None = None, **members: Any) -> NoReturn:
    """Stop the request with a problem.

    Args:
        status: Any error code of `http.HTTPStatus`, or another from 400 to 599.
        detail: A sentence about this occurrence.
        **members: Extension members (RFC 9457 section 3.2), and the options of `Problem`: `errors` and `headers`.

    Raises:
        Problem: Always.
        ValueError: The status is not from 400 to 599.
    """
    if not 400 <= status <= 599:
        raise ValueError(f"abort({status}): a problem has a status from 400 to 599; return other responses")
    raise problem_for(status, detail, **members)


PREFIX = "/problems/"
"""The service documents types with this prefix itself, each at its own address."""


class MalformedBody(BadRequest):
    """The body does not fit its media type, or two parsers would read it differently."""

    type = PREFIX + "malformed-body"
    title = "Malformed Body"


class ValidationFailed(UnprocessableContent):
    """The request does not fit its schema; `errors` names each part that was refused."""

    type = PREFIX + "validation"
    title = "Validation Failed"


class AlreadyExists(Conflict):
    """A row with these values exists already. `errors` names the fields."""

    type = PREFIX + "already-exists"
    title = "Already Exists"


class BrokenReference(Conflict):
    """The request refers to something that does not exist, or something still refers to what it would remove."""

    type = PREFIX + "broken-reference"
    title = "Broken Reference"


class ChangedMeanwhile(Conflict):
    """The resource was changed since it was read. Read it again."""

    type = PREFIX + "changed-meanwhile"
    title = "Changed Meanwhile"


class RequestInProgress(Conflict):
    """The same request is being served. Send it again after `Retry-After` seconds to get its reply."""

    type = PREFIX + "request-in-progress"
    title = "Request in Progress"


class IdempotencyKeyReused(UnprocessableContent):
    """Another request had this idempotency key. A new request needs a new key."""

    type = PREFIX + "idempotency-key-reused"
    title = "Idempotency Key Reused"


class PrincipalSessionTooLarge(ContentTooLarge):
    """The session that the service keeps for its caller would become too large. Remove something from it."""

    type = PREFIX + "principal-session-too-large"
    title = "Principal Session Too Large"


class PrincipalSessionUnavailable(ServiceUnavailable):
    """The session that the service keeps for its caller is not available. Try again after `Retry-After` seconds."""

    type = PREFIX + "principal-session-unavailable"
    title = "Principal Session Unavailable"


class Overloaded(ServiceUnavailable):
    """The service is busy with other requests and has not begun with this one. Send it again after `Retry-After`."""

    type = PREFIX + "overloaded"
    title = "Overloaded"


class DatabaseUnavailable(ServiceUnavailable):
    """The database is not available and nothing was changed. Send it again after `Retry-After` seconds."""

    type = PREFIX + "database-unavailable"
    title = "Database Unavailable"


class DatabaseTimeout(GatewayTimeout):
    """The database did not respond in time."""

    type = PREFIX + "database-timeout"
    title = "Database Timeout"


class DeadlineExceeded(GatewayTimeout):
    """The service did not finish within its time limit, and nothing was changed."""

    type = PREFIX + "deadline-exceeded"
    title = "Deadline Exceeded"


def documented_types() -> dict[str, type[Problem]]:
    """Return the problems whose types the service documents, its own too, by the type without the prefix."""
    found = {problem.type.removeprefix(PREFIX): problem for problem in _subclasses(Problem) if _is_documented(problem)}
    return dict(sorted(found.items()))


def _is_documented(problem: type[Problem]) -> bool:
    own: str = vars(problem).get("type", "")
    return own.startswith(PREFIX)


def _subclasses(problem: type[Problem]) -> Iterator[type[Problem]]:
    for below in problem.__subclasses__():
        yield below
        yield from _subclasses(below)
