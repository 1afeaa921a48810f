"""`ligand db`, as it is typed: what it prints, and its exit codes (0 done, 1 not done, 2 a wrong call)."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from quart.cli import ScriptInfo

from ligand_async.cli import ligand
from ligand_async.cli.db import db
from tests.data.migration_files import create_table, fetch, tables_of, write_migration

pytestmark = pytest.mark.extended  # a process or a database for each command

Run = Callable[..., Result]

ROOT = Path(__file__).parents[2]
SEEDS = """
from sqlalchemy import text
from examples.petstore.models import Pet


async def pets(session):
    session.add(Pet(name="Rex"))


async def mistake(session):
    session.add(Pet(name="Tom"))
    await session.flush()
    await session.execute(text("INSERT INTO pet (name) VALUES ('Secretive')"))


def plain(session):
    pass
"""


@pytest.fixture
def ligand_db(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `ligand db` for the petstore, in an empty directory, with a database of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LIGAND_ENVIRONMENT", "local")
    monkeypatch.setenv("LIGAND_DATABASE_URL", database_url)

    def run(*arguments: str, app: str = "examples.petstore.app:create_app") -> Result:
        return CliRunner().invoke(ligand, ["--app", app, "db", *arguments])

    return run


@pytest.fixture
def own(ligand_db: Run, tmp_path: Path) -> Path:
    """An empty directory of migrations, to be named with `-d`."""
    ligand_db("init", "-d", "own")
    return tmp_path / "own"


def test_whole_way(ligand_db: Run, own: Path, database_url: str) -> None:
    """From nothing: init, migrate, upgrade, check, downgrade."""
    steps = [
        ligand_db("migrate", "-m", "Create pets.", "-d", "own"),
        ligand_db("upgrade", "-d", "own"),
        ligand_db("check", "-d", "own"),
        ligand_db("migrate", "-m", "Nothing.", "-d", "own"),
        ligand_db("current", "-d", "own"),
    ]
    assert [step.exit_code for step in steps] == [0] * 5, [step.output for step in steps]
    [file] = (own / "versions").glob("*_create_pets.py")
    revision = file.name.split("_")[3]
    assert [step.output for step in steps] == [
        f"wrote {file}\n",
        f"applied {revision} Create pets.\n",
        "the database matches the models\n",
        "nothing to write: the database matches the models\n",
        f"{revision} Create pets. (head)\n",
    ]
    assert ligand_db("downgrade", "base", "-d", "own").output == f"undid {revision} Create pets.\n"
    assert asyncio.run(tables_of(database_url)) == set()


def test_migrations_are_found_beside_the_app(ligand_db: Run, database_url: str) -> None:
    """Without a directory, the petstore's own migrations are applied, from anywhere."""
    assert ligand_db("upgrade").exit_code == 0
    assert asyncio.run(tables_of(database_url)) == {"pet", "idempotency_key", "audit_event"}


async def test_runs_inside_a_loop(ligand_db: Run, database_url: str) -> None:
    """The commands work where a loop is running already, as in an async test."""
    assert ligand_db("upgrade").exit_code == 0
    assert await tables_of(database_url) == {"pet", "idempotency_key", "audit_event"}


def test_quart_command(ligand_db: Run, database_url: str) -> None:
    """`quart db` is the same command."""
    info = ScriptInfo("examples.petstore.app:create_app")
    outcome = CliRunner().invoke(db, ["upgrade"], obj=info)
    assert outcome.exit_code == 0, outcome.output
    assert asyncio.run(tables_of(database_url)) == {"pet", "idempotency_key", "audit_event"}


def test_upgrade_as_sql(ligand_db: Run, database_url: str) -> None:
    """--sql prints SQL and nothing else on stdout, and runs none of it."""
    outcome = ligand_db("upgrade", "--sql")
    assert outcome.exit_code == 0
    assert "CREATE TABLE pet" in outcome.stdout
    assert "applied" not in outcome.output
    assert asyncio.run(tables_of(database_url)) == set()


def test_downgrade_as_sql(ligand_db: Run) -> None:
    """A downgrade as SQL takes both ends."""
    assert "DROP TABLE pet" in ligand_db("downgrade", "--sql", "head:base").stdout
    assert ligand_db("downgrade", "--sql").exit_code == 1


def test_downgrade_by_number(ligand_db: Run, own: Path, database_url: str) -> None:
    """`downgrade -1` is a number of migrations, not an option."""
    write_migration(own, "cups", up=create_table("cup"), down="op.drop_table('cup')")
    ligand_db("upgrade", "-d", "own")
    assert ligand_db("downgrade", "-1", "-d", "own").output == "undid cups Do cups.\n"


def test_history_heads_and_merge(ligand_db: Run, own: Path) -> None:
    """The history is newest first; two heads are joined by a merge."""
    write_migration(own, "cups")
    write_migration(own, "forks", after="cups")
    write_migration(own, "plates", after="cups")
    assert ligand_db("upgrade", "-d", "own").exit_code == 1
    assert sorted(ligand_db("heads", "-d", "own").output.splitlines()) == [
        "forks Do forks. (head)",
        "plates Do plates. (head)",
    ]

    assert ligand_db("merge", "-m", "Join.", "--rev-id", "joined", "-d", "own").exit_code == 0

    assert ligand_db("heads", "-d", "own").output == "joined Join. (head)\n"
    lines = ligand_db("history", "-d", "own").output.splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("joined Join. (head)", "cups Do cups.", 4)
    assert ligand_db("upgrade", "-d", "own").exit_code == 0


def test_revision_is_placed(ligand_db: Run, own: Path) -> None:
    """An empty migration is written where its options say."""
    write_migration(own, "cups")
    outcome = ligand_db("revision", "-m", "Fill cups.", "--rev-id", "filled", "--head", "cups", "-d", "own")
    assert outcome.exit_code == 0
    assert ligand_db("heads", "-d", "own").output == "filled Fill cups. (head)\n"


def test_stamp(ligand_db: Run, database_url: str) -> None:
    """A database that was made otherwise is stamped as being at the head."""
    assert ligand_db("current").output == "no migration has been applied\n"
    assert ligand_db("stamp").exit_code == 0
    assert ligand_db("current").output.endswith("(head)\n")
    assert asyncio.run(tables_of(database_url)) == set()


def test_current_names_strangers(ligand_db: Run, own: Path) -> None:
    """A revision that the directory does not have is named as such."""
    write_migration(own, "cups")
    ligand_db("stamp", "-d", "own")
    (own / "versions" / "cups.py").unlink()
    assert ligand_db("current", "-d", "own").output == f"cups (not in {own})\n"


def test_check_fails_on_pending(ligand_db: Run) -> None:
    """A database that lacks migrations fails the check, which names them and the remedy."""
    outcome = ligand_db("check")
    assert outcome.exit_code == 1
    assert outcome.stdout.startswith("not applied: ")
    assert "ligand db upgrade" in outcome.stderr


def test_check_fails_on_drift(ligand_db: Run, database_url: str) -> None:
    """A database that is not what the models say fails the check, in words."""
    ligand_db("upgrade")
    asyncio.run(fetch(database_url, "ALTER TABLE pet ADD COLUMN age INTEGER"))
    outcome = ligand_db("check")
    assert outcome.exit_code == 1
    assert outcome.stdout == "column pet.age is not in the models\n"
    assert "ligand db migrate" in outcome.stderr


def test_failed_migration(ligand_db: Run, own: Path) -> None:
    """A migration that fails is one message without a traceback, and exit code 1."""
    write_migration(own, "faults", up="1 / 0")
    outcome = ligand_db("upgrade", "-d", "own")
    assert outcome.exit_code == 1
    assert outcome.output == "Error: versions/faults.py, line 11: ZeroDivisionError: division by zero\n"


def test_unreachable_database(ligand_db: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that cannot be reached is one line, without user and password."""
    monkeypatch.setenv("LIGAND_DATABASE_URL", "postgresql://wren:s3cret@127.0.0.1:1/shop")
    outcome = ligand_db("upgrade")
    assert outcome.exit_code == 1
    assert outcome.output == "Error: cannot reach the database postgresql://127.0.0.1:1/shop: Connection refused\n"


@pytest.mark.parametrize("arguments", [("upgrade", "-d", "nowhere"), ("init", "-d", "."), ("migrate",), ("seed",)])
def test_wrong_calls(ligand_db: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """What is missing or in the way is said, with exit code 2."""
    (tmp_path / "file").touch()
    assert ligand_db(*arguments).exit_code == 2


def test_app_without_database(ligand_db: Run, tmp_path: Path) -> None:
    """An app without a database, or not made by `create_app`, gets a message and exit code 2."""
    (tmp_path / "bare.py").write_text("import quart\n\napp = quart.Quart('bare')\n")
    (tmp_path / "dry.py").write_text(
        "import ligand_async\n\napp = ligand_async.create_app('dry', title='Dry', version='1')\n"
    )
    bare, dry = ligand_db("upgrade", app="bare:app"), ligand_db("upgrade", app="dry:app")
    assert (bare.exit_code, dry.exit_code) == (2, 2)
    assert "was not made by ligand_async.create_app" in bare.output
    assert "Dry has no database" in dry.output


def test_environment_without_database(ligand_db: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no setting has the address of the database, its variable is named."""
    monkeypatch.setenv("LIGAND_ENVIRONMENT", "cli")
    monkeypatch.delenv("LIGAND_DATABASE_URL")
    outcome = ligand_db("upgrade")
    assert outcome.exit_code == 2
    assert "LIGAND_DATABASE_URL" in outcome.output


def test_commands_work_in_the_environment_cli(
    ligand_db: Run, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    """`cli` does not serve, but its commands migrate the database that a setting names."""
    monkeypatch.setenv("LIGAND_ENVIRONMENT", "cli")
    assert ligand_db("upgrade").exit_code == 0
    assert ligand_db("check").exit_code == 0
    assert asyncio.run(fetch(database_url, "SELECT count(*) FROM pet")) == [(0,)]


@pytest.fixture
def seeds(ligand_db: Run, tmp_path: Path) -> Run:
    """Run `ligand db seed` on a migrated petstore, with a module of seed functions."""
    (tmp_path / "seeds.py").write_text(SEEDS)
    ligand_db("upgrade")
    return ligand_db


def test_seed_is_kept(seeds: Run, database_url: str) -> None:
    """What the seed function adds is stored."""
    outcome = seeds("seed", "seeds:pets")
    assert outcome.exit_code == 0, outcome.output
    assert asyncio.run(fetch(database_url, "SELECT name FROM pet")) == [("Rex",)]


def test_seed_is_whole(seeds: Run, database_url: str) -> None:
    """A seed function that fails half-way keeps nothing, and its values are not printed."""
    outcome = seeds("seed", "seeds:mistake")
    assert outcome.exit_code == 1
    assert "nothing was stored" in outcome.output
    assert "Secretive" not in outcome.output
    assert asyncio.run(fetch(database_url, "SELECT name FROM pet")) == []


@pytest.mark.parametrize("function", ["seeds", "seeds:nothing", "seeds:plain", "nowhere:pets", "nowhere.seeds:pets"])
def test_seed_function_must_be_there(seeds: Run, function: str) -> None:
    """A seed function that is not there, or not async, is a wrong call."""
    outcome = seeds("seed", function)
    assert outcome.exit_code == 2
    assert function.partition(":")[0] in outcome.output


def test_seed_that_lacks_something(seeds: Run, tmp_path: Path) -> None:
    """A seed module that imports what is not there shows what that is."""
    (tmp_path / "broken_seeds.py").write_text("import nothing_of_the_kind\n")
    outcome = seeds("seed", "broken_seeds:pets")
    assert outcome.exit_code == 1
    assert isinstance(outcome.exception, ModuleNotFoundError)
    assert outcome.exception.name == "nothing_of_the_kind"


def test_seed_without_database(seeds: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed that cannot reach the database is one line."""
    monkeypatch.setenv("LIGAND_DATABASE_URL", "postgresql://wren:s3cret@127.0.0.1:1/shop")
    outcome = seeds("seed", "seeds:pets")
    assert outcome.exit_code == 1
    assert outcome.output.count("\n") == 1
    assert "s3cret" not in outcome.output


GROWN = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from ligand_async import Database, Model, Settings, create_app as create

class Base(Model, DeclarativeBase): ...

class Shelf(Base):
    __tablename__ = "shelf"
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str]

def create_app():
    return create(__name__, title="Shelves", version="1", settings=Settings.load(), database=Database(Base))
"""


def test_a_column_that_refuses_rows_is_warned_of_on_stderr(ligand_db: Run, own: Path, tmp_path: Path) -> None:
    """As the migration is written, with what to write instead; stdout has the file's name only."""
    (tmp_path / "grown.py").write_text(GROWN)
    write_migration(own, "1", up=create_table("shelf"), down="op.drop_table('shelf')")
    ligand_db("upgrade", "-d", "own", app="grown:create_app")
    result = ligand_db("migrate", "-m", "grow", "-d", "own", app="grown:create_app")

    assert result.exit_code == 0
    assert "shelf.label is NOT NULL without a default, so the migration fails if shelf has rows" in result.stderr
    assert "batch_op.alter_column('label', nullable=False)" in result.stderr
    assert [line.partition(" ")[0] for line in result.stdout.splitlines()] == ["wrote"]


def test_a_directory_of_flask_migrate_is_adopted(ligand_db: Run, tmp_path: Path) -> None:
    """Once: then it is ours, and its migrations are where they were."""
    theirs = tmp_path / "theirs"
    (theirs / "versions").mkdir(parents=True)
    (theirs / "env.py").write_text("from flask import current_app\n")
    (theirs / "script.py.mako").write_text('"""${message}"""\n')
    write_migration(theirs, "3f2a", up=create_table("pet"), down="op.drop_table('pet')")

    without, adopted, again = (ligand_db("init", *more, "-d", "theirs") for more in ([], ["--adopt"], ["--adopt"]))

    assert (without.exit_code, "--adopt" in without.stderr) == (2, True)
    assert (adopted.exit_code, adopted.stdout) == (0, "adopted theirs\n")
    assert (again.exit_code, "already" in again.stderr) == (2, True)
    assert len(list((theirs / "versions").glob("*.py"))) == 1
    assert (theirs / "env.py.old").read_text() == "from flask import current_app\n"
