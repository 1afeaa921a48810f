"""The `ligand` command: find the service and hand it to a subcommand."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click
from quart.cli import ScriptInfo

from ligand_async.cli.service import find_app, service_errors
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
    "serve": "ligand_async.cli.serve:serve",
    "settings": "ligand_async.cli.settings:settings",
    "shell": "ligand_async.cli.shell:shell",
    "token": "ligand_async.cli.token:token",
}
# These read the code only, and need no settings.
_WITHOUT_SETTINGS = frozenset({"auth", "client", "openapi"})


class LigandGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*COMMANDS, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        with service_errors():
            return super().invoke(ctx)


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
    "-A", "--app", metavar="MODULE:FACTORY", help="The service's app; else LIGAND_APP, QUART_APP or pyproject.toml."
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Show versions."
)
@click.pass_context
def ligand(ctx: click.Context, app: str | None) -> None:
    """Run and look after a ligand_async service."""
    if ctx.invoked_subcommand in _WITHOUT_SETTINGS:
        ctx.with_resource(without_choice("cli"))
    # The app keeps the debug mode its factory gave it; `quart` sets it from its own options.
    ctx.obj = ScriptInfo(app_import_path=app or find_app(), set_debug_flag=False)


def main() -> None:
    """Run the command line."""
    ligand(prog_name="ligand")
