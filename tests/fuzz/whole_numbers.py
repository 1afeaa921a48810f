"""A hook of schemathesis, which sends `5.0` where the document has an integer: JSON Schema allows that, we do not."""

from typing import Any

import schemathesis


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Write whole numbers without a fraction."""
    return without_fractions(body)


def without_fractions(value: Any) -> Any:
    """Return JSON in which `5.0` is `5`."""
    if isinstance(value, dict):
        return {name: without_fractions(part) for name, part in value.items()}
    if isinstance(value, list):
        return [without_fractions(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
