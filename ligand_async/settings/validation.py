"""What pydantic finds wrong with the settings, said without the values."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from ligand_async.settings.mistakes import Mistake, Vocabulary
from ligand_async.settings.rules import reveal
from ligand_async.settings.sources import Given, parts

# Pydantic's own messages and ours (`ligand_...`) are fixed; all others are the text of a service's validator,
# perhaps with the value in it.
_CUSTOM_KINDS = frozenset({"value_error", "assertion_error"})
_FIXED_KINDS = frozenset(get_args(ErrorType)) - _CUSTOM_KINDS


def invalid(vocabulary: Vocabulary, given: Mapping[str, Given], error: ValidationError) -> list[Mistake]:
    """Return the mistakes of a validation error, but for values that are missing."""
    return [_describe(vocabulary, given, details) for details in error.errors() if details["type"] != "missing"]


def _describe(vocabulary: Vocabulary, given: Mapping[str, Given], details: ErrorDetails) -> Mistake:
    """Describe one of pydantic's errors."""
    place = details["loc"]
    if not place:
        values = [value.value for key, value in given.items() if key != "environment"]
        reason = _tell(details, values, secret=False)
        return Mistake(
            "settings", None, f"do not agree: {reason}" if reason else "do not agree", "correct them together"
        )
    key = str(place[0])
    origin = given.get(key, Given(None, "the code"))
    reason = _tell(details, details["input"], secret=_is_secret(vocabulary, key))
    item = next((f" in item {step + 1}" for step in place[1:] if isinstance(step, int)), "")
    problem = f"is not valid{item}: {reason}" if reason else f"is refused by its validator{item}"
    meant = get_close_matches(str(details["input"]), _options(details), n=1)
    remedy = f"did you mean {meant[0]}?" if meant else f"correct it in {origin.place}"
    return Mistake(key, origin.variable or vocabulary.variable(key), problem, remedy)


def _tell(details: ErrorDetails, values: Any, *, secret: bool) -> str | None:
    """Return what an error says, or None where that may show the value.

    Args:
        details: The error.
        values: What must not be shown.
        secret: The setting is a secret, about which only fixed text is shown.
    """
    kind, message = details["type"], details["msg"]
    if kind.startswith("ligand_"):
        return message
    is_fixed = kind in _FIXED_KINDS
    if secret and not is_fixed:
        return None
    for text in _texts(values):
        found = re.search(rf"(?<!\w){re.escape(text)}(?!\w)", message) if is_fixed else text in message
        if found:
            return None
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message[:1].lower() + message[1:]


def _texts(values: Any) -> Iterator[str]:
    """Yield every value inside a value, as text."""
    revealed = reveal(values)
    if isinstance(revealed, Mapping):
        revealed = [*revealed.keys(), *revealed.values()]
    if isinstance(revealed, list | tuple | set | frozenset):
        for item in revealed:
            yield from _texts(item)
    elif str(revealed):
        yield str(revealed)


def _is_secret(vocabulary: Vocabulary, key: str) -> bool:
    """Tell whether a setting is a secret, or holds some."""
    info = vocabulary.fields.get(key)
    return info is not None and any(
        isinstance(part, type) and issubclass(part, SecretStr) for part in parts(info.annotation)
    )


def _options(details: ErrorDetails) -> list[str]:
    """Return the values that would have been allowed, where they are few."""
    expected = details.get("ctx", {}).get("expected", "") if details["type"] == "literal_error" else ""
    return re.findall(r"'([^']+)'", expected)
