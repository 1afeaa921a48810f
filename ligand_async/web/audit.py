"""The audit trail over HTTP."""

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
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("out of range in UTC") from error


_Moment = Annotated[AwareDatetime | None, AfterValidator(_in_utc)]


class _AuditQuery(PageParams):
    """The filters of the list, and the page."""

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
    subject: Annotated[str | None, Field(description="The caller who did it; null outside a request.")]
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

    It has no access decorator, so give it one, such as `requires(role("admin"))`: the trail shows who did what, and the
    old values.

    Args:
        audit: The trail.
        name: The blueprint's.
        url_prefix: Where it is mounted.
    """
    blueprint = Blueprint(name, __name__, url_prefix=url_prefix)
    blueprint.add_url_rule("/", "list_events", _make_list(audit))
    return blueprint


def _make_list(audit: AuditTrail) -> Callable[..., Any]:

    @operation
    async def list_events(query_args: _AuditQuery, session: AsyncSession) -> Page[AuditEventRead]:
        """List what was done, the newest first."""
        return await paginate(session, audit.select(query_args.asked()), query_args, into=AuditEventRead)

    return list_events
