"""Schemas derived from mapped classes."""

from ligand_async.data.schemas.derived import ReadSchema
from ligand_async.data.schemas.nested import FieldNotWritable
from ligand_async.data.schemas.stubs import is_stub, schemas_by_module, stub_of
from ligand_async.data.schemas.types import UnknownColumnType, column_annotation, register_column_type
from ligand_async.data.schemas.values import keeps_type
from ligand_async.data.schemas.writing import CreateSchema, PatchSchema

__all__ = [
    "CreateSchema",
    "FieldNotWritable",
    "PatchSchema",
    "ReadSchema",
    "UnknownColumnType",
    "column_annotation",
    "is_stub",
    "keeps_type",
    "register_column_type",
    "schemas_by_module",
    "stub_of",
]
