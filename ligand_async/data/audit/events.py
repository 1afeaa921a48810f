"""One event of the audit trail: as it is kept, and as it is read."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import to_jsonable_python
from quart import has_request_context, has_websocket_context, request, websocket
from sqlalchemy import Row, inspect

from ligand_async.changes import Change
from ligand_async.context import current_operation_id, current_principal, current_request_id
from ligand_async.data.audit.redaction import hidden_columns, is_audited, redact
from ligand_async.data.audit.values import write_key, write_values
from ligand_async.principal import Principal


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What somebody did to one entity, or tried to do.

    Attributes:
        at: When, in UTC, by the database's clock.
        id: Its UUIDv7.
        subject: Who: the `sub` of the principal; None where nobody was authenticated, as outside requests.
        issuer: Who vouched for that.
        client_id: The application that was used.
        action: `insert`, `update`, `delete`; `access_denied`, `authentication_failed`; or a word of the service's own.
        entity: The name of the mapped class.
        key: The primary key: the value of its column, or a JSON array of several.
        old: What was there, as JSON: of an update the changed columns, of a delete all.
        new: What is there: of an update the changed columns, of an insert all.
        request_id: That of the request.
        operation_id: The operationId.
        client_address: Where the request came from.
    """

    at: datetime
    id: UUID
    subject: str | None
    issuer: str | None
    client_id: str | None
    action: str
    entity: str | None
    key: str | None
    old: dict[str, Any] | None
    new: dict[str, Any] | None
    request_id: str | None
    operation_id: str | None
    client_address: str | None

    @classmethod
    def of(cls, row: Row[Any]) -> "AuditEvent":
        """Return the event of a row of the table."""
        return cls(**row._mapping)

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        document: dict[str, Any] = to_jsonable_python(asdict(self))
        return document


def origin(principal: Principal | None = None) -> dict[str, Any]:
    """Return who is at work here and by which request, as columns of the table.

    Args:
        principal: Who it is, if that is known better than by the context.
    """
    principal = principal or current_principal()
    address = None
    if has_request_context():
        address = request.remote_addr
    elif has_websocket_context():
        address = websocket.remote_addr
    return {
        "subject": principal.subject if principal else None,
        "issuer": principal.issuer if principal else None,
        "client_id": principal.client_id if principal else None,
        "request_id": current_request_id(),
        "operation_id": current_operation_id(),
        "client_address": address,
    }


def columns_of_change(change: Change) -> dict[str, Any] | None:
    """Return a change as columns of the table, or None where the trail does not hold it.

    It holds no class that is left out, and no update of nothing but columns that are. An update of a private column
    is held without values.
    """
    mapper = inspect(change.entity_class)
    if not is_audited(mapper):
        return None
    hidden = hidden_columns(mapper)
    old, new = redact(change.old, hidden), redact(change.new, hidden)
    if change.action == "update" and not (old or new) and "private" not in hidden.values():
        return None
    return {
        "action": change.action,
        "entity": change.entity_type,
        "key": write_key(change.key),
        "old": None if change.action == "insert" else write_values(old),
        "new": None if change.action == "delete" else write_values(new),
    }
