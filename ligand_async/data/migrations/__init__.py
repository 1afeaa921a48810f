"""Migrations: Alembic on the app's own engine, for one database or another, one process at a time."""

from ligand_async.data.migrations.attempts import Patience
from ligand_async.data.migrations.check import Findings, LockFindings, check, check_locks
from ligand_async.data.migrations.commands import auto_upgrade, current, downgrade, stamp, upgrade
from ligand_async.data.migrations.directory import create_directory, find_directory
from ligand_async.data.migrations.environment import run_environment
from ligand_async.data.migrations.errors import MigrationError, MigrationFailed, MigrationLockHeld, MigrationsNotFound
from ligand_async.data.migrations.offline import write_sql
from ligand_async.data.migrations.revisions import Placement, autogenerate, merge, new_revision, scripts

__all__ = [
    "Findings",
    "LockFindings",
    "MigrationError",
    "MigrationFailed",
    "MigrationLockHeld",
    "MigrationsNotFound",
    "Patience",
    "Placement",
    "auto_upgrade",
    "autogenerate",
    "check",
    "check_locks",
    "create_directory",
    "current",
    "downgrade",
    "find_directory",
    "merge",
    "new_revision",
    "run_environment",
    "scripts",
    "stamp",
    "upgrade",
    "write_sql",
]
