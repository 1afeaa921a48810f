"""Checks migrations: differences between models and database, in words, and statements that lock a busy table.

Warnings of locks are those of squawk, a linter of PostgreSQL's SQL.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alembic.autogenerate import produce_migrations
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import MigrateOperation, ops
from alembic.script import Script, ScriptDirectory
from sqlalchemy import MetaData, inspect
from sqlalchemy.dialects.postgresql.base import PGInspector

from ligand_async.data.migrations.autogenerate import describe_labels
from ligand_async.data.migrations.commands import write_sql
from ligand_async.data.migrations.errors import MigrationError
from ligand_async.data.migrations.runner import Migrated, connect, look, run_in_environment
from ligand_async.settings import Settings


@dataclass(frozen=True, slots=True)
class Findings:
    """What `check` found.

    Attributes:
        pending: Migrations that the database lacks, the oldest first.
        drift: Differences between models and database, in words; empty where migrations are pending: those come first.
    """

    pending: tuple[Script, ...]
    drift: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LockFindings:
    """What `check_locks` found.

    Attributes:
        warnings: In words, each with the name of its migration.
        complete: Whether all migrations could be looked at.
    """

    warnings: tuple[str, ...]
    complete: bool


async def check(database: Migrated, settings: Settings, directory: Path) -> Findings:
    """Compare the database with the migrations and with the models.

    Raises:
        MigrationError: The database cannot be reached, or is at a revision that is not in the directory.
    """
    async with connect(database, settings) as connection:
        return await look(connection, database, settings, directory, _compare)


def _compare(config: Config) -> Findings:
    """Compare, in Alembic's environment."""
    script = ScriptDirectory.from_config(config)

    def work(context: MigrationContext) -> Findings:
        there = context.get_current_heads()
        pending = tuple(script.iterate_revisions("heads", there or "base"))
        if pending or set(there) != set(script.get_heads()):
            return Findings(pending[::-1], ())
        return Findings((), tuple(_differences(context, context.opts["target_metadata"])))

    return run_in_environment(config, work)


def _differences(context: MigrationContext, metadata: MetaData) -> Iterator[str]:
    """Yield what is different in a database, in words."""
    wanted = produce_migrations(context, metadata).upgrade_ops
    if wanted is not None:
        yield from _describe(wanted.ops)
    inspector = inspect(context.connection)
    if isinstance(inspector, PGInspector):
        yield from describe_labels(inspector, metadata)


async def check_locks(
    database: Migrated, settings: Settings, directory: Path, revisions: Sequence[Script]
) -> LockFindings:
    """Look for what would make PostgreSQL lock a table that others use, with squawk if that is installed.

    Args:
        database: The service's.
        settings: Its settings.
        directory: The migrations directory.
        revisions: The migrations to look at.

    Raises:
        MigrationError: squawk failed.
    """
    program = find_squawk()
    if program is None:
        return LockFindings((_INSTALL_HINT,), complete=False)
    unreadable, sql = [], {}
    for revision in revisions:
        if revision.is_merge_point:
            continue
        before = revision.down_revision
        span = f"{before}:{revision.revision}" if isinstance(before, str) else revision.revision
        name = Path(revision.path).stem
        try:
            sql[name] = await write_sql(database, settings, directory, span, dialect="postgresql")
        except MigrationError as error:
            unreadable.append(f"{name}: cannot be written as SQL to look for locks ({error})")
    return LockFindings((*unreadable, *await find_locks(program, sql)), complete=not unreadable)


TIMEOUT = 60.0  # seconds
_INSTALL_HINT = "locks were not looked at: `pip install squawk-cli` adds that"
# squawk has many opinions; these of its rules are about who has to wait.
_LOCKING_RULES = frozenset(
    {
        "adding-field-with-default",
        "adding-foreign-key-constraint",
        "adding-not-nullable-field",
        "adding-required-field",
        "adding-serial-primary-key-field",
        "ban-alter-domain-with-add-constraint",
        "ban-concurrent-index-creation-in-transaction",
        "changing-column-type",
        "constraint-missing-not-valid",
        "disallowed-unique-constraint",
        "require-concurrent-index-creation",
        "require-concurrent-index-deletion",
        "require-concurrent-partition-detach",
        "require-concurrent-reindex",
    }
)


def find_squawk() -> str | None:
    """Return the program's path: that of this environment, which may not be activated, or of PATH."""
    return shutil.which("squawk", path=str(Path(sys.executable).parent)) or shutil.which("squawk")


async def find_locks(program: str, migrations: Mapping[str, str]) -> list[str]:
    """Return what squawk says about the locks that migrations take.

    Args:
        program: As `find_squawk` returns it.
        migrations: Their SQL for PostgreSQL, by name.

    Raises:
        MigrationError: squawk itself failed.
    """
    if not migrations:
        return []
    with tempfile.TemporaryDirectory() as place:
        files = []
        for name, sql in migrations.items():
            file = Path(place) / f"{name}.sql"
            file.write_text(sql, encoding="utf-8")
            files.append(str(file))
        # Its exit status says only that there is something to say.
        process = await asyncio.create_subprocess_exec(
            program, "--reporter", "json", *files, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(), TIMEOUT)
            found = json.loads(output)
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise MigrationError(f"squawk did not end within {TIMEOUT:g} s") from error
        except ValueError as error:
            raise MigrationError(f"squawk failed: {errors.decode(errors='replace').strip()}") from error
    return [
        f"{Path(item['file']).stem}: {item['message']} {item['help'] or ''}".rstrip() + f" [{item['rule_name']}]"
        for item in found
        if item["rule_name"] in _LOCKING_RULES
    ]


def _describe(operations: Sequence[MigrateOperation]) -> Iterator[str]:
    """Say what the database lacks, has too much, or has otherwise than the models.

    Args:
        operations: What would make the database what the models say.
    """
    for operation in operations:
        if isinstance(operation, ops.OpContainer):
            yield from _describe(operation.ops)
        elif isinstance(operation, ops.AlterColumnOp):
            yield from _describe_alteration(operation)
        else:
            yield _describe_one(operation)


def _describe_one(operation: MigrateOperation) -> str:
    """Say what one operation is about."""
    match operation:
        case ops.CreateTableOp():
            return f"table {operation.table_name} is missing"
        case ops.DropTableOp():
            return f"table {operation.table_name} is not in the models"
        case ops.AddColumnOp():
            return f"column {operation.table_name}.{operation.column.name} is missing"
        case ops.DropColumnOp():
            return f"column {operation.table_name}.{operation.column_name} is not in the models"
        case ops.CreateIndexOp():
            return f"index {operation.index_name} on {operation.table_name} is missing"
        case ops.DropIndexOp():
            return f"index {operation.index_name} on {operation.table_name} is not in the models"
        case ops.CreateForeignKeyOp():
            return f"constraint {operation.constraint_name} on {operation.source_table} is missing"
        case ops.CreateUniqueConstraintOp():
            return f"constraint {operation.constraint_name} on {operation.table_name} is missing"
        case ops.DropConstraintOp():
            return f"constraint {operation.constraint_name} on {operation.table_name} is not in the models"
        case ops.CreateTableCommentOp() | ops.DropTableCommentOp():
            return f"the comment of table {operation.table_name} differs"
        case _:  # an operation of a plugin
            return f"something differs: {type(operation).__name__}"


def _describe_alteration(operation: ops.AlterColumnOp) -> Iterator[str]:
    """Say what is different about one column."""
    column = f"column {operation.table_name}.{operation.column_name}"
    if operation.modify_type is not None:
        yield f"{column} has type {operation.existing_type!s}, the models say {operation.modify_type!s}"
    if operation.modify_nullable is not None:
        yield f"{column} {'refuses' if operation.modify_nullable else 'allows'} NULL, the models do not"
    if operation.modify_server_default is not False:
        yield f"{column} has another default than in the models"
    if operation.modify_comment is not False:
        yield f"{column} has another comment than in the models"
