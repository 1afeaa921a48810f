"""`ligand openapi`: the document of the service, written, checked and reviewed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import click
import yaml  # type: ignore[import-untyped]  # it comes with pydantic-settings, its stubs do not
from quart.cli import ScriptInfo, pass_script_info

from ligand_async.cli.service import ServiceError, load_app, load_service
from ligand_async.docs import DocumentError, document_of

_YAML_SUFFIXES = frozenset({".yaml", ".yml"})


@click.group()
def openapi() -> None:
    """Write the OpenAPI document, or check it."""


@openapi.command("write")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file; without it, standard output."
)
@click.option(
    "--format", "form", type=click.Choice(["json", "yaml"]), help="How it is written; else as the file's name says."
)
@pass_script_info
def write(info: ScriptInfo, output: Path | None, form: str | None) -> None:
    """Write the document, the same bytes for the same service and settings."""
    document = _read_document(info)
    is_yaml = form == "yaml" or (form is None and output is not None and output.suffix in _YAML_SUFFIXES)
    text = _as_yaml(document) if is_yaml else _as_json(document)
    if output is None:
        click.echo(text, nl=False)
        return
    with _file_errors(output):
        _write_whole(output, text.encode())


@openapi.command("check")
@pass_script_info
def check(info: ScriptInfo) -> None:
    """Fail if the document is not valid OpenAPI 3.1, or leaves something to be desired.

    Listed are operations without summary, without declared success, and with schemas that have no name.
    """
    document = _read_document(info)
    findings = [*_invalid_parts(document), *_review(document)]
    for finding in findings:
        click.echo(finding)
    if findings:
        raise SystemExit(1)
    operations = sum(len(item) for item in document["paths"].values())
    click.echo(f"{operations} operations, nothing found", err=True)


def _read_document(info: ScriptInfo) -> dict[str, Any]:
    """Return the document of the service.

    Raises:
        ServiceError: The service cannot be loaded, `create_app` did not make it, or its document cannot be built.
    """
    load_service(info)
    try:
        document: dict[str, Any] = json.loads(document_of(load_app(info)).content)
    except DocumentError as error:
        raise ServiceError(str(error)) from error
    return document


def _as_json(document: dict[str, Any]) -> str:
    """Return a document as JSON text that people can compare."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _as_yaml(document: dict[str, Any]) -> str:
    """Return a document as YAML text."""
    text: str = yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=120)
    return text


def _invalid_parts(document: dict[str, Any]) -> Iterator[str]:
    """List what OpenAPI 3.1 does not allow.

    Raises:
        ServiceError: Who knows that is not installed.
    """
    try:
        from openapi_spec_validator import OpenAPIV31SpecValidator
    except ImportError as error:
        raise ServiceError(
            "to check the document openapi-spec-validator is needed; run: pip install openapi-spec-validator"
        ) from error
    for found in OpenAPIV31SpecValidator(document).iter_errors():
        place = "".join(f"/{part}" for part in found.absolute_path) or "/"
        yield f"{place} is not valid: {found.message}"


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file; whoever reads it meanwhile sees the old one or the new one."""
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


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Turn what keeps a file from being written into one message."""
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from error


_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})


def _review(document: dict[str, Any]) -> list[str]:
    """List the operations without summary, without declared success, and with schemas that have no name.

    Args:
        document: An OpenAPI document.
    """
    return [
        f"{method.upper()} {path} ({operation['operationId']}) {finding}"
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in _METHODS
        for finding in _findings_of(operation)
    ] + [
        f"schema {name} has one inside without a name, at {place}; make it a model"
        for name, schema in document.get("components", {}).get("schemas", {}).items()
        for place in _inline_schemas(schema, "", inside=False)
    ]


def _findings_of(operation: dict[str, Any]) -> Iterator[str]:
    """List what is to be desired of one operation."""
    if not operation.get("summary"):
        yield "has no summary; give its handler a docstring"
    if not any(status[0] in "23" and status != "304" for status in operation["responses"]):
        yield "declares no success; use @operation or quart_schema.validate_response"
    bodies = {"the body": operation.get("requestBody", {})}
    bodies |= {f"the answer {status}": response for status, response in operation["responses"].items()}
    for name, body in bodies.items():
        for media_type, content in body.get("content", {}).items():
            for place in _inline_schemas(content.get("schema", {}), "", inside=True):
                where = f"{name} ({media_type}){place and f', at {place}'}"
                yield f"has a schema without a name in {where}; make it a model"


def _inline_schemas(schema: Any, place: str, *, inside: bool) -> Iterator[str]:
    """Yield the places of objects with members of their own, for which a generator has to invent a name.

    Args:
        schema: Where to look; what it refers to is looked at elsewhere.
        place: Where it is itself, as a JSON pointer.
        inside: Whether it counts itself.
    """
    if not isinstance(schema, dict):
        return
    if inside and "properties" in schema:
        yield place
    for key in ("properties", "$defs", "patternProperties"):
        for name, part in schema.get(key, {}).items():
            yield from _inline_schemas(part, f"{place}/{key}/{name}", inside=True)
    for key in ("items", "additionalProperties", "not"):
        yield from _inline_schemas(schema.get(key), f"{place}/{key}", inside=True)
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for index, part in enumerate(schema.get(key, ())):
            yield from _inline_schemas(part, f"{place}/{key}/{index}", inside=True)
