"""The audit trail: who changed what, and when, kept in the transaction of the change."""

from ligand_async.data.audit.events import AuditEvent, EventFilter
from ligand_async.data.audit.export import (
    KeyNotUsable,
    NotAuthentic,
    Tally,
    read_in_order,
    read_key,
    verify_export,
    write_line,
    write_signature,
)
from ligand_async.data.audit.guard import AuditWriteRefused, UnrecordedStatement
from ligand_async.data.audit.trail import PRUNED_AT_ONCE, AuditTrail

__all__ = [
    "PRUNED_AT_ONCE",
    "AuditEvent",
    "AuditTrail",
    "AuditWriteRefused",
    "EventFilter",
    "KeyNotUsable",
    "NotAuthentic",
    "Tally",
    "UnrecordedStatement",
    "read_in_order",
    "read_key",
    "verify_export",
    "write_line",
    "write_signature",
]
