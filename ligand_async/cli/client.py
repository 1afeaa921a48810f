"""`ligand client`: clients of the service, generated from its document."""

import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import click
from quart.cli import ScriptInfo, pass_script_info

from ligand_async.cli.output import one_message
from ligand_async.cli.service import load_app, load_document, load_service
from ligand_async.docs.clients import (
    KINDS,
    TIMEOUT,
    ClientError,
    digest_of,
    directory_of,
    generated,
    pack,
    package_of,
    path_of,
)
from ligand_async.settings import Settings

_timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=1, max=3600),
    default=TIMEOUT,
    show_default=True,
    help="Seconds that each generator may take.",
)
_address_option = click.option(
    "--private/--public", default=False, help="The client's default address: the private URL, or the public one."
)


@click.group()
def client() -> None:
    """Generate clients of the service; needs the extra `clients`, and no network.

    GENERATOR is python, typescript (which is typescript-fetch), or any other generator of openapi-generator, such as
    typescript-axios, go or kotlin.
    """


@client.command("generate")
@click.argument("generator")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="The directory to be made."
)
@_address_option
@_timeout_option
@pass_script_info
def generate(info: ScriptInfo, generator: str, output: Path, private: bool, timeout: float) -> None:
    """Generate the source of a client into a directory that is empty, or not there yet."""
    settings, app = load_service(info).settings, load_app(info)
    if output.is_dir() and any(output.iterdir()):
        raise click.ClickException(f"{output} is not empty; choose another directory, or remove it first")
    document = load_document(info)
    with _client_errors():
        server = server_of(settings, private=private)
        with generated(generator, document, package_of(app), server=server, timeout=timeout) as made:
            shutil.copytree(made, output, dirs_exist_ok=True)
    click.echo(output)


@client.command("build")
@click.argument("generators", metavar="[GENERATOR]...", nargs=-1)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="The directory for the zips; by default the one that the service hands them out from.",
)
@_address_option
@_timeout_option
@pass_script_info
def build(info: ScriptInfo, generators: tuple[str, ...], output: Path | None, private: bool, timeout: float) -> None:
    """Build the zips that the service hands out, by default python and typescript: when its image is made."""
    settings, app = load_service(info).settings, load_app(info)
    document = load_document(info)
    with _client_errors():
        package = package_of(app)
        digest = digest_of(document, package)
        server = server_of(settings, private=private)
        for kind in dict.fromkeys(generators or KINDS):
            archive = path_of(output or directory_of(app), kind, digest)
            with generated(kind, document, package, server=server, timeout=timeout) as made:
                pack(made, archive, top=f"{package.name}-{package.version}")
            click.echo(archive)


def server_of(settings: Settings, *, private: bool) -> str | None:
    """Return the client's default address, or None if it is not set."""
    url = getattr(settings, "service_private_url" if private else "service_public_url", None)
    return None if url is None else str(url)


def _client_errors() -> AbstractContextManager[None]:
    return one_message(failure=(ClientError, OSError))
