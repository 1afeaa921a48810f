"""What can be done with pets."""

from uuid import UUID

from quart import Blueprint
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from examples.petstore.models import Pet, audit
from examples.petstore.schemas import PetCreate, PetPatch, PetRead
from ligand_async import NotFound, OffsetParams, Page, get_or_404, make_audit_blueprint, operation, paginate

pets = Blueprint("pets", __name__, url_prefix="/pets")
audit_events = make_audit_blueprint(audit)


@pets.get("/")
@operation
async def list_pets(query_args: OffsetParams, session: AsyncSession) -> Page[PetRead]:
    """List pets, oldest first."""
    return await paginate(session, select(Pet).order_by(Pet.created_at), query_args, into=PetRead)


@pets.post("/")
@operation(status=201, location="pets.read_pet")
async def create_pet(data: PetCreate, session: AsyncSession) -> PetRead:
    """Register a pet."""
    pet = Pet(**data.model_dump())
    session.add(pet)
    await session.flush()
    return PetRead.model_validate(pet, from_attributes=True)


@pets.get("/<uuid:pet_id>")
@operation(raises=[NotFound])
async def read_pet(pet_id: UUID, session: AsyncSession) -> PetRead:
    """Read a pet."""
    return await get_or_404(session, Pet, pet_id, into=PetRead)


@pets.put("/<uuid:pet_id>")
@operation(raises=[NotFound])
async def replace_pet(pet_id: UUID, data: PetCreate, session: AsyncSession) -> PetRead:
    """Replace a pet."""
    return await change(session, pet_id, data)


@pets.patch("/<uuid:pet_id>")
@operation(raises=[NotFound])
async def update_pet(pet_id: UUID, data: PetPatch, session: AsyncSession) -> PetRead:
    """Change a pet."""
    return await change(session, pet_id, data)


@pets.delete("/<uuid:pet_id>")
@operation(status=204, raises=[NotFound])
async def delete_pet(pet_id: UUID, session: AsyncSession) -> None:
    """Delete a pet."""
    await session.delete(await get_or_404(session, Pet, pet_id))


async def change(session: AsyncSession, pet_id: UUID, data: PetCreate | PetPatch) -> PetRead:
    """Put new values on a pet and read what the database made of them."""
    pet = await get_or_404(session, Pet, pet_id)
    for name, value in data.model_dump(exclude_unset=isinstance(data, PetPatch)).items():
        setattr(pet, name, value)
    await session.flush()
    return PetRead.model_validate(pet, from_attributes=True)
