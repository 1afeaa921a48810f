"""What the guides in docs/ show can be run."""

import asyncio
import functools
import importlib.util
import io
import itertools
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import httpx2
import pytest
from blinker import NamedSignal
from click.testing import CliRunner
from quart.datastructures import FileStorage
from sqlalchemy import insert, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from ligand_async import Conflict, Database, Principal, Settings, create_app, signals
from ligand_async.auth import issuer_of
from ligand_async.cli import ligand
from ligand_async.testing import authorization, watch
from ligand_async.web import services_of
from tests.auth.issuing import AUDIENCE, Issuer
from tests.machine import leave_bare
from tests.redis_server import RedisServer
from tests.servers import ROOT, serving
from tests.upstream.service import Reply, Upstream

GUIDES = ROOT / "docs"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
NUMBERS = itertools.count()
LINK = re.compile(r"\]\((?!https?://)([^)#]+)\)")


@pytest.fixture
def guide(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ModuleType]:
    """The Python of one guide, as a module."""
    name = f"guide_{request.param}_{next(NUMBERS)}"  # what two tests make of one guide is not one module
    path = tmp_path / f"{name}.py"
    path.write_text("\n\n".join(BLOCK.findall((GUIDES / f"{request.param}.md").read_text())))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


@pytest.mark.parametrize("guide", ["operations"], indirect=True)
async def test_operations_guide_serves(guide: ModuleType, sqlite_url: str) -> None:
    """The library of the guide starts, and a book can be stored and found."""
    app = guide.make_library(environment="testing", database_url=sqlite_url)
    async with app.test_app(), app.app_context():
        await guide.db.create_tables()
        client = app.test_client()
        created = await client.post("/books/", json={"title": "Emma"})

        assert created.status_code == 201
        assert (await client.get(created.headers["Location"])).status_code == 200
        assert (await (await client.get("/books/?title=Emma")).get_json())["total"] == 1
        receipt = await client.get(f"{created.headers['Location']}/receipt", headers={"Range": "bytes=-4"})
        assert (receipt.status_code, await receipt.get_data()) == (206, b"5.00")
        assert await (await client.get("/books/greeting?times=2")).get_json() == "hello Quart hello Quart "
        assert (await client.put(f"{created.headers['Location']}/lending")).status_code == 202
        assert (await client.post(f"{created.headers['Location']}/reminders")).status_code == 202


@pytest.mark.parametrize("guide", ["inputs"], indirect=True)
async def test_inputs_guide_is_true(guide: ModuleType, sqlite_url: str) -> None:
    """Each input of the guide is read as the guide says."""
    app = guide.make_stock(Settings.load("testing", database_url=sqlite_url))
    async with app.test_app():
        client = app.test_client()

        async def ask(path: str, method: str = "GET", **sent: Any) -> Any:
            response = await client.open(f"/stock{path}", method=method, **sent)
            return await response.get_json() if response.status_code < 300 else response.status_code

        octets = {"Content-Type": "application/octet-stream"}
        item = {"name": "tea", "price": "2.50"}
        asked: list[tuple[Any, Any]] = [
            (
                await ask("/A/3?since=2026-01-01&size=2"),
                {"shelf": "A", "level": 3, "since": "2026-01-01", "sizes": ["LARGE"], "currency": "EUR"},
            ),
            (
                [await ask(path) for path in ("/A/10?since=2026-01-01", "/A/3", "/A/b?since=2026-01-01")],
                [422, 422, 404],
            ),
            ([await ask(path) for path in ("/counts", "/counts?year=3", "/counts/4")], [2026, 3, 4]),
            (
                await ask(
                    "/greeting?name=ada",
                    headers={"Accept-Language": "de, fr", "X-Trace": "t1", "Cookie": "theme=dark"},
                ),
                ["ada", "de", "t1", "dark"],
            ),
            ([await ask("/greeting?name=ada"), await ask("/greeting")], [["ada", "en", None, "light"], 422]),
            (await ask("/items", "POST", json=item), "tea from <local>"),
            ([await ask("/items/tea", "PUT", json=item), await ask("/items/tea", "PUT")], [True, False]),
            (await ask("/imports", "POST", json={"name": "a", "count": "5", "more": 1}), 5),
            (await ask("/items/tea/photo", "PUT", data=b"png", headers={"Content-Type": "image/png"}), 3),
            (await ask("/items/tea/photo", "PUT", data=b"gif", headers={"Content-Type": "image/gif"}), 415),
            (await ask("/backup", "PUT", data=b"x" * 2**21, headers=octets), 2**21),
            (await ask("/backup", "PUT", data=b"x" * (2**23 + 1), headers=octets), 413),
            (await ask("/login", "POST", form={"name": "ada"}), "ada"),
            (
                await ask("/labels", "POST", form={"text": "a", "sizes": "1"}, files={"logo": file(b"x")}),
                ["a", True, 1],
            ),
            (
                await ask("/deliveries", "POST", form={"note": json.dumps(item)}, files={"picture": file(b"x")}),
                "tea",
            ),
            ([await ask(f"/orders/{amount}", "POST") for amount in (1, 50)], [{"number": 1}, {"seconds": 60}]),
            (await ask("/place"), [47.5, 7.6]),
        ]

    assert [found for found, _ in asked] == [expected for _, expected in asked]


def file(content: bytes) -> FileStorage:
    """Make an upload."""
    return FileStorage(io.BytesIO(content), filename="f")


@pytest.mark.parametrize("guide", ["tenants"], indirect=True)
async def test_tenants_guide_keeps_tenants_apart(guide: ModuleType, postgres_url: str) -> None:
    """With the SQL of the guide, its handlers show the invoices of one tenant."""
    policy, make_role = re.findall(r"```sql\n(.*?)```", (GUIDES / "tenants.md").read_text(), re.DOTALL)
    engine = create_async_engine(postgres_url)
    async with engine.begin() as connection:
        await connection.run_sync(guide.Base.metadata.create_all)
        await connection.execute(insert(guide.Invoice), [{"tenant": name, "total": 7} for name in ("acme", "umbrella")])
        for statement in f"{policy}{make_role}".replace("ROLE app", "ROLE ligand_guide").split(";")[:-1]:
            await connection.exec_driver_sql(statement.replace("TO app", "TO ligand_guide"))
    try:
        url = make_url(postgres_url).set(username="ligand_guide").render_as_string(hide_password=False)
        settings = Settings.load("testing", database_url=url)
        app = create_app(
            "guide", title="Invoices", version="1", settings=settings, database=guide.db, blueprints=[guide.invoices]
        )
        async with app.test_app(), app.app_context():
            assert await guide.sum_of("acme") == 7
            response = await app.test_client().get("/invoices/", headers=authorization(app, roles=["user"]))
            assert response.status_code == 403
    finally:
        async with engine.begin() as connection:
            await connection.exec_driver_sql("DROP OWNED BY ligand_guide")
            await connection.exec_driver_sql("DROP ROLE ligand_guide")
        await engine.dispose()


@pytest.mark.parametrize("guide", ["database"], indirect=True)
async def test_database_guide_serves(guide: ModuleType, database_url: str) -> None:
    """The accounts of the guide can be paid into, read and counted."""
    settings = Settings.load("testing", database_url=database_url)
    database: Database = guide.db
    app = create_app(
        "guide", title="Bank", version="1", settings=settings, database=database, blueprints=[guide.accounts]
    )
    async with app.test_app(), app.app_context():
        await database.create_tables()
        async with database.transaction() as session:
            account = guide.Account(owner="ada")
            session.add(account)
        client = app.test_client()

        paid = await client.post(f"/accounts/{account.id}/entries", json={"amount": 5})
        assert (await paid.get_json())["balance"] == 5
        assert await (await client.get(f"/accounts/{account.id}")).get_json() == {
            "owner": "ada",
            "entries": [{"amount": 5}],
        }
        assert (await client.get("/accounts/by-owner/ada")).status_code == 200
        assert (await client.get("/accounts/richest")).status_code == 200
        await guide.add_interest()
        assert await guide.count_accounts() == 1
        async with database.transaction() as session:
            session.add(guide.Account(owner='"b", c'))
        exported = await client.get("/accounts/export.csv")
        assert (exported.mimetype, await exported.get_data(as_text=True)) == (
            "text/csv",
            'ada,6\r\n"""b"", c",0\r\n',
        )
        records = (await (await client.get("/accounts/export.ndjson")).get_data(as_text=True)).splitlines()
        assert [json.loads(record) for record in records] == [
            {"owner": "ada", "balance": 6},
            {"owner": '"b", c', "balance": 0},
        ]


@pytest.mark.parametrize("guide", ["database"], indirect=True)
async def test_database_guide_exports(guide: ModuleType, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's client sums the accounts of a real server up, and notices an export that failed halfway."""
    settings = Settings.load("testing", database_url=database_url)
    app = create_app(
        "guide", title="Bank", version="1", settings=settings, database=guide.db, blueprints=[guide.accounts]
    )

    class Unlucky(guide.AccountRecord):  # type: ignore[name-defined, misc]  # the guide is a module made at run time
        def __init__(self, **values: Any) -> None:
            super().__init__(**values)
            if self.owner == "owner 2500":
                raise ValueError("in the middle of the body")

    async with (
        app.app_context(),
        serving(app) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        await guide.db.create_tables()
        async with guide.db.transaction() as session:
            session.add_all([guide.Account(owner=f"owner {number}", balance=number) for number in range(3000)])
        assert await guide.sum_balances(client) == sum(range(3000))
        monkeypatch.setattr(guide, "AccountRecord", Unlucky)
        with pytest.raises(RuntimeError, match="the export was cut; request"):
            await guide.sum_balances(client)


@pytest.mark.parametrize("guide", ["schemas"], indirect=True)
async def test_schemas_guide_serves(guide: ModuleType, database_url: str) -> None:
    """The orders of the guide can be made, read with their customer, changed and replaced."""
    database: Database = guide.db
    settings = Settings.load("testing", database_url=database_url)
    app = create_app("guide", title="Shop", version="1", settings=settings, database=database, blueprints=[guide.shop])
    async with app.test_app(), app.app_context():
        await database.create_tables()
        async with database.transaction() as session:
            customer = guide.Customer(name="Ann", card_token="secret")
            session.add(customer)
        client = app.test_client()
        body = {"customer_id": str(customer.id), "amount": "9.90", "note": "soon", "labels": {"a": 1}}
        order = await (await client.post("/orders", json=body)).get_json()
        where = f"/orders/{order['id']}"
        patch = {"headers": {"Content-Type": "application/merge-patch+json"}, "data": '{"note": null, "state": "paid"}'}
        changed = await (await client.patch(where, **patch)).get_json()
        read = await (await client.get(f"/customers/{customer.id}")).get_json()
        replaced = await (await client.put(where, json=body | {"amount": 1})).get_json()

    assert (order["state"], order["amount"], order["version"]) == ("open", "9.90", 1)
    assert (changed["note"], changed["state"], changed["labels"]) == (None, "paid", {"a": 1})
    assert read == {"id": str(customer.id), "name": "Ann", "orders": [changed]}
    assert (replaced["state"], replaced["note"], replaced["amount"]) == ("open", "soon", "1.00")


@pytest.mark.parametrize("guide", ["schemas"], indirect=True)
async def test_schemas_guide_writes_nested_bodies(guide: ModuleType, database_url: str) -> None:
    """The invoices of the guide are made, replaced and patched with their lines, and read as they were answered."""
    database: Database = guide.db
    settings = Settings.load("testing", database_url=database_url)
    app = create_app("guide", title="Shop", version="1", settings=settings, database=database, blueprints=[guide.shop])
    async with app.test_app(), app.app_context():
        await database.create_tables()
        async with database.transaction() as session:
            customer = guide.Customer(name="Ann")
            session.add_all([customer, guide.Tag(name="urgent"), guide.Tag(name="paid")])
        client = app.test_client()
        body: dict[str, Any] = {
            "customer": {"id": str(customer.id)},
            "address": {"city": "Ulm"},
            "lines": [
                {"position": 2, "product": "tea", "discounts": [{"percent": 5}]},
                {"position": 1, "product": "jam"},
            ],
            "tags": [{"name": "urgent"}, {"name": "paid"}],
        }
        unknown = await client.post("/invoices", json=body | {"tags": [{"name": "x"}]})
        made = await client.post("/invoices", json=body)
        invoice = await made.get_json()
        where = f"/invoices/{invoice['id']}"
        jam, tea = invoice["lines"]
        swapped = body | {
            "lines": [{"id": jam["id"], "position": 2, "product": "jam"}, {"position": 1, "product": "oil"}]
        }
        replaced = await client.put(where, json=swapped, headers={"If-Match": made.headers["ETag"]})
        after = await replaced.get_json()
        patch = {"address": None, "lines": [{"id": jam["id"], "quantity": 3}]}
        patched = await client.patch(where, json=patch, headers={"If-Match": replaced.headers["ETag"]})
        last = await patched.get_json()
        read = await client.get(where)

        assert (await unknown.get_json())["errors"][0]["pointer"] == "/tags/0"
        assert [line["product"] for line in invoice["lines"]] == ["jam", "tea"]
        assert (tea["quantity"], [one["percent"] for one in tea["discounts"]]) == (1, [5])
        assert [tag["name"] for tag in invoice["tags"]] == ["paid", "urgent"]
        assert [(line["product"], line["id"] == jam["id"]) for line in after["lines"]] == [
            ("oil", False),
            ("jam", True),
        ]
        assert (last["address"], last["lines"][0]["quantity"], last["version"]) == (None, 3, 3)
        assert (await read.get_json(), read.headers["ETag"]) == (last, patched.headers["ETag"])


@pytest.mark.parametrize("guide", ["pages"], indirect=True)
async def test_pages_guide_serves(guide: ModuleType, database_url: str) -> None:
    """The films of the guide are listed by cursor and by number, narrowed, sorted and counted."""
    settings = Settings.load("testing", database_url=database_url)
    app = create_app(
        "guide", title="Films", version="1", settings=settings, database=guide.db, blueprints=[guide.films]
    )
    async with app.test_app(), app.app_context():
        await guide.db.create_tables()
        async with guide.db.transaction() as session:
            ann, bob = guide.Author(name="Ann"), guide.Author(name="Bob")
            films = [guide.Film(title=f"Part {n}", year=1990 + n if n else None, author=ann) for n in range(5)]
            films[1].tags, films[3].summary = [guide.Tag(name="sad")], "Sadly over"
            session.add_all([ann, bob, *films])
        client = app.test_client()

        async def titles(path: str) -> tuple[str, object]:
            page = await (await client.get(f"/films/{path}")).get_json()
            return "".join(item["title"].removeprefix("Part ") for item in page["items"]), page["total"]

        assert await titles("?sort=-year,title&limit=3") == ("043", None)
        assert await titles("?years=1991&years=1994&sort=-title") == ("41", None)
        assert await titles("?title_contains=PART&since=1993&page=1") == ("34", 2)
        assert await titles("?undated=true") == ("0", None)
        assert await titles("by-year?limit=2") == ("43", 5)
        assert (await client.get("/films/?page=1&cursor=x")).status_code == 422
        assert sorted((await titles("search?not_tagged=sad&author=Ann"))[0]) == ["0", "2", "3", "4"]
        assert len((await titles("search?author_tags=sad"))[0]) == 5
        assert [(await titles(f"search?{query}"))[0] for query in ("q=SAD", "any=SAD")] == ["3", "1"]
        assert len((await titles("latest"))[0]) == 3
        assert len((await titles("credits"))[0]) == 5
        authors = await (await client.get("/films/authors")).get_json()
        assert authors["items"] == [{"name": "Ann", "films": 5}, {"name": "Bob", "films": 0}]


@pytest.mark.ligand_conformance("off", reason="its renderer writes another content type")
@pytest.mark.parametrize("guide", ["errors"], indirect=True)
async def test_errors_guide_answers(guide: ModuleType, sqlite_url: str) -> None:
    """The problems of the guide are rendered as it says."""
    app = guide.make_shop(Settings.load("testing", database_url=sqlite_url))
    async with app.test_app():
        client = app.test_client()
        response = await client.post("/orders")

        assert response.status_code == 409
        assert response.mimetype == "application/json"
        assert (await response.get_json(force=True))["restocked_at"] == "2026-12-01"
        assert (await client.get("/teapot")).status_code == 418


@pytest.mark.parametrize("guide", ["security"], indirect=True)
async def test_security_guide_is_true(guide: ModuleType, sqlite_url: str) -> None:
    """The shop of the guide keeps its own headers, knows its callers, and counts."""
    settings = {"trusted_proxies": ("127.0.0.1",), "cors_origins": ("https://app.example.org",)}
    app = guide.make_shop(environment="testing", database_url=sqlite_url, **settings)
    async with app.test_app():
        client = app.test_client()
        forwarded = {"X-Forwarded-For": "6.6.6.6, 198.51.100.7", "X-Forwarded-Proto": "https"}
        base = {"client": ("127.0.0.1", 5000)}
        caller = await client.get("/caller", headers=forwarded, scope_base=base)
        page = await client.get("/hello", headers={"Origin": "https://app.example.org"})
        report = await client.post("/reports")
        checks = [await client.get("/admin/health") for _ in range(3)]

    assert (await caller.get_json())["address"] == "198.51.100.7"
    assert (await caller.get_json())["url"].startswith("https://")
    assert page.headers.getlist("Cache-Control") == ["public, max-age=60"]
    assert page.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
    shown = re.findall(r"^(RateLimit.*): (.*)$", (GUIDES / "security.md").read_text(), re.MULTILINE)
    assert {name: report.headers[name] for name, _ in shown} == dict(shown)
    assert len(shown) == 2
    assert all("RateLimit" not in check.headers for check in checks)


@pytest.mark.parametrize("guide", ["authentication"], indirect=True)
async def test_authentication_guide_is_true(guide: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The post office of the guide lets in whom it says, by tokens of its tests and of `ligand token`."""
    leave_bare(monkeypatch, tmp_path)
    monkeypatch.setenv("LIGAND_ENVIRONMENT", "local")
    command = re.search(r"^TOKEN=\$\(ligand (.*)\)$", (GUIDES / "authentication.md").read_text(), re.MULTILINE)
    assert command is not None
    arguments = shlex.split(command[1].replace("office:", f"{tmp_path / guide.__name__}:"))
    token = CliRunner().invoke(ligand, arguments).stdout.strip()
    app = guide.make_office()
    async with app.test_app():
        client = app.test_client()
        headers = {"Authorization": f"Bearer {token}"}

        assert (await client.get("/parcels/hours")).status_code == 200
        assert (await client.get("/parcels/mine")).status_code == 401
        assert await (await client.get("/parcels/mine", headers=headers)).get_json() == "nothing for ada"
        assert (await client.post("/parcels/", headers=headers)).status_code == 201
    await guide.test_clerks_take_parcels()


@pytest.mark.parametrize("guide", ["authentication"], indirect=True)
async def test_authentication_guide_guards(guide: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The staff's pages of the guide are for whom it says, by token, key and password, and `ligand auth` lists them."""
    leave_bare(monkeypatch, tmp_path)
    app = guide.make_staff_office(environment="testing")
    token = authorization(app, roles=["postmaster"], scopes=["safe:write"])
    callers: dict[str, Any] = {
        "nobody": {},
        "trainee": authorization(app, roles=["clerk", "trainee"]),
        "key": {"X-API-Key": "key-of-the-railway"},
        "password": {"Authorization": "Basic cG9zdG1hc3RlcjpzdGFtcC1hbmQtc2VhbA=="},
        "token": token,
    }
    async with app.test_app():
        client = app.test_client()
        shifts = {name: (await client.get("/staff/shifts", headers=sent)).status_code for name, sent in callers.items()}
        safe = {name: (await client.get("/staff/safe", headers=sent)).status_code for name, sent in callers.items()}
        assert (await client.put("/staff/safe", headers=token)).status_code == 204
        assert (await client.put("/staff/safe", headers=callers["password"])).status_code == 403
        async with client.websocket("/staff/queue") as queue:
            assert await queue.receive() == "3"
        monkeypatch.setattr(guide, "DENIED", {"railway"})
        assert (await client.get("/staff/shifts", headers=callers["key"])).status_code == 401

    assert shifts == {"nobody": 401, "trainee": 403, "key": 200, "password": 200, "token": 403}
    assert safe == {"nobody": 401, "trainee": 403, "key": 403, "password": 200, "token": 200}


@pytest.mark.parametrize("guide", ["authentication"], indirect=True)
def test_authentication_guide_lists(guide: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ligand auth routes` prints what the guide shows, with spaces of its own."""
    leave_bare(monkeypatch, tmp_path)
    monkeypatch.setenv("LIGAND_ENVIRONMENT", "cli")
    shown = re.search(r"auth routes\n(.*?)```", (GUIDES / "authentication.md").read_text(), re.DOTALL)
    assert shown is not None
    arguments = ["--app", f"{tmp_path / guide.__name__}:make_staff_office", "auth", "routes"]
    printed = CliRunner().invoke(ligand, arguments).stdout

    lines = [line.split() for line in printed.splitlines()]
    assert [line for line in shown[1].splitlines() if line != "..." and line.split() not in lines] == []


@pytest.mark.parametrize("guide", ["authentication"], indirect=True)
async def test_authentication_guide_calls_others(guide: ModuleType, sqlite_url: str) -> None:
    """The export office of the guide asks carriers as itself, and customs as its caller."""
    with Issuer() as issuer, Upstream() as other:
        issuer.answer("/token", body=b'{"access_token": "its-own", "token_type": "Bearer", "expires_in": 60}')
        other.script("/offers", [{"carrier": "fast", "price": 9}])
        other.script("/offers/fast", {"carrier": "fast", "price": 9})
        other.script("/offers/none", 404)
        other.script("/customs/declarations", Reply(201, b'"D-1"'))
        settings = guide.PostSettings.load(
            "testing",
            database_url=sqlite_url,
            carriers_url=other.url,
            customs_url=f"{other.url}/customs",
            oidc_issuer=issuer.url,
            oidc_audience=AUDIENCE,
            oidc_client_id="office",
            oidc_client_secret="secret",
        )
        app = guide.make_export_office(settings)
        token = issuer.mint()
        async with app.test_app():
            client = app.test_client()

            assert await (await client.get("/exports/offers")).get_json() == [{"carrier": "fast", "price": 9}]
            prices = [await (await client.get(f"/exports/offers/{name}")).get_json() for name in ("fast", "none")]
            declared = await client.post("/exports/", headers={"Authorization": f"Bearer {token}"})

    assert prices == [9, None]
    assert (declared.status_code, await declared.get_json()) == (201, "D-1")
    shown = [asked.headers["Authorization"] for asked in other.requests]
    assert shown == [*["Bearer its-own"] * 3, f"Bearer {token}"]


@pytest.mark.parametrize("guide", ["conditional"], indirect=True)
async def test_conditional_guide_is_true(guide: ModuleType, database_url: str) -> None:
    """A room of the guide is made once, read, changed by who has seen it, and closed."""
    settings = Settings.load("testing", database_url=database_url)
    app = create_app(
        "guide", title="House", version="1", settings=settings, database=guide.db, blueprints=[guide.rooms]
    )
    async with app.test_app(), app.app_context():
        await guide.db.create_tables()
        client, path, new = app.test_client(), f"/rooms/{UUID(int=1)}", {"If-None-Match": "*"}

        made = [(await client.put(path, json={"name": "hall"}, headers=new)).status_code for _ in range(2)]
        read = await client.get(path)
        seen = {"If-Match": read.headers["ETag"]}
        known = await client.get(path, headers={"If-None-Match": read.headers["ETag"]})
        renamed = await client.patch(path, json={"name": "attic"}, headers=seen)
        closed = [(await client.delete(path, headers=headers)).status_code for headers in ({}, seen)]

        assert (made, known.status_code, renamed.status_code, closed) == ([200, 412], 304, 200, [428, 412])
        assert (await client.delete(path, headers={"If-Match": renamed.headers["ETag"]})).status_code == 204

        async with guide.db.transaction() as session:
            session.add(guide.Desk(number=1, label="old"))
        labelled = [
            await client.patch("/rooms/desks/1", json={"name": name}, headers={"If-Match": "*"}) for name in "ab"
        ]
        late = await client.patch(
            "/rooms/desks/1", json={"name": "c"}, headers={"If-Match": labelled[0].headers["ETag"]}
        )
        assert ([answer.status_code for answer in labelled], late.status_code) == ([204, 204], 412)


@pytest.mark.parametrize("guide", ["idempotency"], indirect=True)
async def test_idempotency_guide_is_true(guide: ModuleType, database_url: str) -> None:
    """Who pays twice with one key has paid once; a refund needs a key."""
    settings = Settings.load("testing", database_url=database_url)
    app = create_app(
        "guide", title="Bank", version="1", settings=settings, database=guide.db, blueprints=[guide.payments]
    )
    async with app.test_app(), app.app_context():
        await guide.db.create_tables()
        client, key = app.test_client(), {"Idempotency-Key": '"a"'}
        paid = [await client.post("/payments/", json={"amount": 5}, headers=key) for _ in range(2)]
        other = await client.post("/payments/", json={"amount": 6}, headers=key)
        refunds = [await client.post("/payments/refunds", json={"amount": 5}, headers=sent) for sent in ({}, key)]

        assert await paid[0].get_data() == await paid[1].get_data()
        assert paid[1].headers["Idempotency-Replayed"] == "true"
        assert [answer.status_code for answer in (*paid, other, *refunds)] == [201, 201, 422, 400, 201]


@pytest.mark.parametrize("guide", ["signals"], indirect=True)
async def test_signals_guide_is_true(guide: ModuleType, sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A loan of the guide is told of where the guide says, and the book that must not leave does not."""
    app = guide.make_library(Settings.load("testing", database_url=sqlite_url))
    caplog.set_level("INFO", logger=guide.__name__)
    async with app.test_app(), app.app_context():
        await guide.db.create_tables()
        client = app.test_client()
        loan = {"book": "Emma", "reader": "Ada", "card": "0815"}
        lent = await client.post("/loans/", json=loan)
        refused = await client.post("/loans/", json={**loan, "book": "Gutenberg Bible"})
        await asyncio.gather(*app.background_tasks)
    told = [record.getMessage() for record in caplog.records if record.name == guide.__name__]

    assert (lent.status_code, refused.status_code) == (201, 409)
    assert told[0] == f"{app.name} is there"
    assert told[1].startswith("insert Loan (UUID(")
    assert told[2] == f"a reminder for loan {(await lent.get_json())['id']}"
    assert [line.partition(" in ")[0] for line in told[3:]] == ["create_loan: 201", "create_loan: 409"]
    assert "0815" not in "".join(told)


def test_signals_guide_lists_every_signal() -> None:
    """Each signal of the framework has a row, and no other has."""
    rows = re.findall(r"^\| `(\w+)` \|", (GUIDES / "signals.md").read_text(), re.MULTILINE)
    sent = [name for name, signal in vars(signals).items() if isinstance(signal, NamedSignal)]

    assert [row for row in rows if "_" in row] == sent


@pytest.mark.parametrize("guide", ["audit"], indirect=True)
async def test_audit_guide_is_true(guide: ModuleType, database_url: str) -> None:
    """A patient of the guide is admitted and moved, by operation and by statement, and each move can be told."""
    app = guide.make_ward(Settings.load("testing", database_url=database_url, audit_bulk="error"))
    async with app.test_app(), app.app_context():
        await guide.db.create_tables()
        client = app.test_client()
        key = await (await client.post("/patients/", json={"name": "Ada", "ward": "east"})).get_json()
        await client.put(f"/patients/{key}/ward", json={"ward": "west"})
        async with guide.db.transaction() as session:
            await guide.close_ward(session, "west", [UUID(key)])
            await guide.audit.record(session, "printed", "Report", keys=[7])
        auditor = authorization(app, roles=["auditor"])
        found = await client.get(f"/audit/?entity=Patient&key={key}", headers=auditor)
        events = (await found.get_json())["items"][::-1]
        moves = await (await client.get(f"/patients/{key}/moves")).get_json()
        then = [await client.get(f"/patients/{key}/then", query_string={"moment": event["at"]}) for event in events]
        before = await client.get(f"/patients/{key}/then?moment=2020-01-01T00:00:00Z")

    assert [event["action"] for event in events] == ["insert", "update", "update"]
    assert [(await answer.get_json())["ward"] for answer in then] == ["east", "west", "transit"]
    assert before.status_code == 404
    assert moves[2] == "None update {'ward': 'transit'}"
    assert not {"visits", "password"} & events[0]["new"].keys()


@pytest.mark.parametrize("guide", ["openapi"], indirect=True)
@pytest.mark.ligand_conformance("off", reason="the library of the guide lies, to show how it is found out")
async def test_openapi_guide_is_true(guide: ModuleType) -> None:
    """The test of the guide finds its library out, and its settings are ones that the plugin takes."""
    await guide.test_the_library_says_what_it_does()

    text = (GUIDES / "openapi.md").read_text()
    settings = [tomllib.loads(block)["tool"]["pytest"] for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)]
    assert {"ini_options": {"ligand_conformance": "strict"}} in settings


@pytest.mark.parametrize("guide", ["openapi"], indirect=True)
async def test_openapi_guide_documents(guide: ModuleType) -> None:
    """The records of the guide answer as their document says, which is for its staff only."""
    app = guide.make_shop()
    watch(app)
    async with app.test_app():
        client = app.test_client()
        path = f"/records/{UUID(int=1)}"
        record, sleeve, old = [await client.get(where) for where in (path, f"{path}/sleeve", "/records/")]
        closed = await client.get("/openapi.json")
        document = await (await client.get("/openapi.json", auth=("ada", "lovelace"))).get_json()

    assert (record.headers["X-Shelf"], sleeve.content_type, closed.status_code) == ("B", "image/png", 401)
    assert old.headers["Sunset"] == "Thu, 31 Dec 2026 00:00:00 GMT"
    moved = guide.make_support_app()
    async with moved.test_app():
        info = (await (await moved.test_client().get("/internal/openapi.json")).get_json())["info"]
        assert (await moved.test_client().get("/internal/docs")).status_code == 200
    assert (info["contact"]["name"], info["license"]["identifier"]) == ("Support", "Apache-2.0")
    assert document["tags"] == [{"name": "records", "description": "Records, and their sleeves."}]
    assert document["paths"]["/records/{record_id}"]["get"]["description"] == "The header says where it stands."


def test_links_lead_somewhere() -> None:
    """Each relative link between guides names a file."""
    links = [(guide, link) for guide in GUIDES.glob("*.md") for link in LINK.findall(guide.read_text())]

    assert links
    assert [f"{guide.name}: {link}" for guide, link in links if not (guide.parent / link).exists()] == []


def test_every_guide_is_linked_from_the_readme() -> None:
    """A guide that nothing links to is not found by anybody."""
    readme = (ROOT / "README.md").read_text()

    assert [path.name for path in GUIDES.glob("*.md") if f"docs/{path.name}" not in readme] == []


@pytest.mark.parametrize(
    "path",
    [
        Path(name)
        for name in (
            "operations",
            "inputs",
            "database",
            "errors",
            "security",
            "authentication",
            "schemas",
            "pages",
            "conditional",
            "idempotency",
            "signals",
            "audit",
            "openapi",
            "caller-session",
            "scripts",
        )
    ],
    ids=str,
)
def test_guides_have_code(path: Path) -> None:
    """A guide whose code is not found would always pass."""
    assert len(BLOCK.findall((GUIDES / f"{path}.md").read_text())) > 1


@pytest.mark.parametrize("guide", ["services"], indirect=True)
async def test_services_guide_is_true(guide: ModuleType, postgres_url: str) -> None:
    """Tenants see their own invoices, what a request starts ends with it, and fakes take the place of services."""
    app = guide.make_service(Settings.load("testing", database_url=postgres_url))
    async with app.test_app(), app.app_context():
        await guide.db.create_tables()
        client = app.test_client()
        ada, bob = (authorization(app, subject=name) for name in ("ada", "bob"))
        created = await (await client.post("/invoices/A1", headers=ada)).get_json()
        assert created["tenant"] == "ada"
        assert [await (await client.get("/invoices/count", headers=who)).get_json() for who in (ada, bob)] == [1, 0]
        where = f"/invoices/{created['id']}"
        statuses = [(await client.get(where, headers=who)).status_code for who in (ada, bob, {})]
        assert statuses == [200, 403, 401]
        assert await (await client.post("/invoices/A1/reminder", headers=ada)).get_json() == "invoices@testing.example"
        guide.use_fakes(app)
        assert await (await client.post("/invoices/A1/reminder", headers=ada)).get_json() == "nobody@test.example"
        assert (await (await client.get(where, headers=bob)).get_json())["number"] == "F1"

        paths = (await (await client.get("/openapi.json")).get_json())["paths"]
        assert {"403", "404"} <= paths["/invoices/{invoice_id}"]["get"]["responses"].keys()
        assert await guide.archive_for(app, Principal("ada", issuer="https://issuer.example")) == 0
        async for ledger in guide.open_ledger():
            ledger.append("kept")
        assert await (await client.get("/invoices/count", headers=authorization(app, subject="ledger"))).get_json() == 1


@pytest.mark.parametrize("guide", ["aggregates"], indirect=True)
async def test_aggregates_guide_is_true(guide: ModuleType, database_url: str) -> None:
    """A tag that was read before a line came is refused, and one that is fresh is not."""
    settings = Settings.load("testing", database_url=database_url)
    app = create_app(
        "guide", title="Shop", version="1", settings=settings, database=guide.db, blueprints=[guide.orders]
    )
    async with app.test_app(), app.app_context():
        await guide.db.create_tables()
        async with guide.db.transaction() as session:
            order = guide.Order(customer="ada")
            session.add(order)
        client, where = app.test_client(), f"/orders/{order.id}"
        tag = (await client.get(where)).headers["ETag"]
        assert (await client.post(f"{where}/lines", json={"products": ["a"]})).status_code == 201
        body = {"products": ["b", "c"]}
        assert (await client.put(f"{where}/lines", json=body, headers={"If-Match": tag})).status_code == 412
        tag = (await client.get(where)).headers["ETag"]
        assert (await client.put(f"{where}/lines", json=body, headers={"If-Match": tag})).status_code == 204


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.extended)])
def storage(request: pytest.FixtureRequest) -> str | None:
    """Where principal sessions are: in the process, or in a Redis of the test's own."""
    if request.param == "memory":
        return None
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


@pytest.mark.parametrize("guide", ["caller-session"], indirect=True)
async def test_caller_session_guide_is_true(guide: ModuleType, sqlite_url: str, storage: str | None) -> None:
    """A basket is the caller's own, becomes an order or stays, and goes when the caller does."""
    settings = Settings.load("testing", database_url=sqlite_url, principal_session_storage=storage)
    app = guide.make_shop(settings)
    async with app.test_app(), app.app_context():
        await guide.db.create_tables()
        client = app.test_client()
        ada, bob = ({"headers": authorization(app, subject=name)} for name in ("ada", "bob"))

        async def fill(**caller: Any) -> None:
            assert (await client.post("/basket/lines", json={"product": "tea"}, **caller)).status_code == 201

        async def size(**caller: Any) -> Any:
            return await (await client.get("/basket/size", **caller)).get_json()

        for caller in (ada, ada, bob):
            await fill(**caller)
        assert [await size(**ada), await size(**bob), await size()] == [2, 1, 0]
        assert len((await (await client.get("/basket/", **ada)).get_json())["lines"]) == 2
        codes = [(await client.post("/basket/codes/X", **ada)).status_code for _ in range(4)]
        assert codes == [204, 204, 204, 409]
        assert await (await client.post("/basket/orders/A1", **ada)).get_json() == 2
        assert await size(**ada) == 0
        assert (await client.post("/basket/orders/A1", **bob)).status_code == 409
        assert await size(**bob) == 1

        assert (await client.post("/basket/sign-out", **bob)).status_code == 204
        assert await size(**bob) == 0
        await fill(**bob)
        issuer = {"headers": authorization(app, roles=["issuer"])}
        development = issuer_of(app)
        assert development is not None
        gone = {"iss": development.issuer, "sub": "bob"}
        assert (await client.post("/basket/signed-out", json=gone, **issuer)).status_code == 204
        assert await size(**bob) == 0
        await fill(**bob)
        guide.DENIED.add("bob")
        assert (await client.get("/basket/size", **bob)).status_code == 401
        guide.DENIED.clear()
        assert await size(**bob) == 0


@pytest.mark.parametrize("guide", ["scripts"], indirect=True)
async def test_scripts_guide_is_true(guide: ModuleType, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shop of the guide reminds, cleans up and reports, on the command line and in a program."""
    settings = Settings.load("testing", database_url=database_url)
    monkeypatch.setattr(guide, "make_shop", functools.partial(guide.make_shop, settings))
    app = guide.make_shop()
    app.cli.add_command(guide.pay_all)
    async with app.running():
        await guide.db.create_tables()
        async with guide.db.transaction() as session:
            session.add(guide.Basket(customer="ada", created_at=datetime(2020, 1, 1, tzinfo=UTC)))
        services = services_of(app)
        assert await services.call(guide.remind, {"customer": "ada", "days": 7}) == "ada was reminded"
        assert services.get(guide.Mailer).sent == ["ada"]
        with pytest.raises(Conflict, match="bob has no basket that old"):
            await services.call(guide.remind, {"customer": "bob"})

    runner = app.test_cli_runner()
    outputs = [
        runner.invoke(args=arguments).output
        for arguments in (["clean-up", "--dry-run"], ["clean-up"], ["clean-up"], ["pay-all"])
    ]
    assert outputs == ["1 baskets\n", "1 baskets\n", "0 baskets\n", ""]
    assert [await guide.report() for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("guide", ["server"], indirect=True)
async def test_server_guide_has_a_check_of_its_own(
    guide: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service is ready while its own check passes."""
    leave_bare(monkeypatch, tmp_path)
    monkeypatch.setenv("LIGAND_ENVIRONMENT", "local")
    app = guide.create_printing_app()
    async with app.test_app():
        ready = await app.test_client().get("/readyz")
        assert (await ready.get_json())["checks"]["printer"] == "ok"
    guide.Printer.sheets = 0
    async with app.test_app():
        assert (await app.test_client().get("/readyz")).status_code == 503
