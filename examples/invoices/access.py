"""Who may call: the roles of this service, and API keys for programs."""

from hashlib import sha256

from sqlalchemy import select

from examples.invoices.models import APIKey, db
from ligand_async import Principal, role

CLERK, ACCOUNTANT, ADMIN = role("clerk"), role("accountant"), role("admin")
STAFF = CLERK | ACCOUNTANT


def digest_of(key: str) -> str:
    """Return the digest of an API key. A key is 256 random bits, so it needs no salt and no slow hash."""
    return sha256(key.encode()).hexdigest()


async def find_program(key: str) -> Principal | None:
    """Return the program that has this API key, or None if there is none or the key was revoked."""
    digest = digest_of(key)
    async with db.read(variables={"invoices.key": digest}) as session:
        found = await session.scalar(select(APIKey).where(APIKey.digest == digest, APIKey.revoked_at.is_(None)))
    if found is None:
        return None
    return Principal(f"key:{found.id}", "invoices", frozenset({found.role}), claims={"tenant": found.tenant})
