"""The Problem tree: a class for each status that handlers raise, and `abort` for all of them."""

import functools
from typing import Any, NoReturn

from werkzeug import exceptions

from ligand_async.problem import Problem, title_of


class BadRequest(Problem, exceptions.BadRequest):
    """The request is malformed (RFC 9110 section 15.5.1)."""

    code = 400


class Unauthorized(Problem, exceptions.Unauthorized):
    """Nobody was authenticated (RFC 9110 section 15.5.2); it needs a `WWW-Authenticate` header."""

    code = 401


class Forbidden(Problem, exceptions.Forbidden):
    """Whoever was authenticated may not do this (RFC 9110 section 15.5.4)."""

    code = 403


class NotFound(Problem, exceptions.NotFound):
    """There is no such resource (RFC 9110 section 15.5.5)."""

    code = 404


class Conflict(Problem, exceptions.Conflict):
    """The request conflicts with the state of the resource (RFC 9110 section 15.5.10)."""

    code = 409


class Gone(Problem, exceptions.Gone):
    """There was such a resource, and it will not come back (RFC 9110 section 15.5.11)."""

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
    """The request is well-formed, and means something that cannot be done (RFC 9110 section 15.5.21)."""

    code = 422


class PreconditionRequired(Problem, exceptions.PreconditionRequired):
    """The request must say which state it is about (RFC 6585 section 3)."""

    code = 428


class TooManyRequests(Problem, exceptions.TooManyRequests):
    """The caller asks too often (RFC 6585 section 4)."""

    code = 429


class InternalServerError(Problem, exceptions.InternalServerError):
    """The service failed (RFC 9110 section 15.6.1)."""

    code = 500


class BadGateway(Problem, exceptions.BadGateway):
    """A service behind this one gave a wrong answer (RFC 9110 section 15.6.3)."""

    code = 502


class ServiceUnavailable(Problem, exceptions.ServiceUnavailable):
    """The service cannot answer now (RFC 9110 section 15.6.4); it may have a `Retry-After` header."""

    code = 503


class GatewayTimeout(Problem, exceptions.GatewayTimeout):
    """A service behind this one gave no answer in time (RFC 9110 section 15.6.5)."""

    code = 504


@functools.cache
def problem_class(status: int) -> type[Problem]:
    """Return the problem of a status: the class above, else one of the same kind made for it.

    Each inherits werkzeug's exception of its status, where there is one: `@app.errorhandler(404)` means both.

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
        detail: What happened this time.
        **members: Extension members, and the options of `Problem`.
    """
    return problem_class(status)(detail, **members)


def abort(status: int, detail: str | None = None, **members: Any) -> NoReturn:
    """Stop the request with a problem.

    Args:
        status: Any error code of `http.HTTPStatus`, or another from 400 to 599.
        detail: What happened this time.
        **members: Extension members (RFC 9457 section 3.2), and the options of `Problem`: `errors` and `headers`.

    Raises:
        Problem: Always.
        ValueError: The status is no error's.
    """
    if not 400 <= status <= 599:
        raise ValueError(f"abort({status}): a problem has a status from 400 to 599; return other answers")
    raise problem_for(status, detail, **members)
