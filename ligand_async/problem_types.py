"""The problems that have a type of their own (RFC 9457 section 3.1.1): where the words of a status do not suffice."""

from collections.abc import Iterator

from ligand_async.errors import BadRequest, Conflict, GatewayTimeout, ServiceUnavailable, UnprocessableContent
from ligand_async.problem import Problem

PREFIX = "/problems/"
"""Types that begin so are documented by the service itself, each at its own address."""


class MalformedBody(BadRequest):
    """The body is not what its media type says, or two parsers would read it differently."""

    type = PREFIX + "malformed-body"
    title = "Malformed Body"


class ValidationFailed(UnprocessableContent):
    """The request does not fit its schema; `errors` names each part that was refused."""

    type = PREFIX + "validation"
    title = "Validation Failed"


class AlreadyExists(Conflict):
    """Something with these values is stored already; `errors` names the fields."""

    type = PREFIX + "already-exists"
    title = "Already Exists"


class BrokenReference(Conflict):
    """The request refers to something that does not exist, or something still refers to what it would remove."""

    type = PREFIX + "broken-reference"
    title = "Broken Reference"


class ChangedMeanwhile(Conflict):
    """Somebody else changed the resource since it was read: read it again."""

    type = PREFIX + "changed-meanwhile"
    title = "Changed Meanwhile"


class RequestInProgress(Conflict):
    """The same request is being served at the moment: ask again as `Retry-After` says, and get its reply."""

    type = PREFIX + "request-in-progress"
    title = "Request in Progress"


class IdempotencyKeyReused(UnprocessableContent):
    """Another request had this idempotency key: a new request needs a new one."""

    type = PREFIX + "idempotency-key-reused"
    title = "Idempotency Key Reused"


class DatabaseUnavailable(ServiceUnavailable):
    """The database cannot do the work now, and nothing was changed: come back as `Retry-After` says."""

    type = PREFIX + "database-unavailable"
    title = "Database Unavailable"


class DatabaseTimeout(GatewayTimeout):
    """The database did not answer in time."""

    type = PREFIX + "database-timeout"
    title = "Database Timeout"


class DeadlineExceeded(GatewayTimeout):
    """The service did not finish within its time limit, and nothing was changed."""

    type = PREFIX + "deadline-exceeded"
    title = "Deadline Exceeded"


def documented_types() -> dict[str, type[Problem]]:
    """Return every problem whose type this service documents, by what follows the prefix; a service's own too."""
    found = {problem.type.removeprefix(PREFIX): problem for problem in subclasses(Problem) if is_documented(problem)}
    return dict(sorted(found.items()))


def is_documented(problem: type[Problem]) -> bool:
    """Tell whether a problem says itself that it has a type here."""
    own: str = vars(problem).get("type", "")
    return own.startswith(PREFIX)


def subclasses(problem: type[Problem]) -> Iterator[type[Problem]]:
    """Walk all classes below one."""
    for below in problem.__subclasses__():
        yield below
        yield from subclasses(below)
