"""`ligand schemas`: what type checkers and reviewers see of derived schemas."""

import sys
from collections.abc import Collection
from importlib import import_module
from pathlib import Path

import click
from quart.cli import ScriptInfo, pass_script_info

from ligand_async.cli.output import ServiceError, one_message, print_findings
from ligand_async.cli.service import load_service
from ligand_async.data.schemas import is_stub, schemas_by_module, stub_of


@click.group()
def schemas() -> None:
    """Write stubs of derived schemas, for type checkers and editors."""


@schemas.command("stub")
@click.argument("modules", metavar="[MODULE]...", nargs=-1)
@click.option("--check", is_flag=True, help="Write nothing; fail if a stub is not that of its module.")
@pass_script_info
def stub(info: ScriptInfo, modules: tuple[str, ...], check: bool) -> None:
    """Write a stub beside each module that derives schemas: `schemas.pyi` beside `schemas.py`.

    MODULE is the name of a module, such as `shop.schemas`. By default these are all modules of the service below the
    working directory.
    """
    load_service(info)
    stubs = dict(map(_stub_of, _modules_of(modules)))
    with one_message(failure=(OSError,)):
        old = {file: file.read_text("utf-8") for file in stubs if file.is_file()}
        surplus = [] if modules else _surplus_stubs(stubs)
        if check:
            missing = [f"{file} is not there" for file in stubs if file not in old]
            stale = [f"{file} is out of date" for file in old if old[file] != stubs[file]]
            print_findings([*missing, *stale, *(f"{file} is of no use" for file in surplus)])
            click.echo(f"{len(stubs)} stubs, all up to date", err=True)
            return
        for file in old:
            if not is_stub(old[file]):
                raise ServiceError(f"{file} was not written by this command; remove it, or name other modules")
        for file, text in stubs.items():
            file.write_text(text, "utf-8")
            click.echo(file)
        for file in surplus:
            file.unlink()


def _modules_of(names: tuple[str, ...]) -> list[str]:
    """Return the modules that need a stub.

    Raises:
        ServiceError: A module cannot be imported, or derives nothing.
    """
    for name in names:
        with one_message(misuse=(ImportError,)):
            import_module(name)
    found = schemas_by_module(Path.cwd() if not names else Path("/"))
    deriving = [name for name, defined in found.items() if any(schema.__ligand_derived__ for schema in defined)]
    for name in names:
        if name not in deriving:
            raise ServiceError(f"{name} does not derive a schema; name a module that does, or none for all")
    return list(names) or deriving


def _stub_of(name: str) -> tuple[Path, str]:
    module = sys.modules[name]
    with one_message(misuse=(OSError,)):
        return Path(str(module.__file__)).with_suffix(".pyi"), stub_of(module)


def _surplus_stubs(stubs: Collection[Path]) -> list[Path]:
    """Return the stubs below the working directory whose modules do not derive schemas any more."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    found = {Path(file).with_suffix(".pyi") for file in files if file and Path(file).is_relative_to(Path.cwd())}
    return sorted(file for file in found - {*stubs} if file.is_file() and is_stub(file.read_text("utf-8")))
