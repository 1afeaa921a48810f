"""Conditional requests (RFC 9110 sections 8.8 and 13): preconditions of a change, entity tags and 304 for reads."""

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any, Self, TypeVar

from pydantic import BaseModel
from quart import Quart, Request, Response, request
from quart.wrappers.response import DataBody
from sqlalchemy import MetaData, inspect, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.datastructures import ETags, Headers
from werkzeug.http import parse_date, parse_etags, remove_entity_headers
from werkzeug.routing import Rule

from ligand_async.annotations import members_of
from ligand_async.context import find_service, service_of
from ligand_async.data import (
    Digested,
    Origin,
    Timestamped,
    confirm_digests,
    digest,
    expect_digest,
    expect_version,
    is_flat,
    is_key_taken,
    origin_of,
    origin_of_entity,
)
from ligand_async.errors import PreconditionFailed, PreconditionRequired, Problem, title_of
from ligand_async.tasks import this_app
from ligand_async.web.endpoint import Endpoint, Feature, operation_of, stamp_layers, takes_session
from ligand_async.web.lists.page import Page
from ligand_async.web.request import has_field

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REQUIRING = frozenset({"PUT", "PATCH", "DELETE"})
_READS = frozenset({"GET", "HEAD"})
_TAGGED = frozenset({200, 201, 204})
_CONDITIONS = frozenset({b"if-match", b"if-none-match", b"if-unmodified-since", b"if-modified-since"})
_CHANGED = "the resource has been changed; read it again and decide anew"
_WEAK = (
    "If-Match has a weak entity tag (W/), which matches nothing; such a tag comes from a list, from a replica, or from "
    "a proxy that compresses responses. Send the strong tag that the service gave, or let the proxy leave it alone"
)
_EXISTS = "there is such a resource already"

IS_CONDITIONAL = "_ligand_conditional"  # the attribute of a marked view

V = TypeVar("V", bound=Callable[..., Any])


def conditional(view: V) -> V:
    """Let an operation change only the state that its caller has seen (RFC 9110 section 13).

    A decorator of an operation, a function or a method of a `MethodView`, above or below the others. The handler calls
    `check_preconditions(entity)` before it changes anything. If it does not, the request fails and nothing is
    committed. PUT, PATCH and DELETE without a precondition are answered 428, those that come too late 412.

    Raises:
        TypeError: The decorated object is not a function.
    """
    return stamp_layers(view, IS_CONDITIONAL, True)


def is_conditional(view: Any) -> bool:
    """Return whether a view, or the handler that it was made of, is decorated with `@conditional`."""
    return getattr(view, IS_CONDITIONAL, False) is True


def check_preconditions(entity: object | None) -> None:
    """Check the request's preconditions (RFC 9110 section 13) against the entity that is about to be changed.

    `If-Match` and `If-None-Match` are compared with the entity's version, `If-Unmodified-Since` with its `updated_at`.
    PUT, PATCH and DELETE need a precondition, unless the setting `require_preconditions` is off. If somebody else
    changes the entity between this call and the commit, the request is answered 412, too.

    Args:
        entity: The entity as it was loaded, before it is changed; None if it does not exist yet, for a PUT that
            creates.

    Raises:
        PreconditionFailed: The resource is in another state.
        PreconditionRequired: The request has no precondition.
        RuntimeError: The operation is not `@conditional`.
        TypeError: The entity has no version, or its version was not loaded.
    """
    preconditions = preconditions_var.get()
    if preconditions is None:
        raise RuntimeError("check_preconditions() works in a @conditional operation only; add @conditional to it")
    preconditions.check(entity)


preconditions_var: "ContextVar[_Preconditions | None]" = ContextVar("ligand_preconditions", default=None)


def expect_preconditions() -> "_Preconditions":
    """Return the preconditions of the current request, which is to a conditional operation."""
    required = service_of(this_app()).settings.require_preconditions
    return _Preconditions(_Conditions.of_headers(request.headers), request.method, required=required)


@dataclass(frozen=True, slots=True)
class _Selected:
    """The selected representation, which the conditions of a request are compared with.

    Attributes:
        tag: Its entity tag, without quotes; None if it is not known yet.
        weak: Whether that is a weak one.
        state: The beginning that all our strong tags for this resource at this version share; None without a version.
        changed_at: When the resource was last changed, if that is known.
    """

    tag: str | None = None
    weak: bool = False
    state: str | None = None
    changed_at: datetime | None = None

    @classmethod
    def of_origin(cls, origin: Origin, body: bytes | None = None) -> Self:
        """Make the tag of a stored entity from its version, its identity and a digest of the body, if there is one.

        The body is part of the tag because one version has several representations: other schemas, other callers, and
        nested entities that change by themselves.
        """
        state = f"{origin.version}-{origin.identity}"
        tag = f"{state}-{digest(body)}" if body else None
        return cls(tag, state=state, changed_at=origin.changed_at)

    def matches(self, tags: ETags) -> bool:
        """Compare strongly. Any representation of the version matches: it is the version that must not be lost."""
        return tags.star_tag or any(self.is_of_state(tag) or self.is_exactly(tag) for tag in tags.as_set() if tag)

    def is_known_to(self, tags: ETags) -> bool:
        """Compare weakly, and by the whole tag if there is one, because a cache answers with the body that it has."""
        known = {tag for tag in tags.as_set(include_weak=True) if tag}
        return tags.star_tag or (any(map(self.is_of_state, known)) if self.tag is None else self.tag in known)

    def is_of_state(self, tag: str) -> bool:
        """Return whether a tag is of the same resource and version."""
        return self.state is not None and (tag == self.state or tag.startswith(f"{self.state}-"))

    def is_exactly(self, tag: str) -> bool:
        """Return whether a tag is this very tag, and that is a strong one."""
        return not self.weak and tag == self.tag


@dataclass(frozen=True, slots=True)
class _Conditions:
    """The conditional headers of a request; None for one that is absent. A malformed date counts as absent.

    A header without a tag in it matches nothing, and so fails safely.
    """

    match: ETags | None = None
    none_match: ETags | None = None
    unmodified_since: datetime | None = None
    modified_since: datetime | None = None

    @classmethod
    def of_headers(cls, headers: Headers) -> Self:
        return cls(
            _tags_of(headers, "If-Match"),
            _tags_of(headers, "If-None-Match"),
            parse_date(headers.get("If-Unmodified-Since")),
            parse_date(headers.get("If-Modified-Since")),
        )

    def are_stale(self, selected: _Selected | None) -> bool:
        """Return whether step 1 or 2 of section 13.2.2 fails: the resource is not in the expected state."""
        if self.match is not None:
            return selected is None or not selected.matches(self.match)
        changed_at = selected.changed_at if selected is not None else None
        if self.unmodified_since is None or changed_at is None:
            return False
        return changed_at.replace(microsecond=0) > self.unmodified_since

    def are_weak(self) -> bool:
        """Return whether all tags of `If-Match` are weak, which match nothing (RFC 9110 section 13.1.1)."""
        return self.match is not None and not self.match.as_set() and bool(self.match.as_set(include_weak=True))

    def know(self, selected: _Selected | None) -> bool:
        """Return whether step 3 fails: a resource exists that should not, or the client has it already."""
        return self.none_match is not None and selected is not None and selected.is_known_to(self.none_match)

    def have_seen(self, selected: _Selected) -> bool:
        """Return whether step 3 or 4 fails for a read: the client has it already, by its tag or else by its date."""
        if self.none_match is not None or self.modified_since is None or selected.changed_at is None:
            return self.know(selected)
        return selected.changed_at.replace(microsecond=0) <= self.modified_since

    def pin(self, selected: _Selected | None) -> bool:
        """Return whether they name the state that a change is meant for, so that no other one is overwritten."""
        if self.match is not None or (self.none_match is not None and self.none_match.star_tag):
            return True
        return self.unmodified_since is not None and selected is not None and selected.changed_at is not None


def _tags_of(headers: Headers, name: str) -> ETags | None:
    """Parse a list of tags, which may come in several header fields. An empty tag is parsed as None."""
    fields = headers.getlist(name)
    return parse_etags(", ".join(fields).strip()) if fields else None


class PreconditionsUnchecked(RuntimeError):
    """A conditional operation did not call `check_preconditions`; its changes were rolled back."""


class _Preconditions:
    """The preconditions of one request to a conditional operation.

    Args:
        conditions: The conditional headers of the request.
        method: The method of the request.
        required: Whether PUT, PATCH and DELETE need a precondition.

    Attributes:
        entity: The entity that was checked, or None.
    """

    def __init__(self, conditions: _Conditions, method: str, *, required: bool) -> None:
        self.conditions = conditions
        self.method = method
        self.required = required and method in _REQUIRING
        self.begin()

    def begin(self) -> None:
        """Forget the entity: a unit of work may run again."""
        self.entity: object | None = None
        self._checked = False
        self._origin: Origin | None = None
        self._pinned = False

    def check(self, entity: object | None) -> None:
        """Compare the conditions with an entity, or with its absence."""
        origin = None if entity is None else _origin_to_check(entity)
        self.entity, self._origin, self._checked = entity, origin, True
        if self.method in SAFE_METHODS:
            return  # decided later: they are about the tag of the response
        selected = None if origin is None else _Selected.of_origin(origin)
        if self.conditions.are_stale(selected):
            raise PreconditionFailed(_WEAK if self.conditions.are_weak() else _CHANGED)
        if self.conditions.know(selected):
            raise PreconditionFailed(_EXISTS)
        self._pinned = self.conditions.pin(selected)
        if self._pinned and isinstance(entity, Digested) and origin is not None:
            expect_digest(entity, origin.version)
        elif self._pinned and entity is not None:
            expect_version(entity)
        if self.required and not self._pinned:
            raise PreconditionRequired(
                "name the state that you want to change: send If-Match with the ETag that you read"
            )

    def check_were_checked(self, handler: str) -> None:
        """Refuse to commit a change whose preconditions the handler did not check.

        Raises:
            PreconditionsUnchecked: It did not call `check_preconditions`.
        """
        if not self._checked and self.method not in SAFE_METHODS:
            raise PreconditionsUnchecked(
                f"{handler} is @conditional but did not call check_preconditions(); "
                "call it with the entity before you change it"
            )

    async def confirm(self, session: AsyncSession) -> None:
        """Compare the row in the database if no UPDATE has, because the handler changed only other rows.

        SQLite needs no comparison: this transaction has been its only writer since it began.

        Raises:
            PreconditionFailed: Another transaction has changed the entity since it was read.
        """
        entity, checked = self.entity, self._origin
        if checked is None or not self._pinned or session.get_bind().dialect.name == "sqlite":
            return
        if isinstance(entity, Digested):
            await confirm_digests(session)
            return
        now = origin_of_entity(entity)
        if now is None or now.version != checked.version:
            return
        mapper: Mapper[Any] = inspect(entity).mapper
        columns = [column for column in (*mapper.primary_key, mapper.version_id_col) if column is not None]
        values = [getattr(entity, mapper.get_property_by_column(column).key) for column in columns]
        same = (column == value for column, value in zip(columns, values, strict=True))
        if (await session.execute(select(*columns).where(*same).with_for_update(read=True))).first() is None:
            raise PreconditionFailed(_CHANGED)

    def problem_of(self, error: SQLAlchemyError, metadata: MetaData) -> PreconditionFailed | None:
        """Return the 412 of an error that means that another transaction came first; None for other errors."""
        if isinstance(error, StaleDataError):
            return PreconditionFailed(_CHANGED) if self._pinned else None
        created = self._pinned and self.entity is None
        if created and isinstance(error, IntegrityError) and is_key_taken(error, metadata):
            return PreconditionFailed(_EXISTS)
        return None


def _origin_to_check(entity: object) -> Origin:
    origin = origin_of_entity(entity)
    if origin is None:
        raise TypeError(
            f"check_preconditions() cannot read the version of this {type(entity).__name__}: pass an entity of a "
            "Versioned model, flushed and with its version and timestamps loaded, or of a Digested one with all its "
            "columns, or None if it does not exist yet"
        )
    return origin


def add_validators(response: Response, value: Any, current: Request, *, from_replica: bool) -> Response:
    """Add `ETag` and `Last-Modified` to a response; make it a 304 if the client has it (RFC 9110 section 13.2.2).

    The tag is strong if the value was read from one versioned entity, or if such an entity was checked. Other reads
    have a weak tag of the body. A tag that the handler has set stays, and a `no-store` response gets none.

    Args:
        response: A response of bytes that we made, or an empty one.
        value: What the handler returned.
        current: The request.
        from_replica: Whether it was read from a replica: that may be behind, so its tag is weak.

    Raises:
        PreconditionFailed: A precondition of a read fails.
    """
    has_tag = False
    for name, text in response.headers:
        match name.lower():
            case "cache-control" if "no-store" in text:
                return response
            case "etag":
                has_tag = True
    if has_tag:
        tag, weak = response.get_etag()
        selected = _Selected(tag, bool(weak), changed_at=response.last_modified)
    else:
        selected = _selected_by(response, value, current.method, from_replica=from_replica)
        if selected.tag is None:
            return response
        response.headers.add("ETag", f'W/"{selected.tag}"' if selected.weak else f'"{selected.tag}"')
        if selected.changed_at is not None and "Last-Modified" not in response.headers:
            response.last_modified = selected.changed_at
    if current.method in _READS and response.status_code == 200 and has_field(current, _CONDITIONS):
        return _answer_read(response, selected, current)
    return response


def _selected_by(response: Response, value: Any, method: str, *, from_replica: bool) -> _Selected:
    status = response.status_code
    if method == "DELETE" or status not in _TAGGED:
        return _Selected()
    body = response.response.data if isinstance(response.response, DataBody) else b""
    origin = None if from_replica else origin_of(value) or _origin_checked()
    if origin is not None:
        selected = _Selected.of_origin(origin, body)
        return replace(selected, tag=selected.state) if status == 204 else selected
    if method in _READS and status == 200 and body:
        return _Selected(digest(body), weak=True)
    return _Selected()


def _origin_checked() -> Origin | None:
    """Return the origin of the entity that the handler checked, without its date: the response may show more."""
    preconditions = preconditions_var.get()
    origin = None if preconditions is None else origin_of_entity(preconditions.entity)
    return None if origin is None else replace(origin, changed_at=None)


def _answer_read(response: Response, selected: _Selected, current: Request) -> Response:
    conditions = _Conditions.of_headers(current.headers)
    if conditions.are_stale(selected):
        raise PreconditionFailed(_WEAK if conditions.are_weak() else _CHANGED)
    if conditions.have_seen(selected):
        response.status_code = 304
        response.set_data(b"")
        remove_entity_headers(response.headers)
    return response


def _find_mistakes(app: Quart, rule: Rule, handler: Callable[..., Any]) -> Iterator[str]:
    if not is_conditional(handler):
        return
    operation = operation_of(handler)
    if operation is None:
        yield "has @conditional but not @operation; put both on the function or method that takes the request"
        return
    if not takes_session(app, operation, rule):
        yield "is @conditional but takes no session; the database decides, so add `session: AsyncSession`"
    if operation.session == "replica":
        yield 'is @conditional with session="replica"; a replica may be behind, so read from the primary'


_ETAG = {
    "description": "The entity tag of what is answered: send it as If-Match to change that, as If-None-Match to read "
    "it only if it has changed.",
    "schema": {"type": "string"},
}
_LAST_MODIFIED = {
    "description": "When what is answered was last changed, to the second (RFC 9110 section 8.8.2).",
    "schema": {"type": "string"},
}
_EXPECTED = {
    "If-Match": "Change the resource only if this is still its ETag.",
    "If-None-Match": "Create the resource only if there is none: `*`.",
    "If-Unmodified-Since": "Change the resource only if it is unchanged since this date (RFC 9110 section 5.6.7).",
}
_KNOWN = {"If-None-Match": "Read the resource only if this is not its ETag any more."}


def _success_headers(endpoint: Endpoint, status: int, shown: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Describe the headers of a success that has an entity tag (RFC 9110 section 8.8).

    Reads, conditional changes and responses that show one versioned entity have a tag, unless it was deleted. A
    response of nothing but columns of one entity can have the time of the last change.
    """
    if endpoint.operation is None or endpoint.method == "DELETE" or status not in _TAGGED:
        return
    members = members_of(shown)
    is_read = endpoint.method == "GET" and status == HTTPStatus.OK and bool(members)
    is_dated = any(_may_be_dated(member, stored=endpoint.takes_session) for member in members)
    if is_read or is_conditional(endpoint.handler) or is_dated or any(map(_is_versioned, members)):
        yield "ETag", _ETAG
    if is_dated:
        yield "Last-Modified", _LAST_MODIFIED


def _is_versioned(shown: Any) -> bool:
    """Return whether a schema is derived from a model that has versions or digests."""
    model = getattr(shown, "__ligand_model__", None)
    return model is not None and (model.__mapper__.version_id_col is not None or issubclass(model, Digested))


def _may_be_dated(shown: Any, *, stored: bool) -> bool:
    """Return whether a body may be nothing but columns of one entity that knows when it was changed.

    With a session (`stored`), a schema that is not derived from a model may be filled from any.
    """
    model = getattr(shown, "__ligand_model__", None)
    if model is not None:
        return _is_versioned(shown) and issubclass(model, Timestamped) and is_flat(shown, model.__mapper__)
    if shown is Any:
        return stored
    is_model = isinstance(shown, type) and issubclass(shown, BaseModel) and not issubclass(shown, Page)
    return stored and is_model and not shown.model_computed_fields


def _parameters(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    if is_conditional(endpoint.handler):
        headers = _KNOWN if endpoint.method == "GET" else _EXPECTED
        for name, text in headers.items():
            yield {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}


def _problems(endpoint: Endpoint) -> Iterator[type[Problem]]:
    if not is_conditional(endpoint.handler) or endpoint.method == "GET":
        return
    yield PreconditionFailed
    service = find_service(endpoint.app)
    required = service is None or service.settings.require_preconditions
    if required and endpoint.method in _REQUIRING:
        yield PreconditionRequired


def _describe(endpoint: Endpoint, described: dict[str, Any]) -> None:
    """Add 304 to a read that has an entity tag, with the headers that a client needs of it."""
    if endpoint.operation is None or endpoint.method != "GET":
        return
    responses = described["responses"]
    tagged = [one["headers"] for status, one in responses.items() if status < "4" and "ETag" in one.get("headers", {})]
    if tagged:
        kept = {name: header for name, header in tagged[-1].items() if name in {"ETag", "Link", "X-Pagination"}}
        response = {"description": title_of(304), "headers": dict(sorted(kept.items()))}
        described["responses"] = dict(sorted({"304": response, **responses}.items()))


CONDITIONAL = Feature(
    find_mistakes=_find_mistakes,
    parameters=_parameters,
    problems=_problems,
    headers=_success_headers,
    describe=_describe,
)
