"""Where settings come from, the strongest first.

They are: options of a command, arguments, variables, dotenv files, a config file.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from configparser import ConfigParser
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin

from dotenv import dotenv_values
from pydantic import BaseModel
from pydantic_settings import BaseSettings, JsonConfigSettingsSource, TomlConfigSettingsSource, YamlConfigSettingsSource
from quart.helpers import get_load_dotenv

from ligand_async.annotations import members_of
from ligand_async.settings.mistakes import CONFIG_FILE, Mistake, Vocabulary

DOTENV_FILES = (".env", ".quartenv", ".flaskenv")


@dataclass(frozen=True, slots=True)
class Given:
    """A value with where it came from.

    Attributes:
        value: The value, not validated yet.
        source: `argument`, the name of a variable or of a file, or which default it is.
        variable: The variable that was used, in the environment or in a dotenv file.
    """

    value: Any
    source: str
    variable: str | None = None

    @property
    def place(self) -> str:
        """The place where the value can be corrected."""
        if self.source == "argument":
            return "the arguments"
        return "the environment" if self.source == self.variable else self.source


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The options of a command that are settings, and the address that it serves.

    Attributes:
        given: By key, each with the option as its source.
        host: The host of the address, as a URL writes it.
        has_port: False if all addresses are Unix sockets.
    """

    given: Mapping[str, Given] = field(default_factory=dict)
    host: str = "127.0.0.1"
    has_port: bool = True


_NO_OPTIONS = CommandLine()
_command_line: ContextVar[CommandLine] = ContextVar("ligand_command_line", default=_NO_OPTIONS)


@contextmanager
def with_options(options: CommandLine) -> Iterator[None]:
    """Let the options of a command be stronger than all other sources of the settings that are loaded inside."""
    token = _command_line.set(options)
    try:
        yield
    finally:
        _command_line.reset(token)


def current_options() -> CommandLine:
    """Return the options of the command that is running."""
    return _command_line.get()


@dataclass(slots=True)
class _Layer:
    """The values of one source by key, and the mistakes in it."""

    given: dict[str, Given] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    config_file: str | None = None


def gather(vocabulary: Vocabulary, environment: str | None, overrides: Mapping[str, Any]) -> _Layer:
    """Read every source and lay them over each other.

    In the environment `cli`, named by argument or variable, no file is touched. In `testing` only the arguments count,
    so that a suite never works on what the shell, or a file of the directory, has for something else.

    Args:
        vocabulary: The names that are known.
        environment: The environment's name, if the caller chose one.
        overrides: Keyword arguments.
    """
    chosen = {} if environment is None else {"environment": environment}
    arguments = _read_arguments(vocabulary, {**overrides, **chosen})
    arguments.given.update(_command_line.get().given)
    layers = [arguments, _read_variables(vocabulary, os.environ)]
    if _environment_in(layers) not in ("cli", "testing"):
        layers += [_read_dotenv_file(vocabulary, Path(name)) for name in DOTENV_FILES] if get_load_dotenv() else []
        config_file = next((layer.config_file for layer in layers if layer.config_file), None)
        if config_file:
            layers.append(_read_config_file(vocabulary, Path(config_file)))
    # A file that names one of these has been read by then; all the same nothing else of it counts.
    match _environment_in(layers):
        case "testing":
            layers = [layers[0], _only_environment(layers)]
        case "cli":
            layers = [*layers[:2], _only_environment(layers)]
    whole = _Layer()
    for layer in layers:
        whole.given = layer.given | whole.given
        whole.mistakes += layer.mistakes
    return whole


def _environment_in(layers: list[_Layer]) -> object:
    """Return the environment that the strongest layer names, or None."""
    return next((layer.given["environment"].value for layer in layers if "environment" in layer.given), None)


def _only_environment(layers: list[_Layer]) -> _Layer:
    """Return a layer with nothing but the strongest environment's name."""
    return _Layer({"environment": next(layer.given["environment"] for layer in layers if "environment" in layer.given)})


def _read_arguments(vocabulary: Vocabulary, overrides: Mapping[str, Any]) -> _Layer:
    """Read keyword arguments."""
    layer = _Layer()
    for key, value in overrides.items():
        if key in vocabulary.fields:
            layer.given[key] = Given(value, "argument")
        else:
            layer.mistakes.append(vocabulary.unknown(key, place="the arguments"))
    return layer


def _read_variables(vocabulary: Vocabulary, variables: Mapping[str, str | None], file: str | None = None) -> _Layer:
    """Read variables, of the process or of a dotenv file. An empty one counts as absent.

    Args:
        vocabulary: The names that are known.
        variables: The variables.
        file: The name of the dotenv file.
    """
    layer = _Layer(config_file=variables.get(vocabulary.variable(CONFIG_FILE)))
    for key in vocabulary.fields:
        for variable in vocabulary.variables(key):
            text = variables.get(variable)
            if text and not vocabulary.is_foreign(variable, text):
                _give_text(layer, vocabulary, key, text, source=file or variable, variable=variable)
                break
    known = vocabulary.known_variables()
    for variable, text in variables.items():
        ours = variable.upper().startswith(vocabulary.prefix) and variable not in known
        if ours and text and not vocabulary.is_foreign(variable, text):
            key = variable[len(vocabulary.prefix) :].lower()
            layer.mistakes.append(vocabulary.unknown(key, place=file or "the environment", variable=variable))
    return layer


def _read_dotenv_file(vocabulary: Vocabulary, path: Path) -> _Layer:
    """Read a dotenv file, if it exists."""
    if not path.exists() or path.is_dir():
        return _Layer()
    try:
        variables = dotenv_values(path, encoding="utf-8")
    except (OSError, ValueError):
        return _Layer(mistakes=[Mistake(path.name, None, "cannot be read", "make it a readable file in UTF-8")])
    return _read_variables(vocabulary, variables, path.name)


def _read_config_file(vocabulary: Vocabulary, path: Path) -> _Layer:
    """Read the config file: settings by key."""
    try:
        document = _read_document(path, vocabulary.section)
    except UnreadableFile as error:
        mistake = Mistake(CONFIG_FILE, vocabulary.variable(CONFIG_FILE), error.problem, error.remedy)
        return _Layer(mistakes=[mistake])
    layer = _Layer()
    for key, value in document.values.items():
        if key not in vocabulary.fields:
            layer.mistakes.append(vocabulary.unknown(str(key), place=path.name))
        elif not document.is_text:
            layer.given[key] = Given(value, path.name)
        elif value:
            _give_text(layer, vocabulary, key, value, source=path.name)
    return layer


def _give_text(
    layer: _Layer, vocabulary: Vocabulary, key: str, text: str, *, source: str, variable: str | None = None
) -> None:
    """Add a value that is written as text to a layer."""
    written = Given(text, source, variable)
    try:
        value = parse_text(vocabulary.fields[key].annotation, text)
    except (ValueError, RecursionError):
        name = variable or vocabulary.variable(key)
        layer.mistakes.append(Mistake(key, name, "is not valid JSON", f"correct it in {written.place}"))
    else:
        layer.given[key] = replace(written, value=value)


_COLLECTIONS: tuple[type, ...] = (Sequence, Set)
_STRUCTURES: tuple[type, ...] = (Mapping, BaseModel)


def parse_text(annotation: Any, text: str) -> Any:
    """Turn text into a value that pydantic can validate for a type.

    Collections are written as `a,b` or as a JSON list, mappings and models as JSON; all else stays text.

    Args:
        annotation: The setting's type.
        text: The value of the variable.

    Raises:
        ValueError: The text should be JSON and is not.
    """
    kinds = {kind for member in members_of(annotation) if (kind := _kind_of(get_origin(member) or member))}
    if "collection" in kinds and not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    if kinds:
        return json.loads(text)
    return text


def parts(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and everything inside it, the metadata of `Annotated` too."""
    yield annotation
    for argument in get_args(annotation):
        yield from parts(argument)


def _kind_of(kind: Any) -> str | None:
    """Return how values of a type are written: as a `collection`, as a `structure`, or plainly (None)."""
    if not isinstance(kind, type) or issubclass(kind, (str, bytes)):
        return None
    if issubclass(kind, _COLLECTIONS):
        return "collection"
    return "structure" if issubclass(kind, _STRUCTURES) or is_dataclass(kind) else None


class UnreadableFile(Exception):
    """A config file cannot be used.

    Args:
        problem: The problem, without the file's content.
        remedy: What to do.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class _Document:
    """The content of a config file.

    Attributes:
        values: By key.
        is_text: The values are text, as in a variable, and not typed by the format.
    """

    values: Mapping[str, Any]
    is_text: bool


def _read_ini(path: Path, section: str) -> Mapping[str, Any]:
    """Read one section of an INI file."""
    parser = ConfigParser(interpolation=None)
    parser.read_string(path.read_text(encoding="utf-8"))
    if section not in parser:
        raise UnreadableFile(f"names a file without a section [{section}]", f"put the settings under [{section}]")
    return dict(parser[section])


_READERS: dict[str, Callable[[Path], Mapping[str, Any]]] = {
    ".toml": lambda path: TomlConfigSettingsSource(BaseSettings, toml_file=path)(),
    ".yaml": lambda path: YamlConfigSettingsSource(BaseSettings, yaml_file=path)(),
    ".yml": lambda path: YamlConfigSettingsSource(BaseSettings, yaml_file=path)(),
    ".json": lambda path: JsonConfigSettingsSource(BaseSettings, json_file=path)(),
}
_INI_SUFFIXES = frozenset({".ini", ".cfg"})


def _read_document(path: Path, section: str) -> _Document:
    """Read a config file.

    Args:
        path: The file; its suffix decides the format.
        section: The section of an INI file that holds the settings; the others are not read.

    Raises:
        UnreadableFile: The file is missing, or does not have the format of its suffix.
    """
    path = path.expanduser()
    is_text = path.suffix.lower() in _INI_SUFFIXES
    reader = _READERS.get(path.suffix.lower())
    if reader is None and not is_text:
        raise UnreadableFile("names a file of an unknown kind", "name a .toml, .yaml, .yml, .json, .ini or .cfg file")
    if not path.is_file():
        raise UnreadableFile("names a file that does not exist", "correct the path; it starts at the working directory")
    try:
        return _Document(reader(path) if reader else _read_ini(path, section), is_text)
    except UnreadableFile:
        raise
    except Exception as error:  # noqa: BLE001  # the four parsers' errors share no base class
        # Their messages quote the file, so only the line number is used.
        lines = re.findall(r"line:?\s+(\d+)", str(error))
        where = f" at line {lines[-1]}" if lines else ""
        kind = "INI" if is_text else path.suffix[1:].upper()
        raise UnreadableFile(
            f"names a file that cannot be read{where}", f"make it {kind} with keys and values"
        ) from None
