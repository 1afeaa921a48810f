"""Events of the audit trail: as they are kept, redacted, asked for and read."""

import json
import math
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from quart import has_request_context, has_websocket_context, request, websocket
from sqlalchemy import ARRAY, JSON, Column, Row, Select, Table, inspect, select
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeDecorator, TypeEngine

from ligand_async.context import current_operation_id, current_principal, current_request_id
from ligand_async.data.changes import PRIVATE, Change
from ligand_async.json_values import is_finite
from ligand_async.principal import Principal


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One action on an entity, or an attempt.

    Attributes:
        at: The time of it, in UTC, by the database's clock.
        id: Its UUIDv7.
        subject: The `sub` of the principal; None without a principal, as outside requests.
        issuer: The issuer of the principal.
        client_id: The application that was used.
        action: `insert`, `update`, `delete`; `access_denied`, `authentication_failed`; or a word of the service's own.
        entity: The name of the mapped class.
        key: The primary key: the value of its column, or a JSON array of several.
        old: The values before, as JSON: of an update the changed columns, of a delete all.
        new: The values after: of an update the changed columns, of an insert all.
        request_id: That of the request.
        operation_id: The operationId.
        client_address: The address that the request came from.
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
    """Return the principal and the request, as columns of the table.

    Args:
        principal: The principal, if it is not that of the context.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Selects events that match every given attribute.

    Attributes:
        entity: The name of a mapped class.
        key: A primary key, written as the trail writes it.
        principal: The subject of the principal.
        action: The action.
        since: The first moment, included.
        until: The last moment, not included.
    """

    entity: str | None = None
    key: str | None = None
    principal: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def select(self, table: Table) -> Select[Any]:
        """Return the statement of the events, in no order."""
        statement = select(*table.c)
        for column, value in (
            (table.c.entity, self.entity),
            (table.c.key, self.key),
            (table.c.subject, self.principal),
            (table.c.action, self.action),
        ):
            if value is not None:
                statement = statement.where(column == value)
        if self.since is not None:
            statement = statement.where(table.c.at >= self.since)
        if self.until is not None:
            statement = statement.where(table.c.at < self.until)
        return statement


def newest_first(statement: Select[Any], table: Table) -> Select[Any]:
    """Sort events for reading."""
    return statement.order_by(table.c.at.desc(), table.c.id.desc())


def oldest_first(statement: Select[Any], table: Table) -> Select[Any]:
    """Sort events as they happened."""
    return statement.order_by(table.c.at, table.c.id)


_MARK = "audit"
"""In the `info` of a column or table: False leaves it out; of a column `"redacted"` hides its values."""

_REDACTED = "[redacted]"

_Hidden = Literal["private", "left out", "redacted"]


@lru_cache(maxsize=4096)
def hidden_columns(mapper: Mapper[Any]) -> Mapping[str, _Hidden]:
    """Return the attributes whose values the trail does not hold, and why.

    Raises:
        ValueError: The `info` has another value.
    """
    found: dict[str, _Hidden] = {}
    for attribute in mapper.column_attrs:
        column = attribute.columns[0]
        if not isinstance(column, Column):
            continue
        mark = column.info.get(_MARK, True)
        if mark not in (True, False, "redacted"):
            raise ValueError(f'{mapper.class_.__name__}.{attribute.key}: info={{"audit": …}} is False or "redacted"')
        if column.info.get(PRIVATE):
            found[attribute.key] = "private"
        elif mark is not True:
            found[attribute.key] = "redacted" if mark == "redacted" else "left out"
    return found


def is_audited(mapper: Mapper[Any]) -> bool:
    """Return whether the changes of a class are recorded."""
    table = mapper.local_table
    return not isinstance(table, Table) or table.info.get(_MARK, True) is not False


def redact(values: Mapping[str, Any], hidden: Mapping[str, _Hidden]) -> dict[str, Any]:
    """Return the values without those that the trail must not hold."""
    shown = {}
    for name, value in values.items():
        match hidden.get(name):
            case None:
                shown[name] = value
            case "redacted":
                shown[name] = None if value is None else _REDACTED
    return shown


_BASE64 = ConfigDict(val_json_bytes="base64", ser_json_bytes="base64", arbitrary_types_allowed=True)


def write_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON holds them: moments in ISO 8601, decimals as text, bytes in base64, members by value."""
    return {name: _write_value(value) for name, value in values.items()}


def _write_value(value: Any) -> Any:
    if value is None or type(value) in {str, int, bool}:  # most are
        return value
    written = to_jsonable_python(value, bytes_mode="base64", fallback=str)
    return _name_not_finite(written)


def _name_not_finite(written: Any) -> Any:
    # JSON has no such numbers, and PostgreSQL refuses them.
    match written:
        case float() if not is_finite(written):
            return "NaN" if math.isnan(written) else "Infinity" if written > 0 else "-Infinity"
        case list():
            return [_name_not_finite(item) for item in written]
        case dict():
            return {name: _name_not_finite(item) for name, item in written.items()}
        case _:
            return written


def write_key(key: Any) -> str:
    """Return a primary key as text: of one column its value, of several a JSON array."""
    values = [_write_value(value) for value in key] if isinstance(key, tuple) else [_write_value(key)]
    if len(values) > 1:
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return values[0] if isinstance(values[0], str) else json.dumps(values[0], ensure_ascii=False)


def read_value(written: Any, type_: TypeEngine[Any]) -> Any:
    """Return the Python value of a written one.

    Args:
        written: As `_write_value` returned it.
        type_: That of its column. A value that does not fit it, as after a change of the column, stays as written.
    """
    if written is None or isinstance(type_, JSON):
        return written
    try:
        adapter = _adapter_of(_python_type(type_))
        return written if adapter is None else adapter.validate_json(json.dumps(written))
    except (NotImplementedError, ValidationError):
        return written


def _python_type(type_: TypeEngine[Any]) -> Any:
    """Return the Python type of a column's values.

    Raises:
        NotImplementedError: The column's type does not say.
    """
    if isinstance(type_, ARRAY):
        return types.GenericAlias(list, (type_.item_type.python_type,))
    if isinstance(type_, TypeDecorator) and type_.python_type is object:  # its author did not say
        return _python_type(type_.impl_instance)
    return type_.python_type


@lru_cache(maxsize=256)
def _adapter_of(kind: Any) -> TypeAdapter[Any] | None:
    try:
        # An enumeration and the like bring a config of their own.
        return TypeAdapter(kind, config=_BASE64)
    except (PydanticSchemaGenerationError, TypeError):
        return None
