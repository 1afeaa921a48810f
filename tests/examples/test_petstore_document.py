"""The petstore's document tells the truth: what it documents happens, and what happens is documented."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from quart import Quart, Response

from examples.petstore.app import create_app
from ligand_async.docs import document_of
from ligand_async.testing import Conformance, authorization, watch
from tests.auth.issuing import AUDIENCE, Issuer

REX = {"name": "Rex", "description": "A good dog."}
NOWHERE = str(UUID(int=1))
JSON = {"Content-Type": "application/json"}
ANY = {"If-Match": "*"}
TOO_LARGE = b'"' + b"x" * 2**20 + b'"'


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        role: Of the caller; None for nobody, "" for somebody without roles.
        json: The body.
        data: The body as bytes.
        headers: Its headers.
        query: The query string.
        known: Whether it shows the entity tag that the resource has, as If-None-Match.
        pet: Which pet; None for one that is there.
        crowd: How many send it at once.
    """

    role: str | None = None
    json: Any = None
    data: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    known: bool = False
    pet: str | None = None
    crowd: int = 1


def refusals(role: str, headers: Mapping[str, str], json: Any) -> dict[int, Call]:
    """How a body, and who sends it, is refused."""
    return {
        400: Call(role, data=b"{", headers={**headers, **JSON}),
        401: Call(json=json),
        403: Call("", json=json),
        413: Call(role, data=TOO_LARGE, headers={**headers, **JSON}),
        415: Call(role, data=b"<pet/>", headers={**headers, "Content-Type": "application/xml"}),
        422: Call(role, json={"name": ""}, headers=headers),
    }


def changes(role: str, json: Any = None) -> dict[int, Call]:
    """How a change of a pet is refused that somebody may make who has seen it."""
    return {
        404: Call(role, json, pet=NOWHERE, headers=ANY),
        412: Call(role, json, headers={"If-Match": '"old"'}),
        428: Call(role, json),
    }


MAX = {"name": "Max"}
EVERYWHERE = {422: Call(query="?colour=red")}
ROWS: dict[str, dict[int, Call]] = {
    # First, while nobody's refusals are added to the trail, whose tag would change.
    "list_audit_events": {
        200: Call("admin"),
        304: Call("admin", known=True),
        422: Call("admin", query="?colour=red"),
        401: Call(),
        403: Call("user"),
    },
    "list_pets": {200: Call(), 304: Call(known=True), **EVERYWHERE},
    "read_pet": {200: Call(), 304: Call(known=True), 404: Call(pet=NOWHERE), **EVERYWHERE},
    "create_pet": {
        201: Call("user", json=REX),
        409: Call("user", json=REX, headers={"Idempotency-Key": '"rex"'}, crowd=10),
        **refusals("user", {}, REX),
    },
    "replace_pet": {
        200: Call("user", json=MAX, headers=ANY),
        **refusals("user", ANY, MAX),
        **changes("user", MAX),
    },
    "update_pet": {
        200: Call("user", json=MAX, headers=ANY),
        **refusals("user", ANY, MAX),
        **changes("user", MAX),
    },
    "delete_pet": {
        204: Call("admin", headers=ANY),
        401: Call(),
        403: Call("user"),
        **changes("admin"),
        422: Call("admin", headers=ANY, query="?colour=red"),
    },
    "read_caller": {200: Call(""), 304: Call("", known=True), 401: Call(), 422: Call("", query="?colour=red")},
}
WHERE = {
    "list_audit_events": ("GET", "/audit/"),
    "list_pets": ("GET", "/pets/"),
    "create_pet": ("POST", "/pets/"),
    "read_pet": ("GET", "/pets/{}"),
    "replace_pet": ("PUT", "/pets/{}"),
    "update_pet": ("PATCH", "/pets/{}"),
    "delete_pet": ("DELETE", "/pets/{}"),
    "read_caller": ("GET", "/me"),
}


@asynccontextmanager
async def petstore(database_url: str) -> AsyncIterator[tuple[Quart, Conformance]]:
    app = create_app("testing", database_url=database_url, database_auto_upgrade=True)
    conformance = watch(app)
    async with app.test_app():
        yield app, conformance


async def make(app: Quart, operation: str, call: Call) -> set[int]:
    """Send a request and return how it was answered."""
    client = app.test_client()
    method, path = WHERE[operation]
    if "{}" in path:
        created = await client.post("/pets/", json=REX, headers=authorization(app, roles=["user"]))
        path = path.format(call.pet or (await created.get_json())["id"])
    headers = dict(call.headers)
    if call.role is not None:
        headers |= authorization(app, roles=[call.role] if call.role else [])
    if call.known:
        headers["If-None-Match"] = (await client.get(path, headers=headers)).headers["ETag"]

    async def send() -> Response:
        body: dict[str, Any] = (
            {"data": call.data} if call.data is not None else {"json": call.json} if call.json is not None else {}
        )
        return await client.open(path + call.query, method=method, headers=headers, **body)

    return {response.status_code for response in await asyncio.gather(*(send() for _ in range(call.crowd)))}


def documented_by(app: Quart, conformance: Conformance) -> set[tuple[str, str]]:
    return {
        (operation["operationId"], status)
        for path in conformance.document_of(app).document["paths"].values()
        for operation in path.values()
        for status in operation["responses"]
        if status != "default"
    }


def test_the_page_sends_what_somebody_wrote() -> None:
    """No parameter has an example: Swagger UI would fill it in, and send the same idempotency key twice."""
    document = json.loads(document_of(create_app("testing")).content)
    parameters = [
        parameter
        for path in document["paths"].values()
        for operation in path.values()
        for parameter in operation.get("parameters", ())
    ]
    assert "Idempotency-Key" in {parameter["name"] for parameter in parameters}
    assert [parameter["name"] for parameter in parameters if parameter.keys() & {"example", "examples"}] == []


async def test_what_is_documented_happens(database_url: str) -> None:
    """Each documented status of each operation is reached, by an answer that is as documented; others come below."""
    async with petstore(database_url) as (app, conformance):
        documented = {
            (name, status) for name, status in documented_by(app, conformance) if status not in {"429", "503"}
        }
        rows = {(operation, str(status)) for operation, calls in ROWS.items() for status in calls}
        for operation, calls in ROWS.items():
            for status, call in calls.items():
                assert status in await make(app, operation, call), (operation, status, call)

    assert documented - rows == set(), "a documented status without a row: add one that reaches it"
    assert {answer for answer in conformance.reached if answer[1] != "default"} == documented


@pytest.mark.ligand_database("sqlite")
async def test_callers_who_fail_too_often_get_what_is_documented(database_url: str) -> None:
    """429 instead of a second 403, where one is allowed."""
    app = create_app("testing", database_url=database_url, database_auto_upgrade=True, refused_requests="1/minute")
    conformance = watch(app)
    documented = {answer for answer in documented_by(app, conformance) if answer[1] == "429"}
    async with app.test_app():
        client, headers = app.test_client(), authorization(app)
        for operation, _ in [*sorted(documented), *sorted(documented)]:
            method, path = WHERE[operation]
            body: dict[str, Any] = {"json": MAX} if method in {"POST", "PUT", "PATCH"} else {}
            await client.open(path.format(NOWHERE), method=method, headers=headers, **body)

    assert documented
    assert {answer for answer in conformance.reached if answer[1] == "429"} == documented


@pytest.mark.ligand_database("sqlite")
async def test_an_outage_is_as_documented() -> None:
    """503 without the database, and without the issuer that knows who is calling."""
    with Issuer() as issuer:
        stranger = {"Authorization": f"Bearer {issuer.mint()}"}
    away = {"database_url": "postgresql://user:pass@127.0.0.1:1/none"}
    foreign = create_app("testing", **away, oidc_issuer=issuer.url, oidc_audience=AUDIENCE)
    app = create_app("testing", **away)
    reached, documented = set(), documented_by(app, watch(app))
    for service, operations, sent in ((app, set(WHERE) - {"read_caller"}, None), (foreign, {"read_caller"}, stranger)):
        conformance = watch(service)
        headers = (authorization(service, roles=["user", "admin"]) if sent is None else sent) | ANY
        async with service.test_app():
            for operation in sorted(operations):
                method, path = WHERE[operation]
                body: dict[str, Any] = {"json": MAX} if method in {"POST", "PUT", "PATCH"} else {}
                await service.test_client().open(path.format(NOWHERE), method=method, headers=headers, **body)
        reached |= conformance.reached

    assert reached == {answer for answer in documented if answer[1] == "503"}
