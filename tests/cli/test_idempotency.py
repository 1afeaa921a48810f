"""`ligand idempotency`: what is kept does not stay for ever."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert, select

from examples.petstore.app import create_app
from examples.petstore.models import db
from ligand_async.cli import ligand

Run = Callable[..., Result]
PLAIN = """
from sqlalchemy.orm import DeclarativeBase

from ligand_async import Database, Model, create_app as make


class Base(Model, DeclarativeBase): ...


def create_app():
    return make(__name__, title="Plain", version="1", database=Database(Base))
"""


@pytest.fixture
def prune(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `ligand idempotency prune`, in an empty directory, with a database of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIGAND_ENVIRONMENT", "local")
    monkeypatch.setenv("LIGAND_DATABASE_URL", database_url)

    def run(app: str = "examples.petstore.app:create_app") -> Result:
        return CliRunner().invoke(ligand, ["--app", app, "idempotency", "prune"])

    return run


async def test_expired_replies_are_deleted(prune: Run, database_url: str) -> None:
    """All of them, in however many transactions, and none that is still good."""
    app, table = create_app("testing", database_url=database_url), db.idempotency_key
    assert table is not None
    async with app.test_app(), app.app_context():
        await db.create_tables()
        reply = {"request": "", "status": 200, "headers": "[]", "body": b""}
        async with db.transaction() as session:
            now = datetime.now(UTC)
            lives = [(f"old {number}", -number) for number in range(1, 10_003)] + [("new", 60)]
            rows = [{"key": key, "expires_at": now + timedelta(seconds=life), **reply} for key, life in lives]
            await session.execute(insert(table), rows)

        outcomes = [prune(), prune()]

        async with db.read() as session:
            left = (await session.scalars(select(table.c.key))).all()

    assert [(outcome.exit_code, outcome.output) for outcome in outcomes] == [(0, "deleted 10002\n"), (0, "deleted 0\n")]
    assert left == ["new"]


def test_a_service_that_keeps_none_is_reported(prune: Run, tmp_path: Path) -> None:
    """Exit code 2: the command was for another service."""
    (tmp_path / "plain_service.py").write_text(PLAIN)
    outcome = prune(f"{tmp_path}/plain_service:create_app")

    assert (outcome.exit_code, "keeps no replies" in outcome.output) == (2, True)


def test_a_table_that_is_not_there_is_said_in_one_line(prune: Run) -> None:
    """Exit code 1, without a traceback."""
    outcome = prune()

    assert (outcome.exit_code, outcome.output.count("\n")) == (1, 1)
    assert outcome.output.startswith("Error: deleted 0, and then: ")
