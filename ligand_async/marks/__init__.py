"""What decorators stamp on functions, classes and blueprints, for others to read."""

from ligand_async.marks.access import AccessMark, access_mark, marked_around, marked_for_access, public, requires
from ligand_async.marks.conditional import conditional, is_conditional
from ligand_async.marks.deprecation import DeprecationMark, deprecated, deprecation_mark
from ligand_async.marks.idempotent import IdempotentMark, idempotent, idempotent_mark
from ligand_async.marks.limits import LimitMark, limit, limit_mark
from ligand_async.marks.operation import OperationMark, SessionMode, operation_mark, stamp_operation
from ligand_async.marks.tags import TagMark, tag, tag_marks

__all__ = [
    "AccessMark",
    "DeprecationMark",
    "IdempotentMark",
    "LimitMark",
    "OperationMark",
    "SessionMode",
    "TagMark",
    "access_mark",
    "conditional",
    "deprecated",
    "deprecation_mark",
    "idempotent",
    "idempotent_mark",
    "is_conditional",
    "limit",
    "limit_mark",
    "marked_around",
    "marked_for_access",
    "operation_mark",
    "public",
    "requires",
    "stamp_operation",
    "tag",
    "tag_marks",
]
