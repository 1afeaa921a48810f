"""Idempotent requests: a request that names a key is served once (draft-ietf-httpapi-idempotency-key-header)."""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, overload

from quart import Quart, Response, current_app, request
from quart.wrappers.response import DataBody
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncSession
from werkzeug.routing import Rule

from ligand_async.context import current_principal, service_of, state_of
from ligand_async.data import Database, Reply, find_reply, store_reply, try_lock
from ligand_async.errors import BadRequest, IdempotencyKeyReused, InvalidPart, Problem, RequestInProgress
from ligand_async.settings import is_field_name
from ligand_async.web.body import read_bytes
from ligand_async.web.endpoint import (
    RETRY_AFTER,
    Endpoint,
    Feature,
    add_headers,
    operation_of,
    stamp_layers,
    takes_session,
)
from ligand_async.web.inputs import Binding

_KEY = "Idempotency-Key"
_REPLAYED = "Idempotency-Replayed"
_MAX_KEY = 255  # characters
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')  # a String of RFC 9651
_PORT = re.compile(r":[0-9]+\Z")
_BARE = re.compile(r"[!#-+\--:<-~]+")
# Credentials are not for storing (RFC 6265, RFC 9110 section 11.6.3, RFC 8053).
_NOT_KEPT = frozenset(
    {"set-cookie", "authorization", "proxy-authorization", "authentication-info", "proxy-authentication-info"}
    | {"optional-www-authenticate", "authentication-control"}
)

_IDEMPOTENT = "_ligand_idempotent"

V = TypeVar("V", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class IdempotentMark:
    """The arguments of `idempotent`.

    Attributes:
        required: Whether a request must have a key.
        expires: How long a reply is kept.
        without_headers: The response headers that are not stored, in lower case, besides those of HTTP that hold
            credentials.
    """

    required: bool = False
    expires: timedelta = timedelta(hours=24)
    without_headers: frozenset[str] = frozenset()


@overload
def idempotent(view: V, /) -> V: ...
@overload
def idempotent(
    *, required: bool = False, expires: timedelta = ..., without_headers: Collection[str] = ...
) -> Callable[[V], V]: ...
def idempotent(
    view: Any = None,
    /,
    *,
    required: bool = False,
    expires: timedelta = timedelta(hours=24),
    without_headers: Collection[str] = (),
) -> Any:
    """Do the work of a POST or PATCH once, however often it is sent (draft-ietf-httpapi-idempotency-key-header).

    A decorator of an operation, a function or a method of a `MethodView`, above or below the others. The reply to a
    request with an `Idempotency-Key` is stored in the transaction of its work. If the same caller sends the same
    request again, it gets the stored reply.

    Args:
        view: The operation; without it, as in `@idempotent(required=True)`, a decorator is returned.
        required: Refuse requests without a key.
        expires: How long the reply is kept.
        without_headers: Response headers that hold credentials, such as `X-Upload-Token`. They are not stored, and a
            repeated reply does not have them. `Set-Cookie`, `Authorization` and the like are never stored.

    Raises:
        TypeError: The decorated object is not a function, or `without_headers` is one string.
        ValueError: `expires` is zero or negative, or a header's name is not one.
    """
    if expires <= timedelta():
        raise ValueError(f"expires={expires} must be longer than zero; 24 hours are usual")
    if isinstance(without_headers, str):
        raise TypeError(f"without_headers takes a list of names; write [{without_headers!r}]")
    for name in without_headers:
        if not is_field_name(name):
            raise ValueError(f"without_headers: {name!r} is not the name of a header, such as X-Upload-Token")
    mark = IdempotentMark(required, expires, frozenset(name.lower() for name in without_headers))

    def stamp(view: V) -> V:
        return stamp_layers(view, _IDEMPOTENT, mark)

    return stamp if view is None else stamp(view)


def idempotent_mark(view: Any) -> IdempotentMark | None:
    """Return the arguments of `idempotent` on a view, or None if it is not there."""
    mark = getattr(view, _IDEMPOTENT, None)
    return mark if isinstance(mark, IdempotentMark) else None


class _KeysInFlight(set[str]):
    """The keys of the requests that an app is serving."""


class _Attempt:
    """One request that names a key.

    Args:
        key: A digest of the caller, the host, the endpoint and the key.
        digest: A digest of the request itself.
        mark: The arguments of `idempotent`.
    """

    def __init__(self, key: str, digest: str, mark: IdempotentMark) -> None:
        self.key = key
        self.digest = digest
        self._expires = mark.expires
        self._not_kept = _NOT_KEPT | mark.without_headers

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Be the only request of this process with the key: others are refused before they take a connection.

        Raises:
            RequestInProgress: Another request with the key is being served.
        """
        keys = state_of(current_app).get_or_make(_KeysInFlight)
        if self.key in keys:
            raise _in_progress()
        keys.add(self.key)
        try:
            yield
        finally:
            keys.discard(self.key)

    async def find_reply(self, session: AsyncSession, database: Database) -> Response | None:
        """Return the stored reply, or None after locking the key until the commit: the work is to be done now.

        Raises:
            RequestInProgress: Another process has the key.
            IdempotencyKeyReused: The reply belongs to another request.
        """
        if not await try_lock(session, self.key):
            raise _in_progress()
        reply = await find_reply(session, _table_of(database), self.key)
        if reply is None:
            return None
        if reply.request != self.digest:
            part = InvalidPart("another request had this key", "idempotency_key_reused", header=_KEY)
            raise IdempotencyKeyReused("a new request needs a new idempotency key", errors=[part])
        response = current_app.response_class(reply.body, reply.status)
        response.headers.clear()
        response.headers.extend([*self._without_credentials(reply.headers), (_REPLAYED, "true")])
        return response

    async def keep_reply(self, session: AsyncSession, database: Database, response: Response) -> None:
        """Store the reply in the transaction of the work.

        Raises:
            RuntimeError: It is a stream, whose content does not exist yet.
        """
        if not isinstance(response.response, DataBody):
            raise RuntimeError("an @idempotent operation returned a stream, which cannot be stored; return a value")
        headers = self._without_credentials(response.headers)
        reply = Reply(self.digest, response.status_code, headers, response.response.data)
        await store_reply(session, _table_of(database), self.key, reply, expires=self._expires)

    def _without_credentials(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(name, value) for name, value in headers if name.lower() not in self._not_kept]


attempt_var: ContextVar[_Attempt | None] = ContextVar("ligand_attempt", default=None)


async def read_attempt(view: Any, binding: Binding) -> _Attempt | None:
    """Return the attempt of the current request, or None if its view is not idempotent or it names no key.

    The key belongs to a caller with the variables of its sessions, a host, an operation and a path. The request is all
    that the operation reads: the query string, the declared headers and cookies, the media type and the body.

    Args:
        view: The view.
        binding: What the operation and its services read.

    Raises:
        BadRequest: The key is malformed, or missing and required.
    """
    mark = idempotent_mark(view)
    if mark is None:
        return None
    name = _read_key(mark)
    if name is None:
        return None
    principal = current_principal()
    caller = [principal.issuer, principal.subject] if principal is not None else None
    content = [request.mimetype, hashlib.blake2b(await read_bytes()).hexdigest()]
    host = _PORT.sub("", request.host)  # which the guard has brought into its normal form
    place = [_variables_of_caller(), host, request.method, request.endpoint, request.path]
    declared = [
        request.query_string.hex(),
        [] if binding.headers is None else binding.headers.sent(request.headers),
        [] if binding.cookies is None else binding.cookies.sent(request.cookies),
    ]
    return _Attempt(_digest_of([caller, *place, name]), _digest_of([declared, content]), mark)


def _variables_of_caller() -> Mapping[str, str]:
    """Return the variables for row-level security: two tenants of one caller are two callers."""
    database = service_of(current_app).database
    return database.variables_of_caller() if isinstance(database, Database) else {}


def _read_key(mark: IdempotentMark) -> str | None:
    """Read the header: a quoted string, or the same without its quotes (many clients leave them out)."""
    field = request.headers.get(_KEY)
    if field is None:
        if mark.required:
            raise _refuse("is required", "missing")
        return None
    quoted = _QUOTED.fullmatch(field.strip())
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else field.strip()
    if not quoted and not _BARE.fullmatch(key):
        raise _refuse("is not a quoted string", "malformed")
    if len(key) > _MAX_KEY:
        raise _refuse(f"has more than {_MAX_KEY} characters", "too_long")
    return key


def _refuse(text: str, code: str) -> BadRequest:
    return BadRequest(f"the {_KEY} {text}", errors=[InvalidPart(text, code, header=_KEY)])


def _in_progress() -> RequestInProgress:
    return RequestInProgress("the same request is being served at the moment", headers={"Retry-After": "1"})


def _digest_of(parts: list[object]) -> str:
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=32).hexdigest()


def _table_of(database: Database) -> Table:
    if database.idempotency_key is None:
        raise RuntimeError("an @idempotent operation needs Database(Base, idempotency=True)")
    return database.idempotency_key


def _find_mistakes(app: Quart, rule: Rule, handler: Callable[..., Any]) -> Iterator[str]:
    if idempotent_mark(handler) is None:
        return
    operation = operation_of(handler)
    if operation is None:
        yield "has @idempotent but not @operation; put both on the function or method that takes the request"
        return
    view_class = getattr(app.view_functions[rule.endpoint], "view_class", None)
    methods = {
        method
        for method in (rule.methods or set()) - {"POST", "PATCH", "OPTIONS", "HEAD"}
        if view_class is None or getattr(view_class, method.lower(), None) is handler
    }
    if methods:
        yield f"is @idempotent but answers {', '.join(sorted(methods))}; only POST and PATCH need it"
    if not takes_session(app, operation, rule) or operation.session not in {None, "write"}:
        yield "is @idempotent but takes no session that writes; the reply is stored with the work, so add one"
    database = service_of(app).database
    if database is not None and database.idempotency_key is None:
        yield "is @idempotent but replies have no table; write Database(Base, idempotency=True) and a migration"


_PATTERN = rf'^("[ !#-\[\]-~]{{1,{_MAX_KEY}}}"|[!#-+\--:<-~]{{1,{_MAX_KEY}}})$'
_REPLAYED_HEADER = {
    "description": "There, and `true`, where the answer is that of an earlier request with the same key.",
    "schema": {"type": "string", "enum": ["true"]},
}


def _parameters(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    mark = idempotent_mark(endpoint.handler)
    if mark is not None:
        text = "Names this request: sent again with the same key, it is answered again and not served again. "
        text += "A quoted string, such as a new UUID for each request."  # an example would be sent by the docs page
        schema = {"type": "string", "pattern": _PATTERN}
        yield {"name": _KEY, "in": "header", "required": mark.required, "description": text, "schema": schema}


def _problems(endpoint: Endpoint) -> set[type[Problem]]:
    """Return the errors of a key: malformed or missing, in use, or of another request."""
    is_marked = idempotent_mark(endpoint.handler) is not None
    return {BadRequest, RequestInProgress, IdempotencyKeyReused} if is_marked else set()


def _success_headers(endpoint: Endpoint, status: int, shown: Any) -> Iterator[tuple[str, dict[str, Any]]]:  # noqa: ARG001  (a Feature's)
    if idempotent_mark(endpoint.handler) is not None:
        yield _REPLAYED, _REPLAYED_HEADER


def _describe(endpoint: Endpoint, described: dict[str, Any]) -> None:
    responses = described["responses"]
    if idempotent_mark(endpoint.handler) is not None and "409" in responses:
        responses["409"] = add_headers(responses["409"], {"Retry-After": RETRY_AFTER})


IDEMPOTENCY = Feature(
    find_mistakes=_find_mistakes,
    parameters=_parameters,
    problems=_problems,
    headers=_success_headers,
    describe=_describe,
)
