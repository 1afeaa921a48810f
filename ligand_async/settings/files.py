"""Config files: TOML, YAML, JSON and INI, by suffix."""

import re
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_settings import (
    BaseSettings,
    JsonConfigSettingsSource,
    TomlConfigSettingsSource,
    YamlConfigSettingsSource,
)


class UnreadableFile(Exception):
    """A config file cannot be used.

    Args:
        problem: What is wrong, without the file's content.
        remedy: What to do.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Document:
    """What a config file says.

    Attributes:
        values: By key.
        is_text: The values are text, as in a variable, and not typed by the format.
    """

    values: Mapping[str, Any]
    is_text: bool


def read_ini(path: Path, section: str) -> Mapping[str, Any]:
    """Read one section of an INI file."""
    parser = ConfigParser(interpolation=None)
    parser.read_string(path.read_text(encoding="utf-8"))
    if section not in parser:
        raise UnreadableFile(f"names a file without a section [{section}]", f"put the settings under [{section}]")
    return dict(parser[section])


READERS: dict[str, Callable[[Path], Mapping[str, Any]]] = {
    ".toml": lambda path: TomlConfigSettingsSource(BaseSettings, toml_file=path)(),
    ".yaml": lambda path: YamlConfigSettingsSource(BaseSettings, yaml_file=path)(),
    ".yml": lambda path: YamlConfigSettingsSource(BaseSettings, yaml_file=path)(),
    ".json": lambda path: JsonConfigSettingsSource(BaseSettings, json_file=path)(),
}
INI_SUFFIXES = frozenset({".ini", ".cfg"})


def read_document(path: Path, section: str) -> Document:
    """Read a config file.

    Args:
        path: The file; its suffix tells the format.
        section: The section of an INI file that holds the settings; the others are not read.

    Raises:
        UnreadableFile: The file is missing, or not what its suffix says.
    """
    path = path.expanduser()
    is_text = path.suffix.lower() in INI_SUFFIXES
    reader = READERS.get(path.suffix.lower())
    if reader is None and not is_text:
        raise UnreadableFile("names a file of an unknown kind", "name a .toml, .yaml, .yml, .json, .ini or .cfg file")
    if not path.is_file():
        raise UnreadableFile("names a file that does not exist", "correct the path; it starts at the working directory")
    try:
        return Document(reader(path) if reader else read_ini(path, section), is_text)
    except UnreadableFile:
        raise
    except Exception as error:  # noqa: BLE001  # the four parsers' errors share no base class
        # Their messages quote the file: only the line is told.
        lines = re.findall(r"line:?\s+(\d+)", str(error))
        where = f" at line {lines[-1]}" if lines else ""
        kind = "INI" if is_text else path.suffix[1:].upper()
        raise UnreadableFile(
            f"names a file that cannot be read{where}", f"make it {kind} with keys and values"
        ) from None
