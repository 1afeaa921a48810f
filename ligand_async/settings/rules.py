"""What the settings of an environment must hold, beyond each one's type."""

import os
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from ligand_async.settings.environments import MIN_SECRET_KEY, REQUIRED_IN_STRICT, STRICT
from ligand_async.settings.mistakes import Mistake
from ligand_async.settings.vocabulary import Vocabulary

NEW_KEY = f"python3 -c 'import secrets; print(secrets.token_urlsafe({MIN_SECRET_KEY}))'"
DEBUG_VARIABLES = ("QUART_DEBUG", "FLASK_DEBUG")


def missing(vocabulary: Vocabulary, environment: str, values: Mapping[str, Any]) -> list[str]:
    """Return the settings that the environment needs and nobody gave.

    A default in the code does not count for what `prod` and `stage` require.
    """
    required = {key for key, info in vocabulary.fields.items() if info.is_required()}
    if environment in STRICT:
        required.update(REQUIRED_IN_STRICT)
    return [key for key in vocabulary.fields if key in required and key not in values]


def not_set(vocabulary: Vocabulary, key: str) -> Mistake:
    """Describe a setting that nobody gave."""
    variable = vocabulary.variable(key)
    if key == "secret_key":
        return Mistake(key, variable, "is not set", f"set it to what this prints: {NEW_KEY}")
    examples = vocabulary.fields[key].examples
    example = f", such as {examples[0]}" if examples else ""
    return Mistake(key, " or ".join(vocabulary.variables(key)), "is not set", f"set {variable}{example}")


def unsafe(vocabulary: Vocabulary, environment: str, values: Mapping[str, Any]) -> list[Mistake]:
    """Return what `prod` and `stage` refuse among the values given."""
    if environment not in STRICT:
        return []
    found = []
    key = reveal(values.get("secret_key"))
    if isinstance(key, str) and len(key) < MIN_SECRET_KEY:
        problem = f"is shorter than {MIN_SECRET_KEY} characters"
        found.append(
            Mistake("secret_key", vocabulary.variable("secret_key"), problem, f"set it to what this prints: {NEW_KEY}")
        )
    url = values.get("service_public_url")
    if environment == "prod" and isinstance(url, str) and url.lower().startswith("http:"):
        variable = vocabulary.variable("service_public_url")
        found.append(Mistake("service_public_url", variable, "is plain http", "serve the public over https"))
    return found + [debug_mistake() for _ in range(is_debug_requested())]


def is_debug_requested() -> bool:
    """Tell whether the environment asks Quart for debug mode."""
    return any(os.environ.get(name, "").lower() not in {"", "0", "false", "no"} for name in DEBUG_VARIABLES)


def debug_mistake() -> Mistake:
    """Describe debug mode where it is refused."""
    remedy = "unset QUART_DEBUG and FLASK_DEBUG, leave out --debug, leave app.debug alone"
    return Mistake("debug", " or ".join(DEBUG_VARIABLES), "is on", remedy)


def testing_mistake() -> Mistake:
    """Describe testing mode where it is refused."""
    return Mistake("testing", None, "is on", "leave app.testing alone, or use the environment testing")


def reveal(value: Any) -> Any:
    """Return what a secret holds, and anything else as it is."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value
