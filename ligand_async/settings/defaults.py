"""What holds where no source says anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from ligand_async.settings.callers import about_callers
from ligand_async.settings.environments import ENVIRONMENTS, MIN_SECRET_KEY, chosen_by_nobody, environment_defaults
from ligand_async.settings.mistakes import Mistake
from ligand_async.settings.rules import missing, not_set, reveal, unsafe
from ligand_async.settings.secret import secret_key_file
from ligand_async.settings.sources import Given, gather
from ligand_async.settings.urls import read_database_url, sqlite_file
from ligand_async.settings.vocabulary import Vocabulary

# Stands for a setting that `cli` does without, while pydantic looks at the others.
UNSET = object()


@dataclass(frozen=True, slots=True)
class Resolved:
    """All that is known before pydantic sees it.

    Attributes:
        environment: The environment's name; empty where an unknown one was chosen.
        given: Every value with its source, defaults included.
        mistakes: What is wrong so far.
        key_file: Where the secret key is kept, if that is where it comes from.
    """

    environment: str
    given: dict[str, Given]
    mistakes: list[Mistake]
    key_file: Path | None


def resolve(
    vocabulary: Vocabulary,
    rows: Mapping[str, Mapping[str, Any]],
    environment: str | None,
    overrides: Mapping[str, Any],
) -> Resolved:
    """Read every source, add the defaults, and apply the environment's rules.

    Args:
        vocabulary: The names that are known.
        rows: The service's defaults by environment.
        environment: The environment's name, if the caller chose one.
        overrides: Keyword arguments.
    """
    gathered = gather(vocabulary, environment, overrides)
    mistakes = gathered.mistakes
    chosen = gathered.given.setdefault("environment", Given(chosen_by_nobody.get(), "default")).value
    if chosen not in ENVIRONMENTS:
        return Resolved("", gathered.given, mistakes, None)
    given = lay_defaults(vocabulary, rows, chosen, gathered.given)
    absent = missing(vocabulary, chosen, given)
    key_file = None
    if chosen == "local" and "secret_key" in absent:
        absent.remove("secret_key")
        database = read_database_url(str(reveal(given["database_url"].value)))
        key_file = secret_key_file(sqlite_file(database), vocabulary.section)
        # Made and read once all the rest is right; until then any key serves.
        given["secret_key"] = Given(token_urlsafe(MIN_SECRET_KEY), key_file.name)
    if chosen == "cli":
        given |= {key: Given(UNSET, "not set") for key in absent}
    else:
        known = {mistake.key for mistake in mistakes}
        mistakes += [not_set(vocabulary, key) for key in absent if key not in known]
    values = {key: one.value for key, one in given.items()}
    mistakes += unsafe(vocabulary, chosen, values)
    mistakes += about_callers(vocabulary, chosen, values)
    return Resolved(chosen, given, mistakes, key_file)


def lay_defaults(
    vocabulary: Vocabulary, rows: Mapping[str, Mapping[str, Any]], environment: str, given: Mapping[str, Given]
) -> dict[str, Given]:
    """Return what is given with the environment's defaults under it.

    A service's own row is stronger than the default in its class, and that is stronger than the framework's row.

    Args:
        vocabulary: The names that are known.
        rows: The service's defaults by environment.
        environment: The environment's name.
        given: What the sources say.
    """
    source = f"default of {environment}"
    whole = {key: Given(value, source) for key, value in rows.get(environment, {}).items()} | dict(given)
    for key, make in environment_defaults(
        environment, name=vocabulary.section, port=port_in(vocabulary, whole)
    ).items():
        if key not in whole and vocabulary.fields[key].is_required():
            whole[key] = Given(make(), source)
    return whole


def port_in(vocabulary: Vocabulary, given: Mapping[str, Given]) -> int:
    """Return the port in use; one that is no port is a mistake found elsewhere."""
    default: int = vocabulary.fields["port"].default
    try:
        port = int(given["port"].value)
    except (KeyError, TypeError, ValueError):
        return default
    return port if 0 < port < 65536 else default
