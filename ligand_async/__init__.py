"""ligand_async: an async microservice framework on Quart."""

from ligand_async import signals
from ligand_async.app import create_app
from ligand_async.auth.access import AccessError
from ligand_async.auth.authenticators import (
    APIKeyAuthenticator,
    BasicAuthenticator,
    BasicCredentials,
    BearerAuthenticator,
)
from ligand_async.auth.errors import InsufficientScope, InvalidToken
from ligand_async.context import Service, current_principal, current_request_id, service_of
from ligand_async.data.audit import AuditEvent, AuditTrail
from ligand_async.data.changes import Change
from ligand_async.data.database import Database
from ligand_async.data.models import Identified, Model, Timestamped, UTCDateTime, Versioned, utc_now
from ligand_async.data.reading import first_or_404, get_or_404, one_or_404
from ligand_async.data.schemas import CreateSchema, PatchSchema, ReadSchema, UnknownColumnType
from ligand_async.data.unit import on_commit
from ligand_async.errors import (
    AlreadyExists,
    BadGateway,
    BadRequest,
    BrokenReference,
    ChangedMeanwhile,
    Conflict,
    ContentTooLarge,
    DatabaseTimeout,
    DatabaseUnavailable,
    DeadlineExceeded,
    Forbidden,
    GatewayTimeout,
    Gone,
    IdempotencyKeyReused,
    InternalServerError,
    InvalidPart,
    MalformedBody,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    Problem,
    RequestInProgress,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    UnprocessableContent,
    UnsupportedMediaType,
    ValidationFailed,
    abort,
)
from ligand_async.marks import conditional, deprecated, idempotent, limit, public, requires, tag
from ligand_async.principal import Principal, Requirement, claim, role, scope
from ligand_async.protocols import Authenticator, DenyList, TokenVerifier
from ligand_async.settings import Settings, SettingsError
from ligand_async.signals import Signal
from ligand_async.upstream.client import ServiceClient, read_model
from ligand_async.upstream.credentials import ClientCredentials, ForwardToken
from ligand_async.web.audit import make_audit_blueprint
from ligand_async.web.body import Form
from ligand_async.web.conditional import check_preconditions
from ligand_async.web.lists.filters import Filter, Sort
from ligand_async.web.lists.page import Page
from ligand_async.web.lists.paginate import paginate
from ligand_async.web.lists.params import CursorParams, OffsetParams, PageParams
from ligand_async.web.operation import operation
from ligand_async.web.output import Media
from ligand_async.web.services import app_scope, services_of

__version__ = "0.1.0"

__all__ = [
    "APIKeyAuthenticator",
    "AccessError",
    "AlreadyExists",
    "AuditEvent",
    "AuditTrail",
    "Authenticator",
    "BadGateway",
    "BadRequest",
    "BasicAuthenticator",
    "BasicCredentials",
    "BearerAuthenticator",
    "BrokenReference",
    "Change",
    "ChangedMeanwhile",
    "ClientCredentials",
    "Conflict",
    "ContentTooLarge",
    "CreateSchema",
    "CursorParams",
    "Database",
    "DatabaseTimeout",
    "DatabaseUnavailable",
    "DeadlineExceeded",
    "DenyList",
    "Filter",
    "Forbidden",
    "Form",
    "ForwardToken",
    "GatewayTimeout",
    "Gone",
    "IdempotencyKeyReused",
    "Identified",
    "InsufficientScope",
    "InternalServerError",
    "InvalidPart",
    "InvalidToken",
    "MalformedBody",
    "Media",
    "Model",
    "NotFound",
    "OffsetParams",
    "Page",
    "PageParams",
    "PatchSchema",
    "PreconditionFailed",
    "PreconditionRequired",
    "Principal",
    "Problem",
    "ReadSchema",
    "RequestInProgress",
    "Requirement",
    "Service",
    "ServiceClient",
    "ServiceUnavailable",
    "Settings",
    "SettingsError",
    "Signal",
    "Sort",
    "Timestamped",
    "TokenVerifier",
    "TooManyRequests",
    "UTCDateTime",
    "Unauthorized",
    "UnknownColumnType",
    "UnprocessableContent",
    "UnsupportedMediaType",
    "ValidationFailed",
    "Versioned",
    "abort",
    "app_scope",
    "check_preconditions",
    "claim",
    "conditional",
    "create_app",
    "current_principal",
    "current_request_id",
    "deprecated",
    "first_or_404",
    "get_or_404",
    "idempotent",
    "limit",
    "make_audit_blueprint",
    "on_commit",
    "one_or_404",
    "operation",
    "paginate",
    "public",
    "read_model",
    "requires",
    "role",
    "scope",
    "service_of",
    "services_of",
    "signals",
    "tag",
    "utc_now",
]
