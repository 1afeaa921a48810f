"""Schemas derived from mapped classes."""

from ligand_async.data.schemas.create import CreateSchema
from ligand_async.data.schemas.patch import PatchSchema
from ligand_async.data.schemas.read import ReadSchema
from ligand_async.data.schemas.types import UnknownColumnType, column_annotation

__all__ = ["CreateSchema", "PatchSchema", "ReadSchema", "UnknownColumnType", "column_annotation"]
