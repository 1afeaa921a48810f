"""`ligand run`: one function of the service, with its database and its services."""

import importlib
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints

import click
from pydantic import TypeAdapter, ValidationError
from quart.cli import ScriptInfo, pass_script_info

from ligand_async.cli.output import ServiceError
from ligand_async.cli.service import load_app, load_service
from ligand_async.web import LigandQuart, Services, run_script, services_of


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("target", metavar="MODULE:FUNCTION")
@click.argument("arguments", metavar="[ARGUMENT]...", nargs=-1, type=click.UNPROCESSED)
@pass_script_info
def run(info: ScriptInfo, target: str, arguments: Sequence[str]) -> None:
    """Call a function of the service while the app runs, and print what it returns.

    The function gets services by annotation, as a handler does, and the arguments for its other parameters in their
    order. With a session it is a unit of work: it is committed when the function returns. A problem is one message and
    exit code 1.
    """
    load_service(info)
    app = load_app(info)
    if not isinstance(app, LigandQuart):
        raise ServiceError(f"app {app.name!r} was not made by ligand_async.create_app(); make it there")
    function = _load_function(target)
    given = _read_arguments(
        services_of(app), function, target, arguments[1:] if arguments[:1] == ("--",) else arguments
    )
    result = run_script(app, function, given)
    if result is not None:
        click.echo(result)


def _load_function(target: str) -> Any:
    module, _, name = target.partition(":")
    if not module or not name:
        raise ServiceError(f"{target!r} does not name a function; write it as module:function")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ServiceError(f"there is no module {module!r} to import; a path is written with dots") from error
    if isinstance(found, click.Command):
        raise ServiceError(f"{target} is a command; register it with app.cli, and run it as `ligand {found.name}`")
    if not inspect.isroutine(found):
        raise ServiceError(f"module {module!r} has no function {name!r}")
    if inspect.isasyncgenfunction(found) or inspect.isgeneratorfunction(found):
        raise ServiceError(f"{target} yields; write a function that returns")
    return found


def _read_arguments(services: Services, function: Any, target: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the arguments by parameter, as values of its type.

    Raises:
        UsageError: There are too many or too few, or one does not fit its parameter.
    """
    try:
        hints = get_type_hints(inspect.unwrap(function), include_extras=True)
    except (NameError, TypeError) as error:
        raise ServiceError(f"{target}: an annotation cannot be resolved ({error})") from error
    parameters = [
        parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if not services.is_service(hints.get(name, str))
    ]
    if len(arguments) > len(parameters):
        raise click.UsageError(f"{target} takes {_count(len(parameters))}, and {len(arguments)} were given")
    given: dict[str, Any] = {}
    for parameter, text in zip(parameters, arguments, strict=False):
        try:
            given[parameter.name] = TypeAdapter(hints.get(parameter.name, str)).validate_strings(text)
        except ValidationError as error:
            words = error.errors(include_input=False, include_url=False)[0]["msg"]
            raise click.UsageError(f"argument {parameter.name!r} of {target}: {words}") from error
    missing = [one.name for one in parameters[len(arguments) :] if one.default is one.empty]
    if missing:
        raise click.UsageError(
            f"{target} needs {', '.join(missing)}: give the values as arguments, or provide a service"
        )
    return given


def _count(number: int) -> str:
    return {0: "no arguments", 1: "one argument"}.get(number, f"{number} arguments")
