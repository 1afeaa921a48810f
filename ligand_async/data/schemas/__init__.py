"""Schemas derived from mapped classes."""

from ligand_async.data.schemas.derived import CreateSchema, PatchSchema, ReadSchema
from ligand_async.data.schemas.types import UnknownColumnType, column_annotation

__all__ = [
    "CreateSchema",
    "PatchSchema",
    "ReadSchema",
    "UnknownColumnType",
    "column_annotation",
]
