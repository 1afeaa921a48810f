"""The audit trail over HTTP, for those who may read it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field
from quart import Blueprint
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.data.audit import AuditTrail, EventFilter
from ligand_async.web.lists.page import Page
from ligand_async.web.lists.paginate import paginate
from ligand_async.web.lists.params import PageParams
from ligand_async.web.operation import operation

_Text = Annotated[str | None, Field(max_length=1024)]


def _in_utc(moment: datetime | None) -> datetime | None:
    """Return a moment in UTC, as the trail has it.

    Raises:
        ValueError: It is before the year 1 or after 9999 there.
    """
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("no moment in UTC") from error


_Moment = Annotated[AwareDatetime | None, AfterValidator(_in_utc)]


class _AuditQuery(PageParams):
    """Which events, and which page of them."""

    entity: Annotated[_Text, Field(description="Only of entities of this class.", examples=["Pet"])] = None
    key: Annotated[_Text, Field(description="Only of this primary key; of several columns a JSON array.")] = None
    principal: Annotated[_Text, Field(description="Only what this subject did.")] = None
    action: Annotated[_Text, Field(description="Only this.", examples=["update"])] = None
    since: Annotated[_Moment, Field(description="Only from this moment on.")] = None
    until: Annotated[_Moment, Field(description="Only before this moment.")] = None

    def asked(self) -> EventFilter:
        """Return which events are asked for."""
        return EventFilter(**self.model_dump(include=set(EventFilter.__dataclass_fields__)))


class AuditEventRead(BaseModel):
    """One event of the audit trail."""

    id: UUID
    at: datetime
    subject: Annotated[str | None, Field(description="Who did it; nobody where it was no request.")]
    issuer: str | None
    client_id: str | None
    action: str
    entity: str | None
    key: str | None
    old: Annotated[dict[str, Any] | None, Field(description="What was there: of an update what changed.")]
    new: Annotated[dict[str, Any] | None, Field(description="What is there since: of an update what changed.")]
    request_id: str | None
    operation_id: str | None
    client_address: str | None


def make_audit_blueprint(audit: AuditTrail, *, name: str = "audit", url_prefix: str = "/audit") -> Blueprint:
    """Make the blueprint of a trail: `GET /audit/`, the newest event first.

    It carries no mark of who may read it. Give it one: the trail tells who did what, and what was there before.

    Args:
        audit: The trail.
        name: The blueprint's.
        url_prefix: Where it is mounted.
    """
    blueprint = Blueprint(name, __name__, url_prefix=url_prefix)
    blueprint.add_url_rule("/", "list_events", _make_list(audit))
    return blueprint


def _make_list(audit: AuditTrail) -> Callable[..., Any]:
    """Make the view of the list of a trail's events."""

    @operation
    async def list_events(query_args: _AuditQuery, session: AsyncSession) -> Page[AuditEventRead]:
        """List what was done, the newest first."""
        return await paginate(session, audit.select(query_args.asked()), query_args, into=AuditEventRead)

    return list_events
