"""What is wrong with the settings, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


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
        message: What is wrong and what to do, without any value that was given.
        mistakes: The single mistakes, when there can be several.
    """

    def __init__(self, message: str, mistakes: Iterable[Mistake] = ()) -> None:
        super().__init__(message)
        self.mistakes = tuple(mistakes)

    @classmethod
    def listing(cls, mistakes: Iterable[Mistake], *, hint: str | None = None) -> Self:
        """Make one error of several mistakes.

        Args:
            mistakes: What was found, in the order in which it is shown.
            hint: A first line.
        """
        found = tuple(mistakes)
        count = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
        lines = [*([hint] if hint else []), f"{count} in the settings:", *(f"- {mistake}" for mistake in found)]
        return cls("\n".join(lines), found)


def start_hint(environment: str, prefix: str) -> str | None:
    """Return what a newcomer who meets the default environment has to know."""
    if environment != "prod":
        return None
    return (
        f"To run on your own machine, set {prefix}ENVIRONMENT=local: "
        "prod, the default, starts only when everything is set and safe."
    )
