"""What the guides in docs/ show can be run."""

import asyncio
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from uuid import UUID

import pytest
from blinker import NamedSignal

from ligand_async import Database, Settings, create_app, signals
from tests.serving import ROOT

GUIDES = ROOT / "docs"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)#]+)\)")


@pytest.fixture
def guide(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ModuleType]:
    """The Python of one guide, as a module."""
    name = f"guide_{request.param}"
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
        assert await (await client.get("/books/greeting?times=2")).get_json() == "hello Quart hello Quart "
        assert (await client.put(f"{created.headers['Location']}/lending")).status_code == 202
        assert (await client.post(f"{created.headers['Location']}/reminders")).status_code == 202


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
        events = (await (await client.get(f"/audit/?entity=Patient&key={key}")).get_json())["items"][::-1]
        moves = await (await client.get(f"/patients/{key}/moves")).get_json()
        then = [await client.get(f"/patients/{key}/then", query_string={"moment": event["at"]}) for event in events]
        before = await client.get(f"/patients/{key}/then?moment=2020-01-01T00:00:00Z")

    assert [event["action"] for event in events] == ["insert", "update", "update"]
    assert [(await answer.get_json())["ward"] for answer in then] == ["east", "west", "transit"]
    assert before.status_code == 404
    assert moves[2] == "None update {'ward': 'transit'}"
    assert not {"visits", "password"} & events[0]["new"].keys()


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
    [Path(blueprint) for blueprint in ("operations", "database", "errors", "security", "signals", "audit")],
    ids=str,
)
def test_guides_have_code(path: Path) -> None:
    """A guide whose code is not found would always pass."""
    assert len(BLOCK.findall((GUIDES / f"{path}.md").read_text())) > 1
