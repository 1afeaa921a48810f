"""`ligand serve`: the service under hypercorn."""

import logging

import click
from quart.cli import ScriptInfo, pass_script_info

from ligand_async.cli.service import load_app, load_service
from ligand_async.ops import ServerError, run, run_workers

logger = logging.getLogger(__name__)


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port; by default PORT, else 8000; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="How many processes serve.")
@pass_script_info
def serve(info: ScriptInfo, host: str, port: int | None, workers: int) -> None:
    """Serve the service until SIGINT or SIGTERM.

    The exit code is 0 after a clean stop, 1 if it cannot start, 3 if requests had to be cut or the app did not close in
    time, 4 if no worker is left and new ones do not start. Then the last line on stderr has the reason.
    """
    settings = load_service(info, check=False).settings
    try:
        port = settings.port if port is None else port
        if workers == 1:
            run(load_app(info, check=False), settings, host=host, port=port)
        else:
            run_workers(load_app(info, check=False), settings, host=host, port=port, count=workers)
    except ServerError as error:
        logger.critical("%s", error)  # one object a line also now, where the log is JSON
        raise click.exceptions.Exit(error.exit_code) from error
