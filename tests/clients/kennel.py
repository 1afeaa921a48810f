"""A kennel whose dogs are pets of the petstore: hypercorn 'kennel:create_app()'."""

from collections.abc import AsyncIterator
from functools import partial
from uuid import UUID

from petstore_client import AuthenticatedClient
from petstore_client.api.pets import create_pet, read_pet
from petstore_client.models import PetCreate, PetRead
from quart import Blueprint, Quart

import ligand_async
from ligand_async import NotFound, Settings, operation, public, requires, role
from ligand_async.errors import BadGateway
from ligand_async.upstream import ClientCredentials, ServiceClient
from ligand_async.web import app_scope


class KennelSettings(Settings):
    petstore_url: str = "http://127.0.0.1:8000"


async def open_petstore(settings: KennelSettings) -> AsyncIterator[AuthenticatedClient]:
    credentials = ClientCredentials.from_settings(settings)
    async with ServiceClient(settings.petstore_url, credentials=credentials) as client:
        yield client.bind(AuthenticatedClient)


dogs = Blueprint("dogs", __name__, url_prefix="/dogs")


@dogs.post("/<name>")
@requires(role("user"))
@operation(status=201, raises=[BadGateway])
async def take_dog(name: str, petstore: AuthenticatedClient) -> str:
    """Take a dog, and return its id."""
    pet = await create_pet.asyncio(client=petstore, body=PetCreate(name=name))
    if not isinstance(pet, PetRead):
        raise BadGateway("the petstore did not take the dog")
    return str(pet.id)


@dogs.get("/<uuid:pet_id>")
@public
@operation(raises=[NotFound])
async def read_dog(pet_id: UUID, petstore: AuthenticatedClient) -> str:
    """Return the name of a dog."""
    pet = await read_pet.asyncio(pet_id, client=petstore)
    if not isinstance(pet, PetRead):
        raise NotFound("the petstore does not have this dog")
    return pet.name


def create_app() -> Quart:
    settings = KennelSettings.load()
    return ligand_async.create_app(
        __name__,
        title="Kennel",
        version="1.0.0",
        settings=settings,
        blueprints=[dogs],
        provide={AuthenticatedClient: app_scope(partial(open_petstore, settings))},
    )
