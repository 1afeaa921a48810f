"""Where a service's migrations are, and how a new directory of them begins."""

import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from ligand_async.data.migrations.errors import MigrationsNotFound

DEFAULT_NAME = "migrations"
PROJECT_MARKS = ("pyproject.toml", ".git")
TEMPLATES = {"env.py.template": "env.py", "script.py.mako": "script.py.mako"}


def find_directory(directory: str | os.PathLike[str] | None = None, *, beside: str | Path | None = None) -> Path:
    """Find the migrations directory of a service.

    Without a directory, it is the `migrations` beside the app, or in the nearest directory above it up to the root of
    its project; then the one in the current directory, where an image keeps what is not part of the installed package.

    Args:
        directory: The one to use, relative to the current directory.
        beside: The app's `root_path`.

    Raises:
        MigrationsNotFound: Nothing that `create_directory` writes is there.
    """
    if directory is not None:
        candidates = [Path(directory)]
    else:
        above = [] if beside is None else list(directories_up_to_project(Path(beside)))
        candidates = [parent / DEFAULT_NAME for parent in (*above, Path.cwd())]
    for candidate in candidates:
        if is_ours(candidate):
            return candidate.resolve()
    looked = f"{candidates[0]}" if directory is not None else f"{candidates[0]} and {candidates[-1]}"
    raise MigrationsNotFound(
        f"no migrations found (looked at {looked}): run `ligand db init`, or name the directory with --directory"
    )


def directories_up_to_project(start: Path) -> Iterator[Path]:
    """Yield a directory and those above it, up to the one that holds the project."""
    for directory in (start, *start.parents):
        yield directory
        if any((directory / mark).exists() for mark in PROJECT_MARKS):
            return


def is_ours(directory: Path) -> bool:
    """Tell whether a directory's `env.py` calls this framework: others also call their directories `migrations`."""
    environment = directory / "env.py"
    return environment.is_file() and "run_environment" in environment.read_text(encoding="utf-8")


def create_directory(directory: str | os.PathLike[str] = DEFAULT_NAME) -> Path:
    """Write an empty migrations directory: `env.py`, the template of a migration, and `versions/`.

    Args:
        directory: A directory that does not exist yet, or is empty.

    Raises:
        MigrationsNotFound: There is something in it already.
    """
    target = Path(directory)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise MigrationsNotFound(f"{target} exists and is not empty; name another with --directory")
    (target / "versions").mkdir(parents=True)
    templates = files(__package__) / "templates"
    for source, name in TEMPLATES.items():
        (target / name).write_bytes((templates / source).read_bytes())
    return target
