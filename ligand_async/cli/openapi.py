"""`ligand openapi`: the document of the service, written and checked."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import click
import yaml  # type: ignore[import-untyped]  # it comes with pydantic-settings, its stubs do not
from quart.cli import ScriptInfo, pass_script_info

from ligand_async.cli.output import ServiceError, print_findings
from ligand_async.cli.service import load_document

_YAML_SUFFIXES = frozenset({".yaml", ".yml"})


@click.group()
def openapi() -> None:
    """Write the OpenAPI document, or check it."""


@openapi.command("write")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file; without it, standard output."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "yaml"]),
    help="The format; by default that of the file's suffix, else JSON.",
)
@pass_script_info
def write(info: ScriptInfo, output: Path | None, form: str | None) -> None:
    """Write the document; the same service and settings give the same bytes."""
    document = load_document(info)
    is_yaml = form == "yaml" or (form is None and output is not None and output.suffix in _YAML_SUFFIXES)
    text = _as_yaml(document) if is_yaml else _as_json(document)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        _write_whole(output, text.encode())
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from error


@openapi.command("check")
@pass_script_info
def check(info: ScriptInfo) -> None:
    """Fail if the document is not valid OpenAPI 3.1."""
    document = load_document(info)
    print_findings(list(_find_invalid_parts(document)))
    operations = sum(len(item) for item in document["paths"].values())
    click.echo(f"{operations} operations, all valid", err=True)


def _as_json(document: dict[str, Any]) -> str:
    """Return a document as JSON text that people can compare."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _as_yaml(document: dict[str, Any]) -> str:
    """Return a document as YAML text."""
    text: str = yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=120)
    return text


def _find_invalid_parts(document: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each part that OpenAPI 3.1 does not allow.

    Raises:
        ServiceError: openapi-spec-validator is not installed.
    """
    try:
        from openapi_spec_validator import OpenAPIV31SpecValidator
    except ImportError as error:
        raise ServiceError("checking the document needs a package; run: pip install openapi-spec-validator") from error
    for found in OpenAPIV31SpecValidator(document).iter_errors():
        place = "".join(f"/{part}" for part in found.absolute_path) or "/"
        yield f"{place} is not valid: {found.message}"


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees either the old content or the new one."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        part = Path(file.name)
        try:
            file.write(content)
            file.flush()
            part.chmod(path.stat().st_mode if path.exists() else 0o644)
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
