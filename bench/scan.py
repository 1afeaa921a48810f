"""What the strict scan of a JSON body costs beside pydantic's validation: `python -m bench.scan`.

The scan reads the bytes a second time, for duplicate keys, NaN, numbers beyond a double and U+0000. The ratio is scan
to validation.
"""

import json
import timeit
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel, TypeAdapter

from ligand_async.web import scan

REPEAT = 7
SECONDS = 0.2  # for each measurement


class Pet(BaseModel):
    """A body of the usual size."""

    name: str
    description: str = ""
    tags: list[str] = []
    weight: float = 0.0
    age: int = 0


@dataclass(frozen=True)
class Row:
    """What was measured for one body; times in microseconds."""

    name: str
    size: int
    scan: float
    validate: float

    @property
    def ratio(self) -> float:
        """Scan to validation."""
        return self.scan / self.validate


PET = {"name": "Rex", "description": "A good dog.", "tags": ["dog", "brown"], "weight": 12.5, "age": 4}
BODIES = {
    "one pet": (Pet, PET),
    "one pet, long text": (Pet, PET | {"description": "A good dog. " * 340}),
    "100 pets": (list[Pet], [PET] * 100),
    "10,000 pets": (list[Pet], [PET] * 10_000),
    "100,000 integers": (list[int], list(range(100_000))),
}


def measure() -> Iterator[Row]:
    """Measure every body, the best of several runs."""
    for name, (type_, value) in BODIES.items():
        raw = json.dumps(value).encode()
        adapter: TypeAdapter[object] = TypeAdapter(type_)
        scanned = best(lambda raw=raw: scan(raw))
        validated = best(lambda raw=raw, adapter=adapter: adapter.validate_json(raw, strict=True))
        yield Row(name, len(raw), scanned, validated)


def best(work: object) -> float:
    """Return the microseconds of one call."""
    timer = timeit.Timer("work()", globals={"work": work})
    once = max(timer.timeit(1), 1e-7)
    number = max(1, int(SECONDS / once))
    return min(timer.repeat(REPEAT, number)) / number * 1e6


if __name__ == "__main__":
    print(f"{'body':<20} {'bytes':>9} {'scan':>12} {'validation':>12} {'ratio':>6}")
    for row in measure():
        print(f"{row.name:<20} {row.size:>9,} {row.scan:>9,.1f} µs {row.validate:>9,.1f} µs {row.ratio:>6.2f}")
