"""How pets and their keepers look from outside."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ligand_async import BadRequest


def refuse_hate(text: str) -> str:
    """Refuse a description that says "hate": this is a friendly store."""
    if "hate" in text.lower():
        raise BadRequest("pets are for loving; choose another description")
    return text


# No body may hold U+0000, which PostgreSQL stores nowhere; the pattern tells clients.
STORABLE = r"^[^\u0000]*$"

Name = Annotated[str, Field(min_length=1, max_length=255, pattern=STORABLE, examples=["Rex"])]
Description = Annotated[
    str, Field(max_length=4096, pattern=STORABLE, examples=["A good dog."]), AfterValidator(refuse_hate)
]


class PetRead(BaseModel):
    """A pet, as it is."""

    id: UUID
    name: str
    description: str
    created_at: datetime
    updated_at: datetime


class PetCreate(BaseModel):
    """A pet to be registered, or to take another's place."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    description: Description = ""


class PetPatch(BaseModel):
    """What changes about a pet; what is absent stays, and nothing can be null."""

    model_config = ConfigDict(extra="forbid")

    # Never seen: `exclude_unset` leaves out what was not sent.
    name: Name = Field(default_factory=str)
    description: Description = Field(default_factory=str)


class Caller(BaseModel):
    """Whoever asks."""

    subject: str
    roles: list[str]
    scopes: list[str]
