"""Conditional requests (RFC 9110 sections 8.8 and 13): preconditions of a change, validators of an answer."""

from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from quart import Response, current_app, request
from quart.wrappers.response import DataBody
from sqlalchemy import MetaData, inspect, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.datastructures import ETags, Headers
from werkzeug.http import parse_date, parse_etags, remove_entity_headers

from ligand_async.context import service_of
from ligand_async.data import Origin, digest, is_key_taken, origin_of, origin_of_entity
from ligand_async.errors import PreconditionFailed, PreconditionRequired


@dataclass(frozen=True, slots=True)
class _Selected:
    """What conditions are compared with: the selected representation.

    Attributes:
        tag: Its entity tag, without quotes; None where it is not known yet.
        weak: Whether that is a weak one.
        state: What every strong tag of ours begins with for this resource at this version; None where there is none.
        changed_at: When the resource was last changed, if that is known.
    """

    tag: str | None = None
    weak: bool = False
    state: str | None = None
    changed_at: datetime | None = None

    @classmethod
    def of_origin(cls, origin: Origin, body: bytes | None = None) -> Self:
        """Make it of a stored thing: its version, which thing it is, and a digest of the body where there is one.

        The body is part of the tag because one version has several representations: of other schemas, for other
        callers, with something nested that changes by itself.
        """
        state = f"{origin.version}-{origin.identity}"
        tag = f"{state}-{digest(body)}" if body else None
        return cls(tag, state=state, changed_at=origin.changed_at)

    def matches(self, tags: ETags) -> bool:
        """Compare strongly. Any representation of the version counts: it is the version that is not to be lost."""
        return tags.star_tag or any(self.is_of_state(tag) or self.is_exactly(tag) for tag in tags.as_set() if tag)

    def is_known_to(self, tags: ETags) -> bool:
        """Compare weakly; the whole tag where there is one, because a cache answers with what it has."""
        known = {tag for tag in tags.as_set(include_weak=True) if tag}
        return tags.star_tag or (any(map(self.is_of_state, known)) if self.tag is None else self.tag in known)

    def is_of_state(self, tag: str) -> bool:
        """Tell whether a tag is of the same resource and version."""
        return self.state is not None and (tag == self.state or tag.startswith(f"{self.state}-"))

    def is_exactly(self, tag: str) -> bool:
        """Tell whether a tag is this strong one."""
        return not self.weak and tag == self.tag


@dataclass(frozen=True, slots=True)
class _Conditions:
    """The conditional headers of a request, None where one is absent; dates that are none count as absent.

    A header that is there and holds no tag matches nothing, and so fails safely.
    """

    match: ETags | None = None
    none_match: ETags | None = None
    unmodified_since: datetime | None = None
    modified_since: datetime | None = None

    @classmethod
    def of_headers(cls, headers: Headers) -> Self:
        """Read them."""
        return cls(
            _tags_of(headers, "If-Match"),
            _tags_of(headers, "If-None-Match"),
            parse_date(headers.get("If-Unmodified-Since")),
            parse_date(headers.get("If-Modified-Since")),
        )

    def are_stale(self, selected: _Selected | None) -> bool:
        """Tell whether steps 1 and 2 of section 13.2.2 fail: the resource is not what the client takes it for."""
        if self.match is not None:
            return selected is None or not selected.matches(self.match)
        changed_at = selected.changed_at if selected is not None else None
        if self.unmodified_since is None or changed_at is None:
            return False
        return changed_at.replace(microsecond=0) > self.unmodified_since

    def know(self, selected: _Selected | None) -> bool:
        """Tell whether step 3 fails: there is something that must not be there, or that the client has."""
        return self.none_match is not None and selected is not None and selected.is_known_to(self.none_match)

    def have_seen(self, selected: _Selected) -> bool:
        """Tell whether step 3 or 4 fails for a read: the client has it, by its tag or else by its date."""
        if self.none_match is not None or self.modified_since is None or selected.changed_at is None:
            return self.know(selected)
        return selected.changed_at.replace(microsecond=0) <= self.modified_since

    def pin(self, selected: _Selected | None) -> bool:
        """Tell whether they say which state a change is meant for, so that no other one is overwritten."""
        if self.match is not None or (self.none_match is not None and self.none_match.star_tag):
            return True
        return self.unmodified_since is not None and selected is not None and selected.changed_at is not None


def _tags_of(headers: Headers, name: str) -> ETags | None:
    """Parse a list of tags, which may come in several header fields. An empty tag is None in it."""
    fields = headers.getlist(name)
    return parse_etags(", ".join(fields).strip()) if fields else None


SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
REQUIRING = frozenset({"PUT", "PATCH", "DELETE"})
_CHANGED = "the resource has been changed; read it again and decide anew"
_EXISTS = "there is such a resource already"


class PreconditionsUnchecked(RuntimeError):
    """A conditional operation ended without having asked; nothing of it was kept."""


class _Preconditions:
    """The preconditions of one request to a conditional operation.

    Args:
        conditions: The request's.
        method: The request's.
        required: Whether PUT, PATCH and DELETE need one.

    Attributes:
        entity: What was checked, or None.
    """

    def __init__(self, conditions: _Conditions, method: str, *, required: bool) -> None:
        self.conditions = conditions
        self.method = method
        self.required = required and method in REQUIRING
        self.begin()

    def begin(self) -> None:
        """Begin anew: a unit of work may run again."""
        self.entity: object | None = None
        self._checked = False
        self._origin: Origin | None = None
        self._pinned = False

    def check(self, entity: object | None) -> None:
        """Compare them with an entity, or with nothing."""
        origin = None if entity is None else _origin_to_check(entity)
        self.entity, self._origin, self._checked = entity, origin, True
        if self.method in SAFE_METHODS:
            return  # decided on the answer, whose tag they are about
        selected = None if origin is None else _Selected.of_origin(origin)
        if self.conditions.are_stale(selected):
            raise PreconditionFailed(_CHANGED)
        if self.conditions.know(selected):
            raise PreconditionFailed(_EXISTS)
        self._pinned = self.conditions.pin(selected)
        if self.required and not self._pinned:
            raise PreconditionRequired("say which state is meant to be changed: If-Match, with the ETag that you read")

    def check_were_checked(self, handler: str) -> None:
        """Refuse to commit a change whose preconditions nobody looked at.

        Raises:
            PreconditionsUnchecked: It is one.
        """
        if not self._checked and self.method not in SAFE_METHODS:
            raise PreconditionsUnchecked(
                f"{handler} is @conditional and never called check_preconditions(); "
                "call it with the entity that is changed, before changing it"
            )

    async def confirm(self, session: AsyncSession) -> None:
        """Let the database decide where the handler wrote nothing to the entity itself, so that no UPDATE compared.

        SQLite has one writer, which is this transaction since it began.

        Raises:
            PreconditionFailed: Somebody else has changed it since it was read.
        """
        entity, checked = self.entity, self._origin
        if checked is None or not self._pinned or session.get_bind().dialect.name == "sqlite":
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
        """Return what an error of the database means here: somebody else came first. None for all other errors."""
        if isinstance(error, StaleDataError):
            return PreconditionFailed(_CHANGED) if self._pinned else None
        created = self._pinned and self.entity is None
        if created and isinstance(error, IntegrityError) and is_key_taken(error, metadata):
            return PreconditionFailed(_EXISTS)
        return None


preconditions_var: ContextVar[_Preconditions | None] = ContextVar("ligand_preconditions", default=None)


def expect_preconditions() -> _Preconditions:
    """Begin the preconditions of the current request, which is to a conditional operation."""
    required = service_of(current_app._get_current_object()).settings.require_preconditions  # type: ignore[attr-defined]  # a LocalProxy
    return _Preconditions(_Conditions.of_headers(request.headers), request.method, required=required)


def check_preconditions(entity: object | None) -> None:
    """Check the request's preconditions (RFC 9110 section 13) against what it is about to change.

    `If-Match` and `If-None-Match` are compared with the entity's version, `If-Unmodified-Since` with its `updated_at`.
    PUT, PATCH and DELETE need a precondition, unless the setting `require_preconditions` says otherwise. From then on
    the database decides: when somebody else changes the entity before the commit, that is a 412, too.

    Args:
        entity: As it was loaded, before it is changed; None where there is nothing yet, for a PUT that creates.

    Raises:
        PreconditionFailed: The resource is in another state.
        PreconditionRequired: The request names no state.
        RuntimeError: The operation is not `@conditional`.
        TypeError: The entity has no version, or its version was not loaded.
    """
    preconditions = preconditions_var.get()
    if preconditions is None:
        raise RuntimeError("check_preconditions() works in an operation that is marked @conditional; mark the handler")
    preconditions.check(entity)


def _origin_to_check(entity: object) -> Origin:
    """Return the origin of an entity that is checked.

    Raises:
        TypeError: It has none.
    """
    origin = origin_of_entity(entity)
    if origin is None:
        raise TypeError(
            f"check_preconditions() cannot tell the version of this {type(entity).__name__}: it takes an entity of a "
            "Versioned model as the database has it, with version and timestamps loaded; None where there is none yet"
        )
    return origin


_READS = frozenset({"GET", "HEAD"})
TAGGED = frozenset({200, 201, 204})


def validate(response: Response, value: Any, *, from_replica: bool) -> Response:
    """Add validators to an answer, and answer 304 where the client has it (RFC 9110 section 13.2.2).

    A strong tag where the value was read from one versioned thing, or such a thing was checked; on other reads a weak
    one of the body. A tag that the handler set stays, and what it sets to `no-store` gets none.

    Args:
        response: Made by us of bytes, or empty.
        value: What the handler returned.
        from_replica: Whether it was read from one: that may be behind, so its tag must not serve as a precondition.

    Raises:
        PreconditionFailed: A precondition of a read is not fulfilled.
    """
    if "no-store" in response.headers.get("Cache-Control", ""):
        return response
    if "ETag" in response.headers:
        tag, weak = response.get_etag()
        selected = _Selected(tag, bool(weak), changed_at=response.last_modified)
    else:
        selected = _selected_by(response, value, from_replica=from_replica)
        if selected.tag is None:
            return response
        response.set_etag(selected.tag, selected.weak)
        if selected.changed_at is not None and "Last-Modified" not in response.headers:
            response.last_modified = selected.changed_at
    if request.method in _READS and response.status_code == 200:
        return _answer_read(response, selected)
    return response


def _selected_by(response: Response, value: Any, *, from_replica: bool) -> _Selected:
    """Return what represents an answer; without a tag where it gets none."""
    status, method = response.status_code, request.method
    if method == "DELETE" or status not in TAGGED:
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
    """Return the origin of the entity that the handler checked; what else the answer shows, nobody knows."""
    preconditions = preconditions_var.get()
    origin = None if preconditions is None else origin_of_entity(preconditions.entity)
    return None if origin is None else replace(origin, changed_at=None)


def _answer_read(response: Response, selected: _Selected) -> Response:
    """Answer a read with what was made for it, or with 304 (RFC 9110 section 15.4.5).

    Raises:
        PreconditionFailed: It asks for another state.
    """
    conditions = _Conditions.of_headers(request.headers)
    if conditions.are_stale(selected):
        raise PreconditionFailed(_CHANGED)
    if conditions.have_seen(selected):
        response.status_code = 304
        response.set_data(b"")
        remove_entity_headers(response.headers)
    return response
