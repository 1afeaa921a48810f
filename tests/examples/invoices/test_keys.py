"""API keys: shown once, kept as digests, used as a credential, and revoked."""

from sqlalchemy import select

from examples.invoices.models import APIKey, audit, db
from examples.invoices.tenants import variables_for
from ligand_async.web import LigandQuart
from tests.examples.invoices.callers import Caller, make_key


def program(app: LigandQuart, key: str) -> Caller:
    """Return the caller that has a key and no token."""
    caller = Caller(app, "nobody")
    caller.headers = {"X-API-Key": key}
    return caller


async def test_a_key_is_a_credential(app: LigandQuart, ann: Caller) -> None:
    """A program with a key is of its tenant, with the role of the key, and is named in the trail."""
    made = await make_key(app)
    till = program(app, made["key"])
    where, document, _ = await till.invoice(await till.customer())

    assert document["owner"] == f"key:{made['id']}"
    assert (await ann.send("GET", where))[0] == 200
    assert [event["subject"] for event in (await ann.send("GET", f"{where}/history"))[1]] == [document["owner"]]
    assert (await till.send("POST", f"{where}/void"))[0] == 403
    assert (await till.send("POST", "/api-keys/", {"name": "more", "role": "clerk"}))[0] == 403
    rival = program(app, (await make_key(app, "rival"))["key"])
    assert (await rival.send("GET", where))[0] == 404
    assert (await rival.send("GET", "/invoices/"))[1]["items"] == []
    assert (await program(app, made["key"][:-1]).send("GET", where))[0] == 401


async def test_a_key_is_shown_once(app: LigandQuart) -> None:
    """Neither the list nor the database nor the trail has the key; the trail does not have its digest either."""
    made = await make_key(app)
    admin = Caller(app, "ada", "acme", "admin")

    listed = (await admin.send("GET", "/api-keys/"))[1]["items"]
    assert listed == [{name: value for name, value in made.items() if name != "key"}]
    async with db.read(variables=variables_for("acme")) as session:
        [row] = await session.scalars(select(APIKey))
        [event] = (await session.execute(select(audit.table).where(audit.table.c.entity == "APIKey"))).all()
    assert made["key"] not in str(vars(row))
    assert event.new.keys() == {"id", "name", "role", "revoked_at", "created_at", "updated_at"}


async def test_a_revoked_key_is_no_credential(app: LigandQuart) -> None:
    """From the next request on; its row stays, and another tenant cannot revoke it."""
    made = await make_key(app)
    till, admin, other = (
        program(app, made["key"]),
        Caller(app, "ada", "acme", "admin"),
        Caller(app, "x", "rival", "admin"),
    )
    path = f"/api-keys/{made['id']}"
    assert (await other.send("DELETE", path))[0] == 404
    assert (await till.send("GET", "/customers/"))[0] == 200
    assert [(await admin.send("DELETE", path))[0] for _ in range(2)] == [204, 204]
    assert (await till.send("GET", "/customers/"))[0] == 401
    [listed] = (await admin.send("GET", "/api-keys/"))[1]["items"]
    assert listed["revoked_at"] is not None


async def test_only_administrators_make_keys(app: LigandQuart, ann: Caller, eve: Caller) -> None:
    """Clerks and accountants do not; a key has one of two roles, and no more is taken from a client."""
    body = {"name": "till", "role": "clerk"}
    for caller in (ann, eve):
        assert (await caller.send("POST", "/api-keys/", body))[0] == 403
        assert (await caller.send("GET", "/api-keys/"))[0] == 403
    admin = Caller(app, "ada", "acme", "admin")
    for wrong in ({"role": "admin"}, {"digest": "0" * 64}, {"tenant": "rival"}, {"name": ""}, {"name": "n" * 101}):
        assert (await admin.send("POST", "/api-keys/", body | wrong))[0] == 422
