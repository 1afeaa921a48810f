"""The service's OpenAPI document and the page that shows it."""

from ligand_async.docs.document import EXTENSION, document_of
from ligand_async.docs.extension import init_docs
from ligand_async.docs.problem_pages import make_types_blueprint
from ligand_async.docs.provider import OperationNames, template_of
from ligand_async.docs.schemas import SchemaGenerator
from ligand_async.docs.views import Docs, PathTaken, check_paths
from ligand_async.web import DocumentError

__all__ = [
    "EXTENSION",
    "Docs",
    "DocumentError",
    "OperationNames",
    "PathTaken",
    "SchemaGenerator",
    "check_paths",
    "document_of",
    "init_docs",
    "make_types_blueprint",
    "template_of",
]
