"""Uses of the schemas: each line with a mark is refused, for that reason, and nothing else is."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import MISSING

from tests.typing.stubs.models import Mood, Pet
from tests.typing.stubs.schemas import LIMIT, NAMES, OTHERS, Event, PetCreate, PetPatch, PetRead, count


def read(pet: PetRead, event: Event) -> tuple[UUID, str | None, Mood, dict[str, Any], date | None, int, datetime]:
    text: str = pet.name + pet.shout + str(LIMIT) + "".join(pet.letters) + (pet.owner.name if pet.owner else "")
    price: Decimal = pet.price + count([text, *NAMES, *OTHERS])
    moments: list[datetime | None] = [pet.created_at, pet.datetime, event.at]
    if pet.size == "small":
        print(pet.legs + pet.int, price, moments, pet.anything["a"])
    return pet.id, pet.nick, pet.mood, pet.labels, pet.date, pet.version, event.at


def write(patch: PetPatch, owner: UUID) -> Pet:
    made = PetCreate(name="Rex", owner_id=owner, labels={"a": [1]})
    if patch.nick is not MISSING:
        print(patch.nick.upper())
    if made.price is not MISSING:
        print(made.price + 1)
    PetPatch(nick="R")
    PetPatch()
    return made.new(Pet)


def refuse(pet: PetRead, made: PetCreate, patch: PetPatch, owner: UUID) -> None:
    print(pet.nmae)  # refused: a name that is not there
    print(pet.secret)  # refused: a private column
    print(made.id)  # refused: clients do not set it
    print(patch.price + 1)  # refused: it may be absent
    print(patch.nick.upper())  # refused: as all of a patch
    number: int = pet.name  # refused: another type
    PetCreate(name="Rex")  # refused: the owner is required
    PetCreate(name="Rex", owner_id=owner, price="1")  # refused: another type
    print(number)
