"""How often the optional members of each schema were there, over many responses."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ligand_async.testing.shapes import Part

Key = tuple[str, str]


class Presence:
    """Counts the objects of each schema, and which optional members they had.

    A schema is known by its name and what it says: two apps may call different things the same.
    """

    def __init__(self) -> None:
        self._seen: Counter[Key] = Counter()
        self._present: dict[Key, Counter[str]] = {}
        self._keys: dict[int, tuple[Part, Key]] = {}

    def add(self, part: Part, value: Mapping[str, Any]) -> None:
        """Count one object."""
        optional = part.optional
        if not optional:
            return
        key = self._key_of(part)
        self._seen[key] += 1
        present = self._present.setdefault(key, Counter(dict.fromkeys(optional, 0)))
        present.update(name for name in optional if name in value)

    def habits(self, at_least: int) -> Iterator[str]:
        """Yield what is called optional and is not, or is never used, in the order of the schemas' names.

        Args:
            at_least: How many objects of a schema must have been seen.
        """
        for key, seen in sorted(self._seen.items()):
            for name, count in sorted(self._present[key].items()):
                if seen >= at_least and count in {0, seen}:
                    always = "was there always: is it required?" if count else "was never there: is it ever?"
                    yield f"{key[0]}: the optional `{name}` {always} ({seen} objects)"

    def dump(self) -> list[Any]:
        """Return the counts as plain lists and dictionaries, for another process."""
        return [[*key, seen, dict(self._present[key])] for key, seen in self._seen.items()]

    def load(self, counts: list[Any]) -> None:
        """Add the counts of another process."""
        for name, digest, seen, present in counts:
            self._seen[name, digest] += seen
            self._present.setdefault((name, digest), Counter()).update(present)

    def _key_of(self, part: Part) -> Key:
        known = self._keys.get(id(part.schema))
        if known is None:
            text = json.dumps(part.schema, sort_keys=True).encode()
            known = part, (part.name, hashlib.sha256(text).hexdigest()[:16])
            self._keys[id(part.schema)] = known  # which keeps the schema, so that its id stays its own
        return known[1]
