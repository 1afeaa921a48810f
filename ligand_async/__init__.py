"""ligand_async: an async microservice framework on Quart."""

from ligand_async import signals
from ligand_async.app import create_app
from ligand_async.changes import Change
from ligand_async.context import Service, current_principal, current_request_id, service_of
from ligand_async.data.audit import AuditEvent, AuditTrail
from ligand_async.data.clock import UTCDateTime, utc_now
from ligand_async.data.database import Database
from ligand_async.data.lookup import first_or_404, get_or_404, one_or_404
from ligand_async.data.models import Identified, Model, Timestamped, Versioned
from ligand_async.data.unit import on_commit
from ligand_async.errors import (
    BadGateway,
    BadRequest,
    Conflict,
    ContentTooLarge,
    Forbidden,
    GatewayTimeout,
    Gone,
    InternalServerError,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    UnprocessableContent,
    UnsupportedMediaType,
    abort,
)
from ligand_async.marks import limit
from ligand_async.principal import Principal
from ligand_async.problem import InvalidPart, Problem
from ligand_async.problem_types import (
    AlreadyExists,
    BrokenReference,
    ChangedMeanwhile,
    DatabaseTimeout,
    DatabaseUnavailable,
    DeadlineExceeded,
    MalformedBody,
    ValidationFailed,
)
from ligand_async.service_signal import Signal
from ligand_async.settings import Settings, SettingsError
from ligand_async.web.audit import make_audit_blueprint
from ligand_async.web.body import Form
from ligand_async.web.operation import operation
from ligand_async.web.pagination import OffsetParams, Page, paginate
from ligand_async.web.services import app_scope, services_of

__version__ = "0.1.0"

__all__ = [
    "AlreadyExists",
    "AuditEvent",
    "AuditTrail",
    "BadGateway",
    "BadRequest",
    "BrokenReference",
    "Change",
    "ChangedMeanwhile",
    "Conflict",
    "ContentTooLarge",
    "Database",
    "DatabaseTimeout",
    "DatabaseUnavailable",
    "DeadlineExceeded",
    "Forbidden",
    "Form",
    "GatewayTimeout",
    "Gone",
    "Identified",
    "InternalServerError",
    "InvalidPart",
    "MalformedBody",
    "Model",
    "NotFound",
    "OffsetParams",
    "Page",
    "PreconditionFailed",
    "PreconditionRequired",
    "Principal",
    "Problem",
    "Service",
    "ServiceUnavailable",
    "Settings",
    "SettingsError",
    "Signal",
    "Timestamped",
    "TooManyRequests",
    "UTCDateTime",
    "Unauthorized",
    "UnprocessableContent",
    "UnsupportedMediaType",
    "ValidationFailed",
    "Versioned",
    "abort",
    "app_scope",
    "create_app",
    "current_principal",
    "current_request_id",
    "first_or_404",
    "get_or_404",
    "limit",
    "make_audit_blueprint",
    "on_commit",
    "one_or_404",
    "operation",
    "paginate",
    "service_of",
    "services_of",
    "signals",
    "utc_now",
]
