"""U+0000, which PostgreSQL stores in no text and in no JSON."""

from typing import Any

from ligand_async.web.finite import Path

NUL = "\0"


def find_nul(value: Any) -> Path | None:
    """Return where in plain data the first text is that holds U+0000, or None; of a key, where its mapping is."""
    match value:
        case str():
            return () if NUL in value else None
        case dict():
            if any(isinstance(key, str) and NUL in key for key in value):
                return ()
            items = list(value.items())
        case list():
            items = list(enumerate(value))
        case _:
            return None
    for key, part in items:
        path = find_nul(part)
        if path is not None:
            return (key, *path)
    return None
