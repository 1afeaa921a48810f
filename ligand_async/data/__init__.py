"""One service and its database: engines, sessions, models, faults."""

from ligand_async.data.changes import Change
from ligand_async.data.database import Database
from ligand_async.data.engines import is_sqlite, parse_database_url
from ligand_async.data.errors import SessionMisused, WriteOnReadSession, is_key_taken, problem_of
from ligand_async.data.flushes import observers_of, watch_session
from ligand_async.data.idempotency import Reply, prune_replies
from ligand_async.data.models import Identified, Model, Timestamped, UTCDateTime, Versioned, utc_now
from ligand_async.data.reading import Selection, first_or_404, get_or_404, is_column, one_or_404, select_into
from ligand_async.data.sessions import OwnedSession
from ligand_async.data.unit import UnitOfWork, on_commit
from ligand_async.data.versions import Origin, digest, is_flat, origin_of, origin_of_entity

__all__ = [
    "Change",
    "Database",
    "Identified",
    "Model",
    "Origin",
    "OwnedSession",
    "Reply",
    "Selection",
    "SessionMisused",
    "Timestamped",
    "UTCDateTime",
    "UnitOfWork",
    "Versioned",
    "WriteOnReadSession",
    "digest",
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
    "select_into",
    "utc_now",
    "watch_session",
]
