# Written by `ligand schemas stub`; run it again after a change.
# ruff: noqa
# fmt: off
import pydantic.types as _pydantic_types
import uuid as _uuid

from typing import Annotated
from pydantic import MISSING, AfterValidator, BaseModel, Field
from examples.petstore.models import Pet
from ligand_async import BadRequest, CreateSchema, PatchSchema, ReadSchema

def refuse_hate(text: str) -> str: ...

STORABLE = r"^[^\u0000]*$"
Name = Annotated[str, Field(min_length=1, max_length=255, pattern=STORABLE, examples=["Rex"])]
Description = Annotated[
    str, Field(max_length=4096, pattern=STORABLE, examples=["A good dog."]), AfterValidator(refuse_hate)
]
WRITABLE = {"name", "description"}
READABLE = {"id", "created_at", "updated_at", "version", *WRITABLE}

class PetRead(ReadSchema):
    id: _uuid.UUID
    name: str
    description: str
    created_at: _pydantic_types.AwareDatetime
    updated_at: _pydantic_types.AwareDatetime
    version: int

class PetCreate(CreateSchema):
    name: Name
    description: Description = ""

class PetPatch(PatchSchema):
    name: Name | MISSING = MISSING
    description: Description | MISSING = MISSING

class Caller(BaseModel):
    subject: str
    roles: list[str]
    scopes: list[str]
