"""What docs/migrations.md shows can be run."""

import re
import shlex
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import make_url

from ligand_async import Settings
from ligand_async.cli import ligand
from ligand_async.data.migrations import autogenerate, create_directory, upgrade
from tests.data.migration_files import fetch, settings_for, tables_of, write_migration

GUIDE = (Path(__file__).parents[2] / "docs" / "migrations.md").read_text()
SERVICE, INDEX, SIZE, PREPARE = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
USUAL, OTHERS, SHELL = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def shop(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The guide's service as the module `shop`, in a current directory that holds nothing else."""
    (tmp_path / "shop.py").write_text(f"{SERVICE}\n{PREPARE}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LIGAND_DATABASE_URL", database_url)
    yield import_module("shop")
    del sys.modules["shop"]


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> Result:
    """Run one line of the guide."""
    given, _, command = line.rpartition("|")
    words = shlex.split(command, comments=True)
    if words[0] == "export":
        for assignment in words[1:]:
            monkeypatch.setenv(*assignment.split("=", 1))
        return Result(CliRunner(), b"", b"", b"", None, 0, None)
    assert words[0] == "ligand"
    program = shlex.split(given)[1] if given else None
    return CliRunner().invoke(ligand, words[1:], input=program)


def test_commands_work(shop: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of the guide works, in the order in which they stand there, on both databases."""
    lines = [*USUAL.splitlines(), *OTHERS.splitlines(), SHELL]
    outcomes = {line: run(line, monkeypatch) for line in lines}

    assert {line: outcome.output for line, outcome in outcomes.items() if outcome.exit_code} == {}
    assert outcomes[SHELL].stdout == "1\n"


async def test_index_is_built(shop: ModuleType, tmp_path: Path, database_url: str) -> None:
    """The guide's remedy for an index is a migration that works on both databases."""
    settings = settings_for(database_url)
    directory = create_directory(tmp_path / "migrations")
    items = await autogenerate(shop.db, settings, directory, "items")
    assert items is not None
    write_migration(directory, "index", up=INDEX.partition("\n")[2], after=items.name.split("_")[3])

    await upgrade(shop.db, settings, directory)

    is_sqlite = make_url(database_url).get_backend_name() == "sqlite"
    catalogue = "sqlite_master WHERE name" if is_sqlite else "pg_indexes WHERE indexname"
    assert await fetch(database_url, f"SELECT 1 FROM {catalogue} = 'ix_item_name'") == [(1,)]


async def test_column_is_filled(shop: ModuleType, tmp_path: Path, database_url: str) -> None:
    """The guide's remedy for a NOT NULL column works on a table with rows, on both databases."""
    settings = settings_for(database_url)
    directory = create_directory(tmp_path / "migrations")
    items = await autogenerate(shop.db, settings, directory, "items")
    assert items is not None
    await upgrade(shop.db, settings, directory)
    await fetch(database_url, "INSERT INTO item (id, name) VALUES ('00000000000000000000000000000001', 'cup')")
    write_migration(directory, "size", up=SIZE.partition("\n")[2], after=items.name.split("_")[3])

    await upgrade(shop.db, settings, directory)

    assert await fetch(database_url, "SELECT name, size FROM item") == [("cup", 1)]


async def test_functions_work(shop: ModuleType, tmp_path: Path, database_url: str) -> None:
    """The guide's function migrates a database inside a running loop."""
    settings: Settings = settings_for(database_url)
    await autogenerate(shop.db, settings, create_directory(tmp_path / "migrations"), "items")
    await shop.prepare(settings)
    assert await tables_of(database_url) == {"item"}
