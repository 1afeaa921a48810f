"""Filters and order of the list of pets."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from examples.petstore.models import Pet
from ligand_async import Filter, PageParams, Sort


class PetQuery(PageParams):
    """The filters, the order and the page of a list of pets."""

    name: Annotated[str | None, Filter(Pet.name)] = None
    description: Annotated[str | None, Filter(Pet.description)] = None
    name_contains: Annotated[str | None, Filter(Pet.name, "icontains")] = None
    created_after: Annotated[
        datetime | None,
        Filter(Pet.created_at, "gt"),
        Field(description="Only pets that were registered after this time."),
    ] = None
    sort: Sort[Literal["name", "-name", "created_at", "-created_at"]] = ("created_at",)
