"""The tenant of a caller, and what the database must know of it."""

from collections.abc import Mapping

from ligand_async import Forbidden, Principal


class Tenant(str):
    """The company whose rows a request may see. The issuer puts it into the claim `tenant`."""

    __slots__ = ()


def tenant_of(principal: Principal) -> Tenant:
    """Return the tenant of the caller.

    Raises:
        Forbidden: The token names no tenant.
    """
    tenant = principal.claims.get("tenant")
    if not isinstance(tenant, str) or not tenant:
        raise Forbidden("your token does not name a tenant")
    return Tenant(tenant)


def variables_of(principal: Principal | None) -> Mapping[str, str]:
    """Return the variable that the policies of PostgreSQL compare with the tenant of a row."""
    return {} if principal is None else variables_for(tenant_of(principal))


def variables_for(tenant: str) -> Mapping[str, str]:
    """Return the variable for work that no caller has asked for."""
    return {"invoices.tenant": tenant}
