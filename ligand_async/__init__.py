"""ligand_async: an async microservice framework on Quart."""

from ligand_async.app import create_app
from ligand_async.context import current_principal
from ligand_async.data import Database, Identified, Model, Timestamped, Versioned, get_or_404, on_commit
from ligand_async.data.audit import AuditTrail
from ligand_async.data.schemas import CreateSchema, PatchSchema, ReadSchema
from ligand_async.errors import BadRequest, Conflict, Forbidden, NotFound, Problem, abort
from ligand_async.marks import public, requires
from ligand_async.principal import Principal, claim, role, scope
from ligand_async.settings import Settings
from ligand_async.web import Form, check_preconditions, conditional, deprecated, idempotent, limit, operation, tag
from ligand_async.web.lists import CursorParams, Filter, OffsetParams, Page, PageParams, Sort, paginate

__version__ = "0.1.0"

__all__ = [
    "AuditTrail",
    "BadRequest",
    "Conflict",
    "CreateSchema",
    "CursorParams",
    "Database",
    "Filter",
    "Forbidden",
    "Form",
    "Identified",
    "Model",
    "NotFound",
    "OffsetParams",
    "Page",
    "PageParams",
    "PatchSchema",
    "Principal",
    "Problem",
    "ReadSchema",
    "Settings",
    "Sort",
    "Timestamped",
    "Versioned",
    "abort",
    "check_preconditions",
    "claim",
    "conditional",
    "create_app",
    "current_principal",
    "deprecated",
    "get_or_404",
    "idempotent",
    "limit",
    "on_commit",
    "operation",
    "paginate",
    "public",
    "requires",
    "role",
    "scope",
    "tag",
]
