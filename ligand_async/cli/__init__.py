"""The `ligand` command: find the service and hand it to a subcommand."""

import gc
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click
from quart.cli import ScriptInfo

from ligand_async.cli.service import AppInfo, load_app, service_errors
from ligand_async.settings import without_choice

__all__ = ["ligand", "main"]

# Each is imported when it is used, so that a command imports only what it needs.
COMMANDS = {
    "auth": "ligand_async.cli.auth:auth",
    "audit": "ligand_async.cli.audit:audit",
    "client": "ligand_async.cli.client:client",
    "db": "ligand_async.cli.db:db",
    "idempotency": "ligand_async.cli.idempotency:idempotency",
    "openapi": "ligand_async.cli.openapi:openapi",
    "run": "ligand_async.cli.run:run",
    "schemas": "ligand_async.cli.schemas:schemas",
    "serve": "ligand_async.cli.serve:serve",
    "settings": "ligand_async.cli.settings:settings",
    "shell": "ligand_async.cli.shell:shell",
    "token": "ligand_async.cli.token:token",
}
# These read the code only, and need no settings.
_WITHOUT_SETTINGS = frozenset({"auth", "client", "openapi", "schemas"})


class LigandGroup(click.Group):
    """The commands of this package, imported when they are used, and those that the service has in `app.cli`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        own: list[str] = []
        try:
            with without_choice("cli"):  # names need no settings
                own = load_app(_info_of(ctx), check=False).cli.list_commands(ctx)
        except Exception as error:  # noqa: BLE001  (the commands of this package are there all the same)
            _warn(error)
        return sorted({*COMMANDS, *own, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            try:
                return load_app(_info_of(ctx), check=False).cli.get_command(ctx, cmd_name)
            except click.ClickException as error:
                _warn(error)
                return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        _add_app_option(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        found = super().resolve_command(ctx, args)
        if found[0] not in COMMANDS:
            load_app(_info_of(ctx))  # with its checks, which a list of commands does without
        return found

    def invoke(self, ctx: click.Context) -> Any:
        with service_errors():
            return super().invoke(ctx)


def _info_of(ctx: click.Context) -> ScriptInfo:
    """Return what loads the app; it is loaded once."""
    if ctx.obj is None:
        ctx.obj = AppInfo(ctx.params.get("app"))
    info: ScriptInfo = ctx.obj
    return info


_APP_HELP = "The service's app; else LIGAND_APP, QUART_APP or pyproject.toml."


def _add_app_option(command: click.Command) -> None:
    """Let `--app` also stand behind the name of a command, and of those in its group."""
    if not any(param.callback is _choose_app for param in command.params):
        names = ["-A", "--app"]
        option = click.Option(
            names, is_eager=True, expose_value=False, callback=_choose_app, metavar="MODULE:FACTORY", help=_APP_HELP
        )
        command.params.append(option)
    if isinstance(command, click.Group):
        for one in command.commands.values():
            _add_app_option(one)


def _choose_app(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    info = ctx.find_object(ScriptInfo)
    if value is not None and isinstance(info, AppInfo):
        info.choose(value)


def _warn(error: Exception) -> None:
    reason = error.format_message() if isinstance(error, click.ClickException) else f"{type(error).__name__}: {error}"
    first = reason.partition("\n")[0]
    click.echo(f"The commands of the service are not known, because it cannot be loaded: {first}\n", err=True)


def show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    """Print our version and Quart's."""
    if value and not ctx.resilient_parsing:
        try:
            ours = version("ligand-async")
        except PackageNotFoundError:
            ours = "(not installed)"
        click.echo(f"ligand-async {ours}, Quart {version('quart')}")
        ctx.exit()


@click.group(cls=LigandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-A",
    "--app",
    is_eager=True,
    metavar="MODULE:FACTORY",
    help=_APP_HELP,
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Show versions."
)
@click.pass_context
def ligand(ctx: click.Context, app: str | None) -> None:  # noqa: ARG001  (`_info_of` reads it)
    """Run and look after a ligand_async service."""
    if ctx.invoked_subcommand in _WITHOUT_SETTINGS:
        ctx.with_resource(without_choice("cli"))
    _info_of(ctx)


def main() -> None:
    """Run the command line."""
    # What is imported by now stays until the end: the search for garbage in the service's imports leaves it out.
    gc.freeze()
    ligand(prog_name="ligand")
