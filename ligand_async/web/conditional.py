"""Preconditions of a change: checked against what is stored, and decided by the database."""

from contextvars import ContextVar
from typing import Any

from quart import current_app, request
from sqlalchemy import MetaData, inspect, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.exc import StaleDataError

from ligand_async.context import service_of
from ligand_async.data.errors import is_key_taken
from ligand_async.data.versions import Origin, origin_of_entity
from ligand_async.errors import PreconditionFailed, PreconditionRequired
from ligand_async.web.conditions import Conditions, Selected

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
REQUIRING = frozenset({"PUT", "PATCH", "DELETE"})
CHANGED = "the resource has been changed; read it again and decide anew"
EXISTS = "there is such a resource already"


class PreconditionsUnchecked(RuntimeError):
    """A conditional operation ended without having asked; nothing of it was kept."""


class Preconditions:
    """The preconditions of one request to a conditional operation.

    Args:
        conditions: The request's.
        method: The request's.
        required: Whether PUT, PATCH and DELETE need one.

    Attributes:
        entity: What was checked, or None.
    """

    def __init__(self, conditions: Conditions, method: str, *, required: bool) -> None:
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
        origin = None if entity is None else origin_to_check(entity)
        self.entity, self._origin, self._checked = entity, origin, True
        if self.method in SAFE_METHODS:
            return  # decided on the answer, whose tag they are about
        selected = None if origin is None else Selected.of_origin(origin)
        if self.conditions.are_stale(selected):
            raise PreconditionFailed(CHANGED)
        if self.conditions.know(selected):
            raise PreconditionFailed(EXISTS)
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
            raise PreconditionFailed(CHANGED)

    def problem_of(self, error: SQLAlchemyError, metadata: MetaData) -> PreconditionFailed | None:
        """Return what an error of the database means here: somebody else came first. None for all other errors."""
        if isinstance(error, StaleDataError):
            return PreconditionFailed(CHANGED) if self._pinned else None
        created = self._pinned and self.entity is None
        if created and isinstance(error, IntegrityError) and is_key_taken(error, metadata):
            return PreconditionFailed(EXISTS)
        return None


preconditions_var: ContextVar[Preconditions | None] = ContextVar("ligand_preconditions", default=None)


def expect_preconditions() -> Preconditions:
    """Begin the preconditions of the current request, which is to a conditional operation."""
    required = service_of(current_app._get_current_object()).settings.require_preconditions  # type: ignore[attr-defined]  # a LocalProxy
    return Preconditions(Conditions.of_headers(request.headers), request.method, required=required)


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


def origin_to_check(entity: object) -> Origin:
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
