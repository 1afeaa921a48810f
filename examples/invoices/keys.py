"""API keys: made, shown once, listed and revoked by the administrator of a tenant."""

import secrets
from uuid import UUID

from quart import Blueprint
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from examples.invoices.access import ADMIN, digest_of
from examples.invoices.models import APIKey
from examples.invoices.schemas import APIKeyCreate, APIKeyMade, APIKeyRead
from examples.invoices.tenants import Tenant
from ligand_async import CursorParams, NotFound, Page, operation, paginate, requires, tag
from ligand_async.data import one_or_404, utc_now

# No key has this role, so that a stolen key cannot make others.
keys = requires(ADMIN)(
    tag("API keys", description="Keys for other services.")(Blueprint("keys", __name__, url_prefix="/api-keys"))
)


def keys_of(tenant: Tenant) -> Select[APIKey]:
    """Select the API keys of a tenant."""
    return select(APIKey).where(APIKey.tenant == tenant)


@keys.get("/")
@operation
async def list_keys(query_args: CursorParams, tenant: Tenant, session: AsyncSession) -> Page[APIKeyRead]:
    """List the API keys of the tenant, the oldest first."""
    return await paginate(session, keys_of(tenant).order_by(APIKey.created_at), query_args, into=APIKeyRead)


@keys.post("/")  # not @idempotent, which would keep the key in the stored reply
@operation(status=201)
async def create_key(data: APIKeyCreate, tenant: Tenant, session: AsyncSession) -> APIKeyMade:
    """Make an API key. The response is the only one that shows it."""
    key = f"inv_{secrets.token_urlsafe(32)}"
    made = APIKey(tenant=tenant, digest=digest_of(key), **data.model_dump())
    session.add(made)
    await session.flush()
    return APIKeyMade(**APIKeyRead.model_validate(made).model_dump(), key=key)


@keys.delete("/<uuid:key_id>")
@operation(status=204, raises=[NotFound])
async def revoke_key(key_id: UUID, tenant: Tenant, session: AsyncSession) -> None:
    """Revoke an API key. Its row stays, so that everyone sees whose key it was."""
    found = await one_or_404(session, keys_of(tenant).where(APIKey.id == key_id))
    found.revoked_at = found.revoked_at or utc_now()
