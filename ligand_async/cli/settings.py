"""`ligand settings`: the settings in force, and where each came from."""

import json
from typing import Any

import click
from pydantic import BaseModel, SecretStr
from quart.cli import ScriptInfo, pass_script_info

from ligand_async.cli.output import format_option, print_table
from ligand_async.cli.service import load_service
from ligand_async.settings import MASK, DatabaseAddress, Settings, masked, parts, without_passwords

_COLUMNS = ("setting", "variable", "value", "source")


@click.command("settings")
@format_option
@pass_script_info
def settings(info: ScriptInfo, form: str) -> None:
    """Print the settings in force with their sources; secrets are masked."""
    rows = _describe(load_service(info).settings)
    if form == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    print_table(_COLUMNS, [[_text_of(row[column]) for column in _COLUMNS] for row in rows])


def _describe(settings: Settings) -> list[dict[str, Any]]:
    """Return one row for each setting, as JSON values without secrets."""
    vocabulary = settings.vocabulary()
    rows = []
    for key, info in vocabulary.fields.items():
        is_address = any(isinstance(part, DatabaseAddress) for part in (*info.metadata, *parts(info.annotation)))
        value = _shown(getattr(settings, key, None), is_address=is_address)
        rows.append(
            {"setting": key, "variable": vocabulary.variable(key), "value": value, "source": settings.sources[key]}
        )
    return rows


def _shown(value: Any, *, is_address: bool) -> Any:
    """Return a value as JSON, with its secrets masked.

    Args:
        value: The value of a setting.
        is_address: A secret in it is a database URL, of which only the password is hidden.
    """
    if isinstance(value, SecretStr):
        return masked(value.get_secret_value()) if is_address else MASK
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown(item, is_address=is_address) for item in value]
    if isinstance(value, dict):
        return {str(key): _shown(item, is_address=is_address) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float):
        return value
    return without_passwords(str(value))


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
