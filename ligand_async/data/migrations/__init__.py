"""Migrations: Alembic on the app's own engine, for one database or another, one process at a time."""

from ligand_async.data.migrations.commands import (
    Placement,
    adopt_directory,
    auto_upgrade,
    autogenerate,
    create_directory,
    current,
    current_on,
    downgrade,
    find_directory,
    merge,
    new_revision,
    read_history,
    scripts,
    stamp,
    upgrade,
    write_sql,
)
from ligand_async.data.migrations.comparison import Findings, check
from ligand_async.data.migrations.errors import (
    MigrationError,
    MigrationFailed,
    MigrationLockHeld,
    MigrationsNotFound,
    words_of,
)
from ligand_async.data.migrations.runner import Patience, run_environment

__all__ = [
    "Findings",
    "MigrationError",
    "MigrationFailed",
    "MigrationLockHeld",
    "MigrationsNotFound",
    "Patience",
    "Placement",
    "adopt_directory",
    "auto_upgrade",
    "autogenerate",
    "check",
    "create_directory",
    "current",
    "current_on",
    "downgrade",
    "find_directory",
    "merge",
    "new_revision",
    "read_history",
    "run_environment",
    "scripts",
    "stamp",
    "upgrade",
    "words_of",
    "write_sql",
]
