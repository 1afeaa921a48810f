"""SQLite: what reads cannot write, what writers leave to nobody, and files that cannot be written."""

import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import OperationalError

from ligand_async.data import WriteOnReadSession
from tests.services import Item, count_items, db, make_app, make_service, running

pytestmark = pytest.mark.ligand_database("sqlite")


@pytest.mark.parametrize("mode", ["read", "snapshot"])
async def test_no_way_around_the_file_is_open(tmp_path: Path, mode: str) -> None:
    """Other names for the same file, other files, and what would change the connection are refused by SQLite itself."""
    file = tmp_path / "a #1%.db"
    attach = f"ATTACH '{file}' AS x"
    ways = [
        [attach, "INSERT INTO x.shelf (id, label) VALUES ('00000000000000000000000000000001', 'x')"],
        [f"VACUUM INTO '{tmp_path}/copy.db'"],
        [f"ATTACH '{tmp_path}/new.db' AS y"],
        [";PRAGMA query_only=OFF", "DELETE FROM item"],
        ["\ufeffPRAGMA query_only=OFF", "DELETE FROM item"],
        ["PRAGMA case_sensitive_like=1"],
        ["PRAGMA writable_schema=1"],
        ["PRAGMA wal_checkpoint(TRUNCATE)"],
        ["PRAGMA optimize"],
        ["CREATE TEMP VIEW mine AS SELECT 1"],
        ["CREATE TEMP TRIGGER mine AFTER INSERT ON item BEGIN DELETE FROM item; END"],
        ["COMMIT"],
        ["BEGIN IMMEDIATE"],
    ]
    async with running(make_app(f"sqlite:///{file}", settings={"database_pool_size": 1})):
        async with db.transaction() as session:
            session.add(Item(name="cup"))
        for way in ways:
            with pytest.raises(WriteOnReadSession):
                async with db.read(mode=mode) as session:  # type: ignore[arg-type]  # a parameter of the test
                    for statement in way:
                        await session.execute(text(statement))
        assert await count_items() == 1
    assert {one.name for one in tmp_path.iterdir()} == {file.name}


async def test_reads_may_read_in_every_way(sqlite_url: str) -> None:
    """Virtual tables, JSON, windows, recursion, savepoints and questions to the schema are reads."""
    app = make_app(sqlite_url)
    async with running(app):
        async with db.transaction() as session:
            await session.execute(text("CREATE VIRTUAL TABLE found USING fts5(words)"))
            await session.execute(text("INSERT INTO found VALUES ('hello world')"))
        for mode in ("read", "snapshot"):
            async with db.read(mode=mode) as session:
                assert (await session.scalars(text("SELECT words FROM found WHERE found MATCH 'hello'"))).all()
                assert (await session.scalars(text("SELECT value FROM json_each('[1, 2]')"))).all() == [1, 2]
                assert (await session.execute(text("SELECT name FROM pragma_table_info('item')"))).all()
                assert (await session.execute(text("SELECT sum(1) OVER (), changes(), last_insert_rowid()"))).all()
                recursive = "WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n WHERE i < 9) SELECT i FROM n"
                assert len((await session.scalars(text(recursive))).all()) == 9
                async with session.begin_nested():
                    assert await session.scalar(select(func.count()).select_from(Item)) == 0


@pytest.mark.parametrize(
    ("change", "look", "clean"),
    [
        ("PRAGMA case_sensitive_like = 1", "SELECT 'A' LIKE 'a'", 1),
        ("PRAGMA recursive_triggers = 1", "PRAGMA recursive_triggers", 0),
        ("CREATE TEMP TABLE mine (x)", "SELECT count(*) FROM sqlite_temp_master", 0),
        ("CREATE TEMP TRIGGER mine AFTER INSERT ON item BEGIN DELETE FROM shelf; END",
         "SELECT count(*) FROM sqlite_temp_master", 0),
        ("CREATE TEMP VIEW item AS SELECT 1", "SELECT count(*) FROM sqlite_temp_master", 0),
    ],
)  # fmt: skip
async def test_a_writer_leaves_nothing_on_its_connection(sqlite_url: str, change: str, look: str, clean: int) -> None:
    """What outlives a transaction on SQLite's writer does not reach the next one."""
    async with running(make_app(sqlite_url)):
        async with db.transaction() as session:
            await session.execute(text(change))
        async with db.transaction() as session:
            assert await session.scalar(text(look)) == clean


async def test_ordinary_writes_keep_the_connection(sqlite_url: str) -> None:
    """A transaction that writes rows and tables leaves the connection open for the next one."""
    async with running(make_app(sqlite_url)):
        seen = set()
        for number in range(3):
            async with db.transaction() as session:
                session.add(Item(name=f"cup {number}"))
                await session.execute(text(f"CREATE TABLE more_{number} (x)"))
                raw = await (await session.connection()).get_raw_connection()
                seen.add(id(raw.dbapi_connection))
    assert len(seen) == 1


async def test_the_file_is_made_at_the_start(tmp_path: Path) -> None:
    """A database that does not exist yet is made when the app starts, so that the first request can read."""
    app = make_app(f"sqlite:///{tmp_path / 'new.db'}")
    async with app.test_app(), app.app_context(), db.read() as session:
        assert await session.scalar(select(1)) == 1


# -- files that cannot be written

AS_NOBODY = """
import asyncio, encodings.idna, json, os, sys  # nobody may not read the library
from tests.services import make_service
app = make_service(sys.argv[1])
if os.getuid() == 0:  # root may write anywhere
    os.setuid(65534)
async def main():
    async with app.test_app():
        client = app.test_client()
        read = await client.get("/items")
        written = await client.post("/items", json={"name": "pot"})
        problem = await written.get_json()
        print(json.dumps([read.status_code, await read.get_json(), written.status_code, problem["detail"]]))
asyncio.run(main())
"""


@pytest.fixture
def readable() -> Iterator[Path]:
    """Yield a directory that everybody can read."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
        Path(name).chmod(0o700)


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
@pytest.mark.parametrize("directory_too", [True, False])
@pytest.mark.extended
async def test_a_file_that_cannot_be_written_still_reads(readable: Path, journal: str, directory_too: bool) -> None:
    """Row 166: reads work, and a write is a 503 that says so, not a 500 that blames the handler."""
    file = readable / "shop.db"
    async with running(make_service(f"sqlite:///{file}")) as client:
        assert (await client.post("/items", json={"name": "cup"})).status_code == 201
    with sqlite3.connect(file) as connection:
        connection.execute(f"PRAGMA journal_mode={journal}")
    connection.close()
    file.chmod(0o444)
    readable.chmod(0o555 if directory_too else 0o777)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, f"sqlite:///{file}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [200, 1, 503, "the database is read-only at the moment"]


async def test_each_statement_goes_to_the_thread_once(sqlite_url: str) -> None:
    """The cursor, the statement, its rows and the end of the cursor are one way there and back; so is a commit."""
    async with running(make_app(sqlite_url)):
        async with db.transaction() as session:
            driver: Any = (await (await session.connection()).get_raw_connection()).driver_connection
            jobs: list[Any] = []
            execute = driver._execute

            async def counted(job: Any, *arguments: Any) -> Any:
                jobs.append(job)
                return await execute(job, *arguments)

            driver._execute = counted
            session.add_all([Item(name="cup", price=3), Item(name="pot", price=9)])
            await session.flush()
            assert len(jobs) == 1
            found = await session.execute(select(Item.name, Item.price).order_by(Item.name))
            assert found.all() == [("cup", 3), ("pot", 9)]
            changed: Any = await session.execute(update(Item).values(price=5))
            assert changed.rowcount == 2
            connection = await session.connection()
            await connection.exec_driver_sql("DELETE FROM item WHERE name = ?", [("cup",), ("pot",)])
            assert await session.scalar(select(func.count()).select_from(Item)) == 0
            assert len(jobs) == 5
            with pytest.raises(OperationalError, match="no such table"):
                await session.execute(text("SELECT 1 FROM nowhere"))
        assert len(jobs) == 7
