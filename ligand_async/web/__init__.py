"""One request, bytes to bytes."""

from ligand_async.web.audit import make_audit_blueprint
from ligand_async.web.body import Form
from ligand_async.web.conditional import REQUIRING, TAGGED, check_preconditions
from ligand_async.web.deprecation import deprecation_of, init_deprecation
from ligand_async.web.fields import Place, alias_of, wire_name
from ligand_async.web.guard import Guard
from ligand_async.web.headers import CORS, SecurityHeaders
from ligand_async.web.idempotency import HEADER, MAX_KEY
from ligand_async.web.inputs import Inputs, OperationError
from ligand_async.web.json import scan
from ligand_async.web.limits import init_limits, is_limited
from ligand_async.web.operation import INPUTS_ATTRIBUTE, operation
from ligand_async.web.output import BODILESS, Media, media_types_of
from ligand_async.web.problems import init_problems, render_problem
from ligand_async.web.proxies import TrustedProxies
from ligand_async.web.quart import LigandClient, LigandQuart
from ligand_async.web.request import StrictRequest
from ligand_async.web.services import app_scope, init_services, services_of
from ligand_async.web.stages import Reply, Stage
from ligand_async.web.startup_checks import check_operations
from ligand_async.web.syntax import Syntax

__all__ = [
    "BODILESS",
    "CORS",
    "HEADER",
    "INPUTS_ATTRIBUTE",
    "MAX_KEY",
    "REQUIRING",
    "TAGGED",
    "Form",
    "Guard",
    "Inputs",
    "LigandClient",
    "LigandQuart",
    "Media",
    "OperationError",
    "Place",
    "Reply",
    "SecurityHeaders",
    "Stage",
    "StrictRequest",
    "Syntax",
    "TrustedProxies",
    "alias_of",
    "app_scope",
    "check_operations",
    "check_preconditions",
    "deprecation_of",
    "init_deprecation",
    "init_limits",
    "init_problems",
    "init_services",
    "is_limited",
    "make_audit_blueprint",
    "media_types_of",
    "operation",
    "render_problem",
    "scan",
    "services_of",
    "wire_name",
]
