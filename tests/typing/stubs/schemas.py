"""Schemas, and what else stands in a module of schemas."""

from __future__ import annotations

from datetime import datetime  # hides the module of this name
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, computed_field, field_validator

from ligand_async import CreateSchema, PatchSchema, ReadSchema
from tests.typing.stubs.models import Owner, Pet

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT: int = 10
Name = Annotated[str, Field(min_length=1)]
NAMES = {"größer", "ß"}; OTHERS = frozenset(NAMES)  # fmt: skip  # noqa: E702  # a stub takes only one


def count(names: Iterable[str]) -> int:
    """Count."""

    @cache
    def add(a: int, b: int) -> int:
        return a + b

    return add(0, len(list(names)))


class OwnerRead(ReadSchema, model=Owner): ...


class Named(BaseModel):
    name: Name


class PetRead(ReadSchema, model=Pet):
    """A pet with its owner."""

    name: str  # which the body uses, and which checkers of the body do not see otherwise
    owner: OwnerRead | None

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def shout(self) -> str:
        """The name."""
        return self.name.upper()

    @cached_property
    def letters(
        self,
    ) -> list[str]:
        # One by one.
        return [*self.name]


class PetCreate(Named, CreateSchema, model=Pet, exclude={"secret"}, str_strip_whitespace=True):
    @field_validator("name")
    @classmethod
    def check_name(cls, name: str) -> str: return name  # fmt: skip


class PetPatch(Named, PatchSchema, model=Pet, include={"nick", "price"}):
    nick: Annotated[str, Field(max_length=5)]  # optional, as all of a patch


class Event(BaseModel):
    at: datetime
