"""Where migrations are: found from anywhere, and begun the same way everywhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ligand_async.data.migrations import (
    MigrationsNotFound,
    Placement,
    adopt_directory,
    create_directory,
    current,
    downgrade,
    find_directory,
    new_revision,
    scripts,
    upgrade,
)
from tests.data.migration_files import EMPTY, create_table, fetch, settings_for, tables_of, write_migration

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose app is two directories down; the current directory is another."""
    project = tmp_path / "project"
    (project / "services" / "pets").mkdir(parents=True)
    (project / "pyproject.toml").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return project


@pytest.mark.parametrize("place", ["services/pets", "services", "."])
def test_found_above_the_app(project: Path, place: str) -> None:
    """The migrations beside the app, or above it in its project, are found from any current directory."""
    made = create_directory(project / place / "migrations")
    assert find_directory(beside=project / "services" / "pets") == made


def test_nearest_to_the_app_wins(project: Path) -> None:
    """Of two services in one project, each finds its own migrations."""
    create_directory(project / "migrations")
    made = create_directory(project / "services" / "migrations")
    assert find_directory(beside=project / "services" / "pets") == made


def test_found_in_current_directory(project: Path) -> None:
    """Where the app is installed elsewhere, as in an image, the current directory's migrations are found."""
    made = create_directory("migrations")
    assert find_directory(beside=project / "services" / "pets") == made.resolve()


def test_search_stays_in_the_project(project: Path) -> None:
    """What lies above the project belongs to somebody else."""
    create_directory(project.parent / "migrations")
    with pytest.raises(MigrationsNotFound, match="ligand db init"):
        find_directory(beside=project / "services" / "pets")


def test_foreign_migrations_are_left_alone(project: Path) -> None:
    """A directory of that name that is not ours is not taken for it."""
    (project / "migrations").mkdir()
    (project / "migrations" / "env.py").write_text("from alembic import context\n")
    with pytest.raises(MigrationsNotFound):
        find_directory(beside=project)


def test_named_directory_is_the_only_one(project: Path) -> None:
    """A directory that was named is used, or is an error; no other is looked for."""
    create_directory(project / "migrations")
    with pytest.raises(MigrationsNotFound, match="nothing-here"):
        find_directory("nothing-here", beside=project)


def test_directory_is_not_overwritten(tmp_path: Path) -> None:
    """A directory with something in it is not touched."""
    made = create_directory(tmp_path / "migrations")
    with pytest.raises(MigrationsNotFound, match="not empty"):
        create_directory(made)


def test_migrations_of_the_petstore_are_what_init_writes(tmp_path: Path) -> None:
    """`migrations/` at the root is what `ligand db init` writes, and the petstore's versions."""
    made = create_directory(tmp_path / "migrations")
    written = {file.name: file.read_text() for file in made.iterdir() if file.is_file()}
    ours = {file.name: file.read_text() for file in (ROOT / "migrations").iterdir() if file.is_file()}
    assert ours == written


def test_environment_is_short() -> None:
    """`env.py` has at most 15 lines: what it does is ours."""
    assert len((ROOT / "migrations" / "env.py").read_text().splitlines()) <= 15


def test_environment_runs_only_for_us(tmp_path: Path) -> None:
    """Alembic's own command is told which one to use instead."""
    create_directory(tmp_path / "migrations")
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    command = [sys.executable, "-m", "alembic", "current"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    outcome = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode != 0
    assert "ligand db" in outcome.stdout + outcome.stderr


def test_new_migration_is_sound_python(tmp_path: Path) -> None:
    """A new migration compiles, follows the one before it, and is named by day, revision and message."""
    directory = create_directory(tmp_path / "migrations")
    new_revision(directory, "First step.", Placement(rev_id="aa11"))
    path = new_revision(directory, "Second step.", Placement(rev_id="bb22", branch_label="main"))
    assert path is not None
    compile(path.read_text(), path, "exec")
    assert path.name.endswith("_bb22_second_step.py")
    assert [(script.revision, script.down_revision) for script in scripts(directory)] == [
        ("bb22", "aa11"),
        ("aa11", None),
    ]


FLASK_MIGRATE = """
import logging
from logging.config import fileConfig

from flask import current_app

from alembic import context

config = context.config
fileConfig(config.config_file_name)
target_db = current_app.extensions["migrate"].db


def run_migrations_online():
    with target_db.engine.connect() as connection:
        context.configure(connection=connection, target_metadata=target_db.metadata)
        with context.begin_transaction():
            context.run_migrations()


run_migrations_online()
"""


@pytest.fixture
def flask_migrate(project: Path) -> Path:
    """A directory as `flask db init` and `flask db migrate` leave it."""
    directory = project / "migrations"
    (directory / "versions").mkdir(parents=True)
    (directory / "env.py").write_text(FLASK_MIGRATE)
    (directory / "alembic.ini").write_text("[alembic]\n[loggers]\nkeys = root,sqlalchemy,alembic,flask_migrate\n")
    (directory / "README").write_text("Single-database configuration for Flask.\n")
    (directory / "script.py.mako").write_text('"""${message}"""\n')
    write_migration(directory, "3f2a", up=create_table("pet"), down="op.drop_table('pet')")
    return directory


async def test_flask_migrate_is_adopted(flask_migrate: Path, project: Path, database_url: str) -> None:
    """The error of such a directory has the command that adopts it; then its history goes on, with its databases."""
    with pytest.raises(MigrationsNotFound, match=f"ligand db init --adopt -d {flask_migrate}"):
        find_directory(beside=project)
    with pytest.raises(MigrationsNotFound, match="--adopt"):
        create_directory(flask_migrate)

    assert adopt_directory(flask_migrate) == find_directory(beside=project)
    assert (flask_migrate / "env.py.old").read_text() == FLASK_MIGRATE
    settings = settings_for(database_url)
    await fetch(database_url, "CREATE TABLE pet (id INTEGER PRIMARY KEY)")
    await fetch(database_url, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    await fetch(database_url, "INSERT INTO alembic_version VALUES ('3f2a')")
    assert await current(EMPTY, settings, flask_migrate) == ("3f2a",)
    write_migration(flask_migrate, "4b", up=create_table("cat"), down="op.drop_table('cat')", after="3f2a")
    await upgrade(EMPTY, settings, flask_migrate)
    assert await tables_of(database_url) == {"pet", "cat"}
    await downgrade(EMPTY, settings, flask_migrate, "base")
    assert await tables_of(database_url) == set()


def test_only_foreign_directories_are_adopted(tmp_path: Path) -> None:
    """What has no migrations, or is ours already, is left alone."""
    with pytest.raises(MigrationsNotFound, match="nothing to adopt"):
        adopt_directory(tmp_path)
    with pytest.raises(MigrationsNotFound, match="already"):
        adopt_directory(create_directory(tmp_path / "migrations"))
