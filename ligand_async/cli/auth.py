"""`ligand auth`: who may call which route."""

import json
from pathlib import Path

import click
from quart.cli import ScriptInfo, pass_script_info

from ligand_async.auth import AccessError, Route, routes_of
from ligand_async.cli.output import ServiceError, format_option, one_message, print_findings, print_table
from ligand_async.cli.service import load_app, load_service

_COLUMNS = ("method", "path", "endpoint", "who may call")


@click.group()
def auth() -> None:
    """Show who may call which route."""


@auth.command("routes")
@format_option
@pass_script_info
def list_routes(info: ScriptInfo, form: str) -> None:
    """Print every route with who may call it, those of the framework too."""
    routes = _load_routes(info)
    if form == "json":
        click.echo(json.dumps([_describe(route) for route in routes], indent=2))
        return
    print_table(_COLUMNS, [(route.method, route.path, route.endpoint, str(route.access)) for route in routes])


@auth.command("check")
@click.option(
    "--public",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The routes that may be public, one a line, as in `GET /pets/`; # begins a comment.",
)
@pass_script_info
def check(info: ScriptInfo, file: Path) -> None:
    """Fail if a route is public that is not listed in a file."""
    listed = _read_list(file)
    public = {str(route): route for route in _load_routes(info) if route.access.is_public}
    for line in sorted(listed - public.keys()):
        click.echo(f"{file}: {line} is not public, or not there; take it out", err=True)
    unlisted = [name for name in public if name not in listed]
    if unlisted:
        click.echo(f"public and not listed in {file}:", err=True)
    print_findings(unlisted)


def _load_routes(info: ScriptInfo) -> list[Route]:
    """Return the routes of the service.

    Raises:
        ServiceError: The service cannot be loaded, was not made by `create_app`, or has an ambiguous access rule.
    """
    load_service(info)
    with one_message(misuse=(AccessError,)):
        return routes_of(load_app(info))


def _describe(route: Route) -> dict[str, str | bool]:
    """Return a route as JSON values."""
    return {
        "method": route.method,
        "path": route.path,
        "endpoint": route.endpoint,
        "public": route.access.is_public,
        "who_may_call": str(route.access),
    }


def _read_list(file: Path) -> set[str]:
    """Read a list of routes.

    Raises:
        ServiceError: The file cannot be read, or a line is not a method and a path.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ServiceError(f"{file} cannot be read: {type(error).__name__}") from error
    listed = set()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words and (len(words) != 2 or not words[1].startswith("/")):
            raise ServiceError(f"{file}, line {number}: write a method and a path, as in `GET /pets/`")
        if words:
            listed.add(f"{words[0]} {words[1]}")
    return listed
