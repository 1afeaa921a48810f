"""What the benchmark has measured, as `bench/results.json` keeps it."""

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

RESULTS = Path(__file__).with_name("results.json")
REFERENCE = "fastapi, uvicorn"
ROUTES = ("ping", "me", "one", "list", "insert")


@dataclass(frozen=True)
class Turn:
    """What one service did in one turn on one route. Times in milliseconds, CPU in microseconds per request."""

    requests_per_second: float
    p50: float
    p99: float
    cpu: float
    errors: int


@dataclass
class Result:
    """What a service did in all rounds.

    Attributes:
        start: Milliseconds from the start of the process to its first 200.
        memory: Resident memory after all rounds, in MB, of all its processes.
        turns: The turns on each route, round by round.
    """

    start: float = 0.0
    memory: float = 0.0
    turns: dict[str, list[Turn]] = field(default_factory=dict)

    def median(self, route: str, figure: str) -> float:
        """Return the median of a figure of the turns on a route."""
        return statistics.median(getattr(turn, figure) for turn in self.turns[route])


@dataclass(frozen=True)
class Run:
    """One run of the benchmark.

    Attributes:
        conditions: When, with what and for how long it was measured, for the reader.
        results: By stack.
    """

    conditions: dict[str, str]
    results: dict[str, Result]

    def save(self, path: Path = RESULTS) -> None:
        """Write it to a file."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path = RESULTS) -> "Run":
        """Read it from a file."""
        document = json.loads(path.read_text())
        results = {
            name: Result(
                start=kept["start"],
                memory=kept["memory"],
                turns={route: [Turn(**turn) for turn in turns] for route, turns in kept["turns"].items()},
            )
            for name, kept in document["results"].items()
        }
        return cls(document["conditions"], results)


def ratios(results: Mapping[str, Result], name: str, route: str, reference: str = REFERENCE) -> list[float]:
    """Return the ratios of a stack's requests per second to those of another, round by round."""
    pairs = zip(results[name].turns[route], results[reference].turns[route], strict=True)
    return [turn.requests_per_second / other.requests_per_second for turn, other in pairs]


def median_ratio(results: Mapping[str, Result], name: str, route: str, reference: str = REFERENCE) -> float:
    """Return the median of those ratios."""
    return statistics.median(ratios(results, name, route, reference))
