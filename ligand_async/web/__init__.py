"""One request, bytes to bytes."""

from ligand_async.marks import limit, limit_failures
from ligand_async.web.audit import make_audit_blueprint
from ligand_async.web.body import Body, Form, UploadedFile, scan
from ligand_async.web.client import LigandClient, ResponseCut
from ligand_async.web.conditional import check_preconditions, conditional
from ligand_async.web.depends import Depends, ServiceError
from ligand_async.web.deprecation import deprecated, init_deprecation
from ligand_async.web.downloads import Download, make_download
from ligand_async.web.endpoint import RETRY_AFTER, DocumentError, Endpoint, Feature, Operation, operation_of
from ligand_async.web.features import FEATURES
from ligand_async.web.fields import Cookie, Header, Place, alias_of, wire_name
from ligand_async.web.guard import Guard, Load
from ligand_async.web.headers import CORS, SecurityHeaders
from ligand_async.web.idempotency import idempotent
from ligand_async.web.inputs import OperationError
from ligand_async.web.limits import init_limits
from ligand_async.web.operation import operation
from ligand_async.web.output import BODILESS, Media, Output, media_types_of
from ligand_async.web.plan import ErrorReturned
from ligand_async.web.principal_session import (
    PrincipalSession,
    current_principal_session,
    empty_principal_session,
    init_principal_sessions,
)
from ligand_async.web.problems import init_problems, render_problem
from ligand_async.web.proxies import TrustedProxies
from ligand_async.web.quart import LigandQuart
from ligand_async.web.request import StrictRequest
from ligand_async.web.request_limits import request_limits
from ligand_async.web.scripts import ServiceCommands, run_script
from ligand_async.web.services import Services, app_scope, init_services, services_of
from ligand_async.web.stages import Reply, Stage
from ligand_async.web.startup_checks import check_operations, find_functions
from ligand_async.web.syntax import Syntax
from ligand_async.web.tags import tag

__all__ = [
    "BODILESS",
    "CORS",
    "FEATURES",
    "RETRY_AFTER",
    "Body",
    "Cookie",
    "Depends",
    "DocumentError",
    "Download",
    "Endpoint",
    "ErrorReturned",
    "Feature",
    "Form",
    "Guard",
    "Header",
    "LigandClient",
    "LigandQuart",
    "Load",
    "Media",
    "Operation",
    "OperationError",
    "Output",
    "Place",
    "PrincipalSession",
    "Reply",
    "ResponseCut",
    "SecurityHeaders",
    "ServiceCommands",
    "ServiceError",
    "Services",
    "Stage",
    "StrictRequest",
    "Syntax",
    "TrustedProxies",
    "UploadedFile",
    "alias_of",
    "app_scope",
    "check_operations",
    "check_preconditions",
    "conditional",
    "current_principal_session",
    "deprecated",
    "empty_principal_session",
    "find_functions",
    "idempotent",
    "init_deprecation",
    "init_limits",
    "init_principal_sessions",
    "init_problems",
    "init_services",
    "limit",
    "limit_failures",
    "make_audit_blueprint",
    "make_download",
    "media_types_of",
    "operation",
    "operation_of",
    "render_problem",
    "request_limits",
    "run_script",
    "scan",
    "services_of",
    "tag",
    "wire_name",
]
