"""Pets and callers as JSON."""

from typing import Annotated

from pydantic import MISSING, AfterValidator, BaseModel, Field

from examples.petstore.models import Pet
from ligand_async import BadRequest, CreateSchema, PatchSchema, ReadSchema


def refuse_hate(text: str) -> str:
    """Refuse a description that says "hate": this is a friendly store."""
    if "hate" in text.lower():
        raise BadRequest("pets are for loving; choose another description")
    return text


# PostgreSQL cannot store U+0000, so no body may hold it; the pattern documents that for clients.
STORABLE = r"^[^\u0000]*$"

Name = Annotated[str, Field(min_length=1, max_length=255, pattern=STORABLE, examples=["Rex"])]
Description = Annotated[
    str, Field(max_length=4096, pattern=STORABLE, examples=["A good dog."]), AfterValidator(refuse_hate)
]


# Every schema names its columns, so a column that is added to the model stays private until it is named here.
WRITABLE = {"name", "description"}
READABLE = {"id", "created_at", "updated_at", "version", *WRITABLE}


class PetRead(ReadSchema, model=Pet, include=READABLE):
    """A pet."""


class PetCreate(CreateSchema, model=Pet, include=WRITABLE):
    """The values of a pet, to register or to replace it."""

    name: Name
    description: Description = ""


class PetPatch(PatchSchema, model=Pet, include=WRITABLE):
    """The values of a pet to change. Absent values stay; null is refused."""

    name: Name | MISSING = MISSING
    description: Description | MISSING = MISSING


class Caller(BaseModel):
    """The caller of a request."""

    subject: str
    roles: list[str]
    scopes: list[str]
