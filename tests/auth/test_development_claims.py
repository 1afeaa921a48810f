"""Claims of the development issuer's tokens: from Python, from tests and from its token endpoint."""

import json
from typing import Any

import pytest
from quart import Blueprint, Quart

from ligand_async import Principal, claim, operation, requires
from ligand_async.auth import issuer_of
from ligand_async.testing import access_token, authorization
from tests.auth.issuing import claims_of
from tests.services import NEVER_OPENED, make_app, running

TOKEN = "/_dev/issuer/token"


def app_of() -> Quart:
    """Make a service with a route for one tenant."""
    tenants = Blueprint("tenants", __name__)

    @tenants.get("/acme")
    @requires(claim("tenant", "acme") & claim("groups", "clerks"))
    @operation
    async def read_claims(principal: Principal) -> dict[str, Any]:
        return {"tenant": principal.claims["tenant"], "groups": list(principal.claims["groups"])}

    return make_app(NEVER_OPENED, tenants, database=None)


async def test_claims_pass_the_verification() -> None:
    """A requirement on a claim is met by it, a handler reads it, and another value is a 403."""
    app = app_of()
    claims = {"tenant": "acme", "groups": ["clerks", "admins"], "nested": {"a": [1, None, True]}}
    async with running(app, tables=False) as client:
        met = await client.get("/acme", headers=authorization(app, claims=claims))
        unmet = await client.get("/acme", headers=authorization(app, claims={**claims, "tenant": "other"}))

    assert (met.status_code, unmet.status_code) == (200, 403)
    assert await met.get_json() == {"tenant": "acme", "groups": ["clerks", "admins"]}


async def test_the_token_endpoint_takes_claims() -> None:
    """The parameter `claims` is a JSON object."""
    app = app_of()
    form = {"grant_type": "client_credentials", "client_id": "robot"}
    form["claims"] = json.dumps({"tenant": "acme", "groups": ["clerks"]})
    async with running(app, tables=False) as client:
        granted = await (await client.post(TOKEN, form=form)).get_json()
        headers = {"Authorization": f"Bearer {granted['access_token']}"}
        answer = await client.get("/acme", headers=headers)

    assert (answer.status_code, claims_of(granted["access_token"])["sub"]) == (200, "robot")


OWN = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "roles", "scope"]


@pytest.mark.parametrize("name", OWN)
async def test_claims_of_the_issuer_are_not_overwritten(name: str) -> None:
    """From Python it is an error that says what to use instead, from the token endpoint one of OAuth."""
    app = app_of()
    with pytest.raises(ValueError, match=f"the development issuer sets the claim {name} itself"):
        authorization(app, claims={"tenant": "acme", name: 1})
    form = {"grant_type": "client_credentials", "client_id": "robot", "claims": json.dumps({name: 1})}
    async with running(app, tables=False) as client:
        response = await client.post(TOKEN, form=form)

    document = await response.get_json()
    assert (response.status_code, document["error"]) == (400, "invalid_request")
    assert name in document["error_description"]


def test_the_error_names_the_argument() -> None:
    """`exp` is set by `expires`."""
    with pytest.raises(ValueError, match="use expires for it"):
        access_token(app_of(), claims={"exp": 1})


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"x": float("nan")}, ValueError),
        ({"x": [float("inf")]}, ValueError),
        ({"x": "\ud800"}, ValueError),
        ({"": 1}, ValueError),
        ({"a\nb": 1}, ValueError),
        ({"x": "y" * 20_000}, ValueError),
        ({"x": {1, 2}}, TypeError),
        ({"x": b"y"}, TypeError),
        ({1: "x"}, TypeError),
    ],
)
def test_claims_that_no_token_can_carry_are_refused(claims: dict[Any, Any], error: type[Exception]) -> None:
    """At once, instead of by a 401 in a test that means something else."""
    with pytest.raises(error):
        access_token(app_of(), claims=claims)


def test_deep_claims_are_refused() -> None:
    """JSON of more levels than a verifier reads."""
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    issuer = issuer_of(app_of())
    assert issuer is not None
    with pytest.raises(ValueError, match="no service would accept"):
        issuer.issue(claims={"x": deep})


@pytest.mark.parametrize("claims", ["{", "[]", "5", '"x"', '{"a": 1, "a": 2}', '{"a": NaN}', '{"": 1}'])
async def test_claims_that_are_no_object_are_an_oauth_error(claims: str) -> None:
    """So is an object with a name twice."""
    form = {"grant_type": "client_credentials", "client_id": "robot", "claims": claims}
    async with running(app_of(), tables=False) as client:
        response = await client.post(TOKEN, form=form)

    assert (response.status_code, (await response.get_json())["error"]) == (400, "invalid_request")
