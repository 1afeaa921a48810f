"""Warnings of migrations that lock a busy table, from squawk, a linter of PostgreSQL's SQL."""

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ligand_async.data.migrations.errors import MigrationError

TIMEOUT = 60.0  # seconds
INSTALL_HINT = "locks were not looked at: `pip install squawk-cli` adds that"
# squawk has many opinions; these of its rules are about who has to wait.
LOCKING_RULES = frozenset(
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
        if item["rule_name"] in LOCKING_RULES
    ]
