"""The database of a service: engines, sessions, models, schemas, the audit trail, and errors."""

from ligand_async.data.aggregates import AggregateError, expect_version, touch
from ligand_async.data.audit import AuditEvent, AuditTrail
from ligand_async.data.changes import Change, observers_of, watch_session
from ligand_async.data.database import Database
from ligand_async.data.digests import Digested, confirm_digests, expect_digest
from ligand_async.data.engines import is_sqlite, parse_database_url
from ligand_async.data.errors import (
    ConnectionLost,
    DatabaseUnreachable,
    KeyNotCounted,
    LazyLoadRefused,
    SessionMisused,
    StatementTimedOut,
    ValueRefused,
    WriteOnReadSession,
    is_key_taken,
    problem_of,
)
from ligand_async.data.idempotency import Reply, find_reply, prune_replies, store_reply, try_lock
from ligand_async.data.models import Identified, Model, Timestamped, UTCDateTime, Versioned, utc_now
from ligand_async.data.reading import (
    IntoNotPossible,
    Selection,
    Shapes,
    first_or_404,
    get_or_404,
    is_column,
    one_or_404,
    read_rows,
    select_into,
)
from ligand_async.data.schemas import (
    CreateSchema,
    FieldNotWritable,
    PatchSchema,
    ReadSchema,
    UnknownColumnType,
    register_column_type,
)
from ligand_async.data.unit import OwnedSession, UnitOfWork, on_commit
from ligand_async.data.versions import Origin, digest, is_flat, origin_of, origin_of_entity

__all__ = [
    "AggregateError",
    "AuditEvent",
    "AuditTrail",
    "Change",
    "ConnectionLost",
    "CreateSchema",
    "Database",
    "DatabaseUnreachable",
    "Digested",
    "FieldNotWritable",
    "Identified",
    "IntoNotPossible",
    "KeyNotCounted",
    "LazyLoadRefused",
    "Model",
    "Origin",
    "OwnedSession",
    "PatchSchema",
    "ReadSchema",
    "Reply",
    "Selection",
    "SessionMisused",
    "Shapes",
    "StatementTimedOut",
    "Timestamped",
    "UTCDateTime",
    "UnitOfWork",
    "UnknownColumnType",
    "ValueRefused",
    "Versioned",
    "WriteOnReadSession",
    "confirm_digests",
    "digest",
    "expect_digest",
    "expect_version",
    "find_reply",
    "first_or_404",
    "get_or_404",
    "is_column",
    "is_flat",
    "is_key_taken",
    "is_sqlite",
    "observers_of",
    "on_commit",
    "one_or_404",
    "origin_of",
    "origin_of_entity",
    "parse_database_url",
    "problem_of",
    "prune_replies",
    "read_rows",
    "register_column_type",
    "select_into",
    "store_reply",
    "touch",
    "try_lock",
    "utc_now",
    "watch_session",
]
