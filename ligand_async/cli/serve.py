"""`ligand serve`: the service under our server, at the addresses that options, settings or the service manager name."""

import gc
import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click
from quart.cli import ScriptInfo, pass_script_info

from ligand_async.cli.output import ServiceError
from ligand_async.cli.service import AppInfo, load_app, load_service
from ligand_async.ops import (
    SOCKET_MODE,
    Address,
    Listener,
    Reloader,
    ReloadRefused,
    ServerError,
    open_listener,
    open_listeners,
    run,
    run_workers,
    take_handed_over,
)
from ligand_async.settings import DOTENV_FILES, CommandLine, Given, Settings, with_options

logger = logging.getLogger(__name__)

_LOCAL = "127.0.0.1"
_ANY = {"0.0.0.0": _LOCAL, "::": "[::1]"}  # noqa: S104  (where a client on this machine finds it)


def _read_addresses(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> list[Address]:
    found: list[Address] = []
    for value in values:
        try:
            address = Address.parse(value)
        except ValueError as error:
            raise click.BadParameter(f"{value!r} is not an address; {error}") from error
        if address in found and not _is_any_port(address):
            raise click.BadParameter(f"{address} is given twice")
        found.append(address)
    return found


def _read_mode(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    try:
        mode = int(value, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise click.BadParameter("write the permissions in octal, such as 660")
    return mode


@click.command("serve")
@click.option("--host", help=f"The address to listen on; {_LOCAL} by default.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port; by default PORT, else 8000; 0 takes a free one.")
@click.option(
    "--bind",
    multiple=True,
    callback=_read_addresses,
    metavar="ADDRESS",
    help="Instead of host and port: HOST:PORT, [IPv6]:PORT, unix:PATH or fd:NUMBER; may be repeated.",
)
@click.option(
    "--socket-mode",
    default=f"{SOCKET_MODE:o}",
    show_default=True,
    callback=_read_mode,
    help="The permissions of Unix sockets.",
)
@click.option("--root-path", help="The path below which clients see the service; by default the setting root_path.")
@click.option("--management-port", type=click.IntRange(1, 65535), help="A port of its own for health checks.")
@click.option(
    "--reload", is_flag=True, help="Start anew when the code or .env changes; in local, and with one process, only."
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="How many processes serve.")
@pass_script_info
def serve(
    info: ScriptInfo,
    host: str | None,
    port: int | None,
    bind: list[Address],
    socket_mode: int,
    root_path: str | None,
    management_port: int | None,
    reload: bool,
    workers: int,
) -> None:
    """Serve the service until SIGINT or SIGTERM.

    The exit code is 0 after a clean stop, 1 if it cannot start, 2 if it cannot be loaded, 3 if requests had to be cut
    or the app did not close in time, 4 if no worker is left and new ones do not start. Then the last line on stderr has
    the reason.
    """
    path = None if root_path is None else root_path.removesuffix("/")
    options = {"root_path": ("--root-path", path), "management_port": ("--management-port", management_port)}
    given = {key: Given(value, source) for key, (source, value) in options.items() if value is not None}
    try:
        with ExitStack() as stack:
            place = _Place(_choose_addresses(bind, host, port), given, mode=socket_mode)
            stack.callback(place.close)
            place.open_early(everything=reload)
            stack.enter_context(with_options(place.options))
            # At its end Python would look through all objects twice, which takes a third of a second.
            stack.callback(gc.freeze)
            if reload:
                _serve_reloading(info, place, workers)
            else:
                _serve(info, place, workers)
    except ServerError as error:
        logger.critical("%s", error)  # one object a line also now, where the log is JSON
        raise click.exceptions.Exit(error.exit_code) from error


def _serve_reloading(info: ScriptInfo, place: "_Place", workers: int) -> None:
    if workers > 1:
        raise click.UsageError("--reload runs one process; leave out --workers")
    if not isinstance(info, AppInfo):
        raise click.UsageError("--reload is an option of the command ligand")

    def serve_once(life: int) -> int:
        try:
            _serve(info, place, 1, life=life)
        except ServerError as error:
            logger.critical("%s", error)
            return error.exit_code
        except click.ClickException as error:
            error.show()
            if isinstance(error, _NotLocal):
                raise ReloadRefused from error
            return error.exit_code
        return 0

    # The prefix of the variables is not known before the service is loaded.
    configs = [value for name, value in os.environ.items() if name.endswith("_CONFIG_FILE") and value]
    files = [Path(name) for name in (*DOTENV_FILES, "pyproject.toml", *configs)]
    reloader = Reloader(serve_once, directories=[info.place], files=files, say=lambda line: click.echo(line, err=True))
    try:
        code = reloader.run()
    except ReloadRefused as error:
        raise click.exceptions.Exit(_NotLocal.exit_code) from error
    raise click.exceptions.Exit(code)


class _NotLocal(ServiceError):
    """The service is not to be reloaded in this environment."""


def _serve(info: ScriptInfo, place: "_Place", workers: int, *, life: int | None = None) -> None:
    settings = load_service(info, check=False).settings
    app = load_app(info, check=False)
    if life is not None and settings.environment != "local":
        variable = settings.vocabulary().variable("environment")
        raise _NotLocal(f"--reload is for local, and {variable} is {settings.environment}; leave it out")
    listeners, management = place.open(settings)
    if workers == 1:
        run(app, settings, listeners=listeners, management=management, life=life)
    else:
        run_workers(app, settings, listeners=listeners, management=management, count=workers)


def _choose_addresses(bind: Sequence[Address], host: str | None, port: int | None) -> list[Address]:
    """Return the addresses that the service manager and the options name; one without a port takes that of PORT.

    Raises:
        click.UsageError: Two of them name the same.
        ServerError: The service manager does not say how many sockets it hands over.
    """
    handed_over = take_handed_over(os.environ)
    named = [*handed_over, *bind]
    if not named:
        return [Address(host or _LOCAL, port, source="--port")]
    if host is not None or port is not None:
        where = "the service manager (LISTEN_FDS)" if handed_over else "--bind"
        raise click.UsageError(f"{where} names the address; leave out --host and --port")
    return named


def _is_any_port(address: Address) -> bool:
    return address.path is None and address.port == 0


class _Place:
    """Where a service is served, before and after its settings are known.

    Args:
        addresses: At least one.
        given: The settings among the options.
        mode: The permissions of Unix sockets.
    """

    def __init__(self, addresses: Sequence[Address], given: dict[str, Given], *, mode: int) -> None:
        self._addresses = addresses
        self._given = given
        self._mode = mode
        self._opened: dict[int, Listener] = {}  # by the position of the address
        self._management: Listener | None = None

    def open_early(self, *, everything: bool = False) -> None:
        """Open the sockets whose port is not known otherwise, which the public URL has.

        Args:
            everything: Open also all others, but for one at the port of the settings.

        Raises:
            ServerError: A socket cannot be had.
        """
        self._open(
            [
                index
                for index, one in enumerate(self._addresses)
                if one.descriptor is not None or one.port == 0 or (everything and (one.path or one.port))
            ]
        )

    def _open(self, positions: Sequence[int]) -> None:
        listeners = open_listeners([self._addresses[index] for index in positions], mode=self._mode)
        self._opened.update(zip(positions, listeners, strict=True))

    @property
    def options(self) -> CommandLine:
        """The options, as the settings take them."""
        host, port, source = self._find_port()
        found = {} if port is None else {"port": Given(port, source)}
        return CommandLine({**self._given, **found}, host=_url_host(host or _LOCAL), has_port=host is not None)

    def _find_port(self) -> tuple[str | None, int | None, str]:
        """Return host and port of the first address that has them, and what names it."""
        for index, address in enumerate(self._addresses):
            listener = self._opened.get(index)
            if listener is not None and listener.path is None:
                return listener.host, listener.port, address.source
            if listener is None and address.path is None:
                return address.host, address.port, address.source
        return None, None, ""

    def open(self, settings: Settings) -> tuple[list[Listener], Listener | None]:
        """Return the listeners of the service, and that of the management port.

        Raises:
            ServiceError: The settings were made without the options.
            ServerError: A socket cannot be had.
        """
        for key, one in self.options.given.items():
            if getattr(settings, key) != one.value:
                raise ServiceError(
                    f"{one.source} does not reach the settings, because the app does not make them with "
                    f"Settings.load(); give {key} to them there"
                )
        self._addresses = [one.with_port(settings.port) for one in self._addresses]
        self._open([index for index in range(len(self._addresses)) if index not in self._opened])
        if settings.management_port is not None:
            host = self._find_port()[0] or _LOCAL
            self._management = open_listener(Address(host, settings.management_port, source="--management-port"))
        return [self._opened[index] for index in range(len(self._addresses))], self._management

    def close(self) -> None:
        """Close all sockets, and remove the files of Unix sockets."""
        for listener in (*self._opened.values(), *([self._management] if self._management else [])):
            listener.close()


def _url_host(host: str) -> str:
    """Return the host at which a client on this machine finds an address."""
    return _ANY.get(host) or (f"[{host}]" if ":" in host else host)
