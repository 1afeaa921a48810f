"""The service of a command: its app found and loaded, its loop run, its database opened."""

import asyncio
import importlib.util
import json
import os
import re
import tomllib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import Any, TypeVar

import click
from dotenv import dotenv_values
from quart import Quart, cli
from quart.cli import NoAppException, ScriptInfo
from quart.helpers import get_load_dotenv

from ligand_async.auth import AccessError
from ligand_async.cli.output import ServiceError, one_message
from ligand_async.context import Service, find_service, service_of
from ligand_async.data import Database
from ligand_async.docs import DocumentError, document_of
from ligand_async.settings import DOTENV_FILES, SettingsError
from ligand_async.web import OperationError
from ligand_async.web import ServiceError as MissingService

_VARIABLES = ("LIGAND_APP", "QUART_APP")
_LONGEST_CHAIN = 5  # calls that lead to an error, in its message
_HOW_TO_NAME = (
    "name the service's app with --app module:factory, in the variable LIGAND_APP, "
    'or in pyproject.toml: [tool.ligand] app = "module:factory"'
)


class AppInfo(ScriptInfo):
    """Loads the app of a command, once.

    Args:
        chosen: The app that the option `--app` names, if it is there.

    Attributes:
        source: The name of the option, variable or file that names the app; None if nothing does.
    """

    def __init__(self, chosen: str | None = None) -> None:
        # The app keeps the debug mode its factory gave it; `quart` sets it from its own options.
        super().__init__(app_import_path=chosen, set_debug_flag=False)
        self.source = "--app" if chosen else None

    def choose(self, path: str) -> None:
        """Take the app that `--app` names behind the command."""
        self.app_import_path, self.source = path, "--app"

    @property
    def place(self) -> Path:
        """The directory from which the app is imported.

        Raises:
            ServiceError: pyproject.toml cannot be read.
        """
        module = re.split(r":(?![\\/])", self.find(), maxsplit=1)[0]
        place = Path(os.path.realpath(module)).parent
        while (place / "__init__.py").exists():
            place = place.parent
        top = Path(module).name.partition(".")[0]
        if not module.endswith(".py") and not any((place / name).exists() for name in (top, f"{top}.py")):
            spec = importlib.util.find_spec(top)  # which imports nothing
            if spec is not None and spec.origin is not None:
                return Path(spec.origin).parent
        return place

    def find(self) -> str:
        """Return the path of the app, such as `module:factory`.

        Raises:
            ServiceError: pyproject.toml cannot be read.
        """
        if self.app_import_path is None:
            self.app_import_path, self.source = find_app() or ("app.py", None)
        return self.app_import_path

    def load_app(self) -> Quart:
        """Return the app; errors of its code are one message, which names the place that chose this app.

        Raises:
            ServiceError: It is not found, cannot be imported, or its settings do not allow a start.
        """
        path = self.find()
        where = "no app is named, so app.py is tried" if self.source is None else f"{self.source} names {path}"
        try:
            return super().load_app()
        except (SettingsError, click.ClickException) as error:
            raise _load_error(error, where) from error
        except Exception as error:
            raise ServiceError(f"{_describe(error)}\n{where}.") from error


def _load_error(error: Exception, where: str) -> ServiceError:
    """Return one message for an error that says itself what is wrong."""
    if isinstance(error, ServiceError):
        return error
    if not isinstance(error, NoAppException):
        return ServiceError(error.message if isinstance(error, click.ClickException) else str(error))
    # Quart puts a whole traceback into the message when an import inside the app's module fails.
    reason, traceback, lines = error.message.partition("Traceback (most recent call last)")
    if traceback:
        reason = f"{reason.strip()} {lines.strip().splitlines()[-1]}"
    return ServiceError(f"{reason}\n{where}. To choose another, {_HOW_TO_NAME}.")


def _describe(error: Exception) -> str:
    """Return an error of the service's code with the calls that led to it, the last first."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} at {error.filename}:{error.lineno}"
    calls = [
        f"  at {frame.filename}:{frame.lineno} in {frame.name}"
        for frame in extract_tb(error.__traceback__)
        if not frame.filename.startswith((__file__, cli.__file__, importlib.__file__, "<frozen "))
    ]
    return "\n".join([f"{type(error).__name__}: {error}", *calls[: -_LONGEST_CHAIN - 1 : -1]])


def find_app() -> tuple[str, str] | None:
    """Return where the service's app is, as `module:factory`, and what says so; None if nothing does.

    Searched in this order: `LIGAND_APP`, `QUART_APP` (each in the environment, then in the dotenv files), and
    `[tool.ligand]` in the nearest pyproject.toml.

    Raises:
        ServiceError: pyproject.toml cannot be read.
    """
    variables: dict[str, tuple[str, str]] = {}
    for file in reversed(DOTENV_FILES) if get_load_dotenv() else ():
        if Path(file).is_file():
            found = dotenv_values(file, encoding="utf-8")
            variables.update({name: (value, f"{name} in {file}") for name, value in found.items() if value})
    variables.update({name: (value, name) for name, value in os.environ.items() if value})
    named = next((variables[name] for name in _VARIABLES if name in variables), None)
    return named or _find_app_in_project(Path.cwd())


def _find_app_in_project(directory: Path) -> tuple[str, str] | None:
    """Return the app that the nearest pyproject.toml names, as a path from any directory, and that file.

    Args:
        directory: Where to begin; the search goes up.

    Raises:
        ServiceError: The file cannot be read.
    """
    file = next(
        (place / "pyproject.toml" for place in (directory, *directory.parents) if (place / "pyproject.toml").is_file()),
        None,
    )
    if file is None:
        return None
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ServiceError(f"{file} cannot be read; correct it, or use --app") from error
    tool = tables.get("tool", {})
    ours = tool.get("ligand", {}) if isinstance(tool, dict) else {}
    app = ours.get("app") if isinstance(ours, dict) else ours
    if app is None:
        return None
    if not isinstance(app, str):
        raise ServiceError(f'[tool.ligand] app in {file} is not a text; write it as "module:factory"')
    return str(file.parent / app), f"[tool.ligand] app in {file}"


def load_app(info: ScriptInfo, *, check: bool = True) -> Quart:
    """Return the service's app, under our command line and under Quart's.

    Args:
        info: From `quart.cli.pass_script_info`.
        check: Whether to make the checks of a start that need no I/O; `serve` starts the app, which makes them.

    Raises:
        ServiceError: The app is not found, cannot be imported, or its settings or its code do not allow a start.
    """
    with service_errors():
        app = info.load_app()
    service = find_service(app)
    if check and service is not None:
        with one_message(misuse=(AccessError, DocumentError, OperationError, MissingService)):
            service.check_start()
    return app


def load_service(info: ScriptInfo, *, check: bool = True) -> Service:
    """Return the `Service` of the app.

    Args:
        info: From `quart.cli.pass_script_info`.
        check: As for `load_app`.

    Raises:
        ServiceError: The app is not found, cannot be loaded, or was not made by `create_app`.
    """
    app = load_app(info, check=check)
    with one_message(misuse=(RuntimeError,)):
        return service_of(app)


def load_document(info: ScriptInfo) -> dict[str, Any]:
    """Return the OpenAPI document of the service.

    Args:
        info: From `quart.cli.pass_script_info`.

    Raises:
        ServiceError: The service cannot be loaded, `create_app` did not make it, or its document cannot be built.
    """
    load_service(info)
    with one_message(misuse=(DocumentError,)):
        document: dict[str, Any] = json.loads(document_of(load_app(info)).content)
        return document


@contextmanager
def service_errors() -> Iterator[None]:
    """Turn the errors of loading a service into one message without a traceback."""
    try:
        yield
    except SettingsError as error:
        raise ServiceError(str(error)) from error
    except NoAppException as error:
        raise _load_error(error, "The app is chosen by Quart's command") from error


T = TypeVar("T")


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end; in another thread if this one has a running loop, as in an async test."""
    if not _in_loop():
        return asyncio.run(work())
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(lambda: asyncio.run(work())).result()


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def service_with_database(app: Quart) -> tuple[Service, Database]:
    """Return the service of an app, and its database.

    Raises:
        ServiceError: The app was not made by `create_app`, has no database, or no setting has the database's address.
    """
    with one_message(misuse=(RuntimeError,)):
        service = service_of(app)
    if not isinstance(service.database, Database):
        raise ServiceError(f"{service.title} has no database; create_app(database=…) gives it one")
    settings = service.settings
    if settings.environment == "cli" and settings.sources["database_url"].startswith("default"):
        # The default of `cli` is there so that an app can be made, not to be connected to.
        variable = settings.vocabulary().variable("database_url")
        raise ServiceError(
            f"no setting has the address of the database; set {variable}, or choose another environment than cli"
        )
    return service, service.database


@asynccontextmanager
async def open_database(app: Quart) -> AsyncIterator[Database]:
    """Open the database of an app without starting anything else of the app."""
    _, database = service_with_database(app)
    async with app.app_context():
        await database.start(app)
        try:
            yield database
        finally:
            await database.stop(app)
