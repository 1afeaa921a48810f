"""`ligand audit`, as it is typed."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from examples.petstore.app import create_app
from examples.petstore.models import Pet, db
from ligand_async.cli import ligand
from tests.data.bank import ADA, BOB, acting

Run = Callable[..., Result]
REX = UUID("018f0000-0000-7000-8000-000000000001")
PLAIN = """
from sqlalchemy.orm import DeclarativeBase

from ligand_async import Database, Model, create_app as make


class Base(Model, DeclarativeBase): ...


def create_app():
    return make(__name__, title="Plain", version="1", database=Database(Base))
"""


@pytest.fixture
def here(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working directory, and a database of its own that is not made yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIGAND_ENVIRONMENT", "local")
    monkeypatch.setenv("LIGAND_DATABASE_URL", database_url)
    return tmp_path


@pytest.fixture
def bare(here: Path) -> Run:
    """Run `ligand audit`."""

    def run(*arguments: str, app: str = "examples.petstore.app:create_app", answer: str | None = None) -> Result:
        return CliRunner().invoke(ligand, ["--app", app, "audit", *arguments], input=answer)

    return run


@pytest.fixture
def audit(bare: Run, database_url: str) -> Run:
    """Run `ligand audit` for a petstore in which Ada has stored Rex, Bob has renamed it, and Ada has taken it away."""
    asyncio.run(live(database_url))
    return bare


async def live(url: str) -> None:
    app = create_app("testing", database_url=url)
    async with app.test_app(), app.app_context():
        await db.create_tables()
        with acting(ADA):
            async with db.transaction() as session:
                session.add(Pet(id=REX, name="Rex"))
        with acting(BOB):
            async with db.transaction() as session:
                (await session.get_one(Pet, REX)).name = "Tom\x1b[2J"
        with acting(ADA):
            async with db.transaction() as session:
                await session.delete(await session.get_one(Pet, REX))


def shown(outcome: Result) -> list[list[str]]:
    """Return the first words of each line of a table."""
    assert outcome.exit_code == 0, outcome.output
    return [line.split()[1:5] for line in outcome.output.splitlines()[1:]]


def test_table_says_who_did_what(audit: Run) -> None:
    """One line for each event, the newest last, with what was changed into what, and nothing that moves a cursor."""
    outcome = audit("show", "--entity", "Pet", "--key", str(REX))

    assert shown(outcome) == [
        ["ada", "insert", "Pet", str(REX)],
        ["bob", "update", "Pet", str(REX)],
        ["ada", "delete", "Pet", str(REX)],
    ]
    assert 'name: "Rex" → "Tom' in outcome.output
    assert "\x1b" not in outcome.output


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--principal", "bob"], 1),
        (["--action", "delete"], 1),
        (["--entity", "Owner"], 0),
        (["--key", "other"], 0),
        (["--since", "1h"], 3),
        (["--since", "2999-01-01"], 0),
        (["--until", "2020-01-01T00:00:00+02:00"], 0),
        (["--limit", "2"], 2),
    ],
)
@pytest.mark.extended
def test_events_are_narrowed(audit: Run, options: list[str], count: int) -> None:
    """Each option leaves what it says, `--limit` the newest."""
    found = json.loads(audit("show", "--format", "json", *options).output)

    assert len(found) == count
    if options[0] == "--limit":
        assert [event["action"] for event in found] == ["update", "delete"]


def test_json_holds_everything(audit: Run) -> None:
    """An event as JSON has all that the trail keeps of it."""
    event = json.loads(audit("show", "--format", "json", "--action", "update").output)[0]

    assert {"id", "at", "issuer", "client_id", "request_id", "operation_id", "client_address"} < set(event)
    assert (event["old"]["name"], event["new"]["name"]) == ("Rex", "Tom\x1b[2J")


async def store_pets(url: str, count: int) -> None:
    app = create_app("testing", database_url=url)
    async with app.test_app(), app.app_context(), db.transaction() as session:
        session.add_all([Pet(name=f"Pet {number}") for number in range(count)])


def test_export_is_json_lines_in_order(audit: Run, database_url: str) -> None:
    """One event on each line, the oldest first, each once, however many there are."""
    asyncio.run(store_pets(database_url, 2100))
    outcome = audit("export")

    lines = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert [line["action"] for line in lines[:3]] == ["insert", "update", "delete"]
    assert [(line["at"], line["id"]) for line in lines] == sorted((line["at"], line["id"]) for line in lines)
    assert len({line["id"] for line in lines}) == len(lines) == 2103
    assert outcome.stderr == "2103 events\n"


def keys() -> dict[str, tuple[Key, bytes, bytes]]:
    ed, ec = OKPKey.generate_key("Ed25519"), ECKey.generate_key("P-256")
    rsa, oct_key = RSAKey.generate_key(2048), OctKey.generate_key(256)
    jwk = json.dumps(ed.as_dict(private=True)).encode(), json.dumps(ed.as_dict(private=False)).encode()
    return {
        "Ed25519 JWK": (ed, *jwk),
        "EC PEM": (ec, ec.as_pem(private=True), ec.as_pem(private=False)),
        "RSA PEM": (rsa, rsa.as_pem(private=True), rsa.as_pem(private=False)),
        "secret JWK": (oct_key, json.dumps(oct_key.as_dict()).encode(), json.dumps(oct_key.as_dict()).encode()),
        "secret": (oct_key, b"x" * 40 + b"\n", b"x" * 40),
    }


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize("kind", keys().items(), ids=lambda item: item[0])
def test_signed_export_is_verified(audit: Run, here: Path, kind: tuple[str, tuple[Key, bytes, bytes]]) -> None:
    """With a key of any usual kind the last line is a signature, which the public key verifies."""
    _, (_, private, public) = kind
    (here / "key").write_bytes(private)
    (here / "public").write_bytes(public)

    assert audit("export", "-o", "trail.jsonl", "--key-file", "key").exit_code == 0
    outcome = audit("verify", "trail.jsonl", "--key-file", "public")

    assert (outcome.exit_code, outcome.output) == (0, "authentic: 3 events\n")


TAMPERINGS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "changed": lambda lines: [lines[0].replace(b"ada", b"eve"), *lines[1:]],
    "removed": lambda lines: lines[1:],
    "added": lambda lines: [lines[0], *lines],
    "swapped": lambda lines: [lines[1], lines[0], *lines[2:]],
    "cut": lambda lines: lines[:-1],
    "appended": lambda lines: [*lines, lines[0]],
    "empty": lambda _lines: [],
    "garbage": lambda lines: [*lines[:-1], b'{"signature": "x.y.z"}\n'],
    "more in the last line": lambda lines: [*lines[:-1], lines[-1].replace(b"}", b',"action":"insert"}')],
    "a note before the signature": lambda lines: [*lines[:-1], lines[-1].replace(b"{", b'{"note":1,')],
    "two signatures": lambda lines: [*lines[:-1], lines[-1].replace(b"{", b'{"signature":"x",')],
    "spaces": lambda lines: [*lines[:-1], lines[-1].replace(b"{", b"{ ")],
    "a blank line": lambda lines: [*lines, b"\n"],
    "no newline": lambda lines: [*lines[:-1], lines[-1].rstrip()],
}


@pytest.mark.ligand_database("sqlite")
def test_tampering_shows(audit: Run, here: Path) -> None:
    """Whatever is done to the lines, the export is not authentic any more; nor is it with another key."""
    (here / "key").write_bytes(b"k" * 32)
    (here / "other").write_bytes(b"o" * 32)
    audit("export", "-o", "trail.jsonl", "--key-file", "key")
    lines = (here / "trail.jsonl").read_bytes().splitlines(keepends=True)
    for name, tamper in TAMPERINGS.items():
        (here / "tampered.jsonl").write_bytes(b"".join(tamper(lines)))

        outcome = audit("verify", "tampered.jsonl", "--key-file", "key")
        assert (outcome.exit_code, outcome.output.count("\n")) == (1, 1), name
        assert outcome.output.startswith("Error: "), name

    assert audit("verify", "trail.jsonl", "--key-file", "other").exit_code == 1


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize("content", [b"short", b'{"kty": "what"}', b"-----BEGIN NOTHING-----", b'{"kty": "oct"}'])
def test_bad_key_is_said_in_one_line(audit: Run, here: Path, content: bytes) -> None:
    """A key that is none is a message, without its content, and nothing is written."""
    (here / "key").write_bytes(content)
    outcome = audit("export", "-o", "trail.jsonl", "--key-file", "key")

    assert (outcome.exit_code, outcome.output.count("\n")) == (1, 1)
    assert content.decode() not in outcome.output


@pytest.mark.ligand_database("sqlite")
def test_public_key_does_not_sign(audit: Run, here: Path) -> None:
    """It is said at once, and not at the verification."""
    (here / "key").write_bytes(OKPKey.generate_key("Ed25519").as_pem(private=False))
    outcome = audit("export", "-o", "trail.jsonl", "--key-file", "key")

    assert (outcome.exit_code, "private" in outcome.output) == (1, True)


def test_prune_asks_first(audit: Run) -> None:
    """Without a yes nothing is deleted; with one, all that is older, and the trail says so."""
    before = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    refused = audit("prune", "--before", before, answer="n\n")
    done = audit("prune", "--before", before, "--yes")
    left: list[Any] = json.loads(audit("show", "--format", "json").output)

    assert refused.exit_code == 1
    assert "Delete 3 events" in refused.output
    assert (done.exit_code, left[-1]["action"]) == (0, "prune")
    assert "Rex" not in json.dumps(left)


def test_prune_of_nothing_asks_nothing(audit: Run) -> None:
    """A job that runs every night has nothing to confirm on most."""
    outcome = audit("prune", "--before", "365d")

    assert (outcome.exit_code, outcome.output) == (0, "deleted 0\n")


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize("moment", ["yesterday", "2026-13-01", "99999999w", "0001-01-01T00:00+14:00", "999999w"])
def test_bad_moment_is_a_usage_error(bare: Run, moment: str) -> None:
    """Exit code 2, with how to write one."""
    outcome = bare("show", "--since", moment)

    assert (outcome.exit_code, "2026-01-31" in outcome.output) == (2, True)


def test_a_service_without_a_trail_is_reported(bare: Run, here: Path) -> None:
    """Exit code 2: the command was for another service."""
    (here / "plain_service.py").write_text(PLAIN)
    outcome = bare("show", app=f"{here}/plain_service:create_app")

    assert (outcome.exit_code, "keeps no audit trail" in outcome.output) == (2, True)


def test_a_table_that_is_not_there_is_said_in_one_line(bare: Run) -> None:
    """Exit code 1, without a traceback."""
    outcome = bare("show")

    assert (outcome.exit_code, outcome.output.count("\n")) == (1, 1)
    assert outcome.output.startswith("Error: ")
