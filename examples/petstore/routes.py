"""The petstore's operations, and who may call them."""

from collections.abc import Callable
from uuid import UUID

from quart import Blueprint
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from examples.petstore.models import Pet, audit
from examples.petstore.queries import PetQuery
from examples.petstore.schemas import Caller, PetCreate, PetPatch, PetRead
from ligand_async import (
    BadRequest,
    NotFound,
    Page,
    Principal,
    check_preconditions,
    conditional,
    get_or_404,
    idempotent,
    operation,
    paginate,
    public,
    requires,
    role,
    scope,
    tag,
)
from ligand_async.web import make_audit_blueprint

pets = tag(description="Register, read, change and delete pets.")(Blueprint("pets", __name__, url_prefix="/pets"))
callers = tag(description="The caller of a request.")(Blueprint("callers", __name__))
audit_events = tag(description="The audit trail: who changed which pet, and how.")(
    requires(role("admin"))(make_audit_blueprint(audit))
)


@pets.get("/")
@public
@operation
async def list_pets(query_args: PetQuery, session: AsyncSession) -> Page[PetRead]:
    """List pets, the oldest first by default."""
    return await paginate(session, query_args.apply(select(Pet)), query_args, into=PetRead)


@pets.post("/")
@requires(role("user") | scope("pets:write"))
@idempotent
@operation(status=201, raises=[BadRequest], location="pets.read_pet")
async def create_pet(data: PetCreate, session: AsyncSession) -> PetRead:
    """Register a pet."""
    pet = Pet(**data.model_dump())
    session.add(pet)
    await session.flush()
    return PetRead.model_validate(pet)


@pets.get("/<uuid:pet_id>")
@public
@operation(raises=[NotFound])
async def read_pet(pet_id: UUID, session: AsyncSession) -> PetRead:
    """Read a pet."""
    return await get_or_404(session, Pet, pet_id, into=PetRead)


@pets.put("/<uuid:pet_id>")
@requires(role("user"))
@conditional
@operation(raises=[BadRequest, NotFound])
async def replace_pet(pet_id: UUID, data: PetCreate, session: AsyncSession) -> PetRead:
    """Replace a pet."""
    return await change(session, pet_id, data.replace)


@pets.patch("/<uuid:pet_id>")
@requires(role("user"))
@conditional
@operation(raises=[BadRequest, NotFound])
async def update_pet(pet_id: UUID, data: PetPatch, session: AsyncSession) -> PetRead:
    """Change a pet."""
    return await change(session, pet_id, data.apply)


@pets.delete("/<uuid:pet_id>")
@requires(role("admin"))
@conditional
@operation(status=204, raises=[NotFound])
async def delete_pet(pet_id: UUID, session: AsyncSession) -> None:
    """Delete a pet."""
    pet = await get_or_404(session, Pet, pet_id)
    check_preconditions(pet)
    await session.delete(pet)


@callers.get("/me")
@operation
async def read_caller(principal: Principal) -> Caller:
    """Show the caller's subject, roles and scopes."""
    return Caller(subject=principal.subject, roles=sorted(principal.roles), scopes=sorted(principal.scopes))


async def change(session: AsyncSession, pet_id: UUID, put: Callable[[Pet], None]) -> PetRead:
    """Set values of a pet, and return it as the database has it."""
    pet = await get_or_404(session, Pet, pet_id)
    check_preconditions(pet)
    put(pet)
    await session.flush()
    return PetRead.model_validate(pet)
