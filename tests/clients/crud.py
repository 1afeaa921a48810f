"""The life of a pet by the generated client: python crud.py ADDRESS TOKEN."""

import sys

from petstore_client import AuthenticatedClient
from petstore_client.api.pets import create_pet, delete_pet, list_pets, read_pet, update_pet
from petstore_client.models import ListPetsSortItem, PagePetRead, PetCreate, PetPatch, PetRead, Problem
from petstore_client.types import Response, Unset


def pet_in(answer: Response[PetRead | Problem]) -> tuple[PetRead, str]:
    """Return a pet with its entity tag."""
    if not isinstance(answer.parsed, PetRead):
        raise SystemExit(f"{answer.status_code}: {answer.content!r}")
    return answer.parsed, answer.headers["ETag"]


def main(address: str, token: str) -> None:
    with AuthenticatedClient(base_url=address, token=token) as client:
        pet, made = pet_in(create_pet.sync_detailed(client=client, body=PetCreate(name="Rex")))
        pet, read = pet_in(read_pet.sync_detailed(pet.id, client=client))
        print(f"created {pet.name}, read it by its id, with the same entity tag: {made == read}")

        patch = PetPatch(description="A good dog.")
        pet, changed = pet_in(update_pet.sync_detailed(pet.id, client=client, body=patch, if_match=made))
        print(f"changed {pet.name}: {pet.description}, and its entity tag: {changed != made}")

        late = update_pet.sync_detailed(pet.id, client=client, body=PetPatch(name="Max"), if_match=made)
        if isinstance(late.parsed, Problem):
            print(f"{late.parsed.status} {late.parsed.title} for who has an old entity tag")

        bad = create_pet.sync_detailed(client=client, body=PetCreate(name=""))
        if isinstance(bad.parsed, Problem) and not isinstance(bad.parsed.errors, Unset):
            wrong = bad.parsed.errors[0]
            print(f"{bad.parsed.status} {bad.parsed.title} at {wrong.pointer}: {wrong.code}")

        page = list_pets.sync(client=client, limit=5, sort=[ListPetsSortItem.NAME_DESC, ListPetsSortItem.CREATED_AT])
        if isinstance(page, PagePetRead):
            print(f"listed {[one.name for one in page.items]}, and there are more: {page.next_cursor is not None}")

        gone = delete_pet.sync_detailed(pet.id, client=client, if_match=changed)
        missing = read_pet.sync(pet.id, client=client)
        if isinstance(missing, Problem):
            print(f"deleted: {gone.status_code}, and then {missing.status} {missing.title}")


if __name__ == "__main__":
    main(*sys.argv[1:])
