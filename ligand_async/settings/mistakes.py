"""Mistakes in the settings, each with its remedy, and the names that settings and variables have."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Self

from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong with the settings. It never holds the value that was given.

    Attributes:
        key: The setting's name, or the unknown name that was used.
        variable: The environment variable that sets it, if there is one.
        problem: What is wrong.
        remedy: What to do.
    """

    key: str
    variable: str | None
    problem: str
    remedy: str

    def __str__(self) -> str:
        name = f"{self.key} ({self.variable})" if self.variable else self.key
        return f"{name} {self.problem}; {self.remedy}"


class SettingsError(RuntimeError):
    """The settings do not allow a start.

    Args:
        message: The mistakes and remedies, without any value that was given.
        mistakes: The single mistakes, when there can be several.
    """

    def __init__(self, message: str, mistakes: Iterable[Mistake] = ()) -> None:
        super().__init__(message)
        self.mistakes = tuple(mistakes)

    @classmethod
    def listing(cls, mistakes: Iterable[Mistake], *, hint: str | None = None) -> Self:
        """Make one error of several mistakes.

        Args:
            mistakes: The mistakes, in the order in which they are shown.
            hint: A first line.
        """
        found = tuple(mistakes)
        count = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
        lines = [*([hint] if hint else []), f"{count} in the settings:", *(f"- {mistake}" for mistake in found)]
        return cls("\n".join(lines), found)


def start_hint(environment: str, prefix: str) -> str | None:
    """Return a hint for developers who meet the default environment for the first time."""
    if environment != "prod":
        return None
    return (
        f"To run on your own machine, set {prefix}ENVIRONMENT=local: "
        "prod, the default, starts only when everything is set and safe."
    )


PROTECTED = frozenset({"title", "version", "client_name"})
CONFIG_FILE = "config_file"

# Read by the command line and by the test tools, whatever the service's prefix is.
_TOOL_VARIABLES = re.compile(r"LIGAND_(APP|REQUIRE|SOAK|TEST_[A-Z0-9_]+)")

# Kubernetes describes each of its Services to every container by such variables: a Service named like the
# prefix would otherwise stop the service with mistakes that no developer made.
_SERVICE_LINKS = re.compile(
    r"([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_LINK_PORT = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names of one settings class.

    Attributes:
        prefix: What its environment variables begin with.
        fields: Its settings by key.
        unprefixed: Variables without the prefix, by the key of the setting that they set, too.
    """

    prefix: str
    fields: Mapping[str, FieldInfo]
    unprefixed: Mapping[str, str]

    @property
    def section(self) -> str:
        """The prefix as the name of a section or a file."""
        return self.prefix.rstrip("_").lower()

    def variable(self, key: str) -> str:
        """Return the environment variable of a setting."""
        return f"{self.prefix}{key.upper()}"

    def variables(self, key: str) -> tuple[str, ...]:
        """Return all environment variables of a setting, the strongest first."""
        prefixed = self.variable(key)
        return (prefixed, self.unprefixed[key]) if key in self.unprefixed else (prefixed,)

    def known_variables(self) -> frozenset[str]:
        """Return every prefixed variable that means something."""
        return frozenset(self.variable(key) for key in (*self.fields, CONFIG_FILE))

    def is_foreign(self, variable: str, value: str) -> bool:
        """Return whether a variable has our prefix but belongs to something else, such as Kubernetes."""
        if _TOOL_VARIABLES.fullmatch(variable):
            return True
        name = variable.removeprefix(self.prefix)
        if _SERVICE_LINKS.fullmatch(name):
            return True
        return (name == "PORT" or name.endswith("_PORT")) and _SERVICE_LINK_PORT.match(value) is not None

    def closest(self, key: str) -> str | None:
        """Return the setting that a wrong key may mean."""
        word = key.upper().removeprefix(self.prefix).lower()
        return next(iter(get_close_matches(word, self.fields, n=1)), None)

    def unknown(self, key: str, *, place: str, variable: str | None = None) -> Mistake:
        """Describe a name that is not a setting.

        Args:
            key: The name, without the prefix if it is a variable's.
            place: Where it stands: `arguments`, `environment` or a file's name.
            variable: The name of the variable, if it is one.
        """
        word, problem = key.lower(), f"in {place} is not a setting"
        if word in PROTECTED:
            return Mistake(key, variable, f"in {place} belongs to the code", f"give it to create_app({word}=...)")
        if word == CONFIG_FILE:
            return Mistake(key, variable, problem, f"set the variable {self.variable(CONFIG_FILE)}")
        if word == self.section:
            return Mistake(key, variable, problem, "put its keys at the top of the file")
        meant = self.closest(key)
        if meant is not None:
            name = self.variable(meant) if variable else meant
            return Mistake(key, variable, problem, f"did you mean {name}?")
        return Mistake(key, variable, problem, "remove it, or declare it in your subclass of Settings")
