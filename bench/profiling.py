"""Where the time of one request goes, by room: `make profile`, or `python -m bench.profiling`.

The service of `bench/peers/ligand_service.py` is called in process, on a throw-away PostgreSQL, while a timer of CPU
time takes samples of the stack. A room is a package of ligand_async, or a library. Its microseconds are those in which
its own Python ran, together with what it called in C. For each route a flame graph (SVG) and the stacks behind it are
written: `a;b;c 12`, which speedscope and Brendan Gregg's flamegraph.pl read, too.

The loop is asyncio's: uvloop has no Python to look at. The server has no part in it; see `python -m bench.suite`.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple, Self

from greenlet import getcurrent

from bench.counting import App, answer, request
from bench.suite import Load, surroundings

ROOT = Path(__file__).parent.parent
INTERVAL = 0.001  # seconds of CPU between two samples
WARM = 100  # requests before the first sample


class Step(NamedTuple):
    """A function in a stack."""

    room: str
    name: str


Stacks = Counter[tuple[Step, ...]]


class Sampler:
    """Take the stack of the main thread after each interval of CPU time, while the block runs.

    Attributes:
        stacks: How often each stack was seen, outermost function first.
    """

    def __init__(self) -> None:
        self.stacks: Stacks = Counter()

    def __enter__(self) -> Self:
        """Begin."""
        signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)

    def _take(self, _number: int, frame: FrameType | None) -> None:
        found = _codes_from(frame)
        # SQLAlchemy runs its own code in a greenlet. The stack goes on where that was started.
        parent = getcurrent().parent
        while parent is not None:
            found += _codes_from(parent.gr_frame)
            parent = parent.parent
        self.stacks[tuple(Step(room_of(code.co_filename), code.co_qualname) for code in reversed(found))] += 1


def _codes_from(frame: FrameType | None) -> list[CodeType]:
    codes = []
    while frame is not None:
        codes.append(frame.f_code)
        frame = frame.f_back
    return codes


def room_of(filename: str) -> str:
    """Return the room of ligand_async, or the library, that a file belongs to."""
    parts = Path(filename).parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1].removesuffix(".py")
    if "ligand_async" in parts:
        within = parts[parts.index("ligand_async") + 1 :]
        return f"ligand_async.{within[0].removesuffix('.py')}"
    if "bench" in parts:
        return "bench"
    return "asyncio" if "asyncio" in parts else "Python"


def cut_stacks(stacks: Stacks) -> Stacks:
    """Leave out what is outside the app: the stacks of a request begin with it, the others with the event loop."""
    cut: Stacks = Counter()
    for stack, seen in stacks.items():
        below = [place for place, step in enumerate(stack) if step == Step("bench", "answer")]
        own = stack[below[-1] + 1 :] if below else (Step("asyncio", "event loop"), *stack[-1:])
        cut[own or (Step("bench", "answer"),)] += seen
    return cut


def count_rooms(stacks: Stacks) -> Counter[str]:
    """Return how many samples were taken in each room's own code."""
    rooms: Counter[str] = Counter()
    for stack, seen in stacks.items():
        rooms[stack[-1].room] += seen
    return rooms


def format_stacks(stacks: Stacks) -> str:
    """Return the stacks in a line each, with the number of their samples."""
    lines = (";".join(f"{step.room}:{step.name}" for step in stack) + f" {seen}" for stack, seen in stacks.items())
    return "".join(f"{line}\n" for line in sorted(lines))


@dataclass
class _Node:
    seen: int = 0
    below: dict[Step, "_Node"] = field(default_factory=dict)


WIDTH = 1400
HEIGHT = 17  # of a function
LETTER = 6.3  # width of a letter
STYLE = """
  text { font: 11px ui-monospace, monospace; fill: #1f2328; pointer-events: none; }
  .ground { fill: #ffffff; } .head { font-size: 13px; } rect { rx: 2px; }
  @media (prefers-color-scheme: dark) { .ground { fill: #0d1117; } .head { fill: #e6edf3; } }
"""
COLOURS = {"ligand_async": "#8ab4f8", "quart": "#fbbf77", "sqlalchemy": "#9fd8a0", "asyncpg": "#7cc5b8"}
OTHER = "#d7c7a8"


def draw_flames(stacks: Stacks, title: str, micros: float) -> str:
    """Return a flame graph as SVG, the outermost function at the top.

    Args:
        stacks: How often each stack was seen.
        title: Stands above it.
        micros: Of one sample, for the text that a browser shows at a function.
    """
    root = _Node()
    for stack, seen in stacks.items():
        node = root
        node.seen += seen
        for step in stack:
            node = node.below.setdefault(step, _Node())
            node.seen += seen
    parts: list[str] = []
    waiting, deepest = [(root, 0.0, 0)], 0
    while waiting:
        node, x, depth = waiting.pop()
        deepest = max(deepest, depth)
        for step, below in sorted(node.below.items()):
            width = below.seen / root.seen * WIDTH
            if width >= 1:
                parts.append(_draw_step(step, x, 30 + depth * HEIGHT, width, below.seen * micros))
                waiting.append((below, x, depth + 1))
            x += width
    height = 40 + deepest * HEIGHT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
            f'<text class="head" x="6" y="19">{escape(title)}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def _draw_step(step: Step, x: float, y: int, width: float, micros: float) -> str:
    colour = COLOURS.get(step.room.partition(".")[0], OTHER)
    label = f"{step.name} ({step.room})"[: max(int((width - 4) / LETTER), 0)]
    return (
        f"<g><title>{escape(f'{step.room}: {step.name}, {micros:.1f} µs')}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{width - 0.5:.1f}" height="{HEIGHT - 1}" fill="{colour}"/>'
        f'<text x="{x + 2:.1f}" y="{y + 12}">{escape(label)}</text></g>'
    )


async def profile(app: App, asked: tuple[dict[str, Any], bytes], seconds: float) -> tuple[Stacks, float]:
    """Profile a request.

    Args:
        app: The app, started.
        asked: The request, from `bench.counting.request`.
        seconds: Of CPU time.

    Returns:
        The stacks, and the microseconds of CPU of one request.
    """
    for _ in range(WARM):
        await answer(app, *asked)
    requests, began = 0, time.process_time()
    with Sampler() as sampler:
        while time.process_time() - began < seconds:
            await answer(app, *asked)
            requests += 1
    return cut_stacks(sampler.stacks), (time.process_time() - began) / requests * 1e6


def format_rooms(found: dict[str, tuple[Stacks, float]]) -> str:
    """Return the microseconds of each room in one request, as a table."""
    rooms = {route: count_rooms(stacks) for route, (stacks, _) in found.items()}
    micros = {
        route: {room: seen / counted.total() * found[route][1] for room, seen in counted.items()}
        for route, counted in rooms.items()
    }
    names = sorted({room for by_room in micros.values() for room in by_room})
    names.sort(key=lambda name: -sum(by_room.get(name, 0) for by_room in micros.values()))
    lines = [f"{'µs of CPU':<26}" + "".join(f"{route:>9}" for route in found)]
    for name in names:
        cells = [by_room.get(name, 0) for by_room in micros.values()]
        if max(cells) >= 1:
            lines.append(f"{name:<26}" + "".join(f"{cell:>9,.0f}" for cell in cells))
    lines.append(f"{'all':<26}" + "".join(f"{total:>9,.0f}" for _, total in found.values()))
    return "\n".join(lines)


async def measure(loads: dict[str, Load], seconds: float) -> dict[str, tuple[Stacks, float]]:
    """Profile one request of each kind."""
    from bench.peers.ligand_service import create_app

    app = create_app()
    found = {}
    async with app.test_app():
        for route, load in loads.items():
            asked = request(
                load.method, load.path, f"Bearer {load.token}".encode() if load.token else b"", load.body().encode()
            )
            found[route] = await profile(app, asked, seconds)
    return found


def main() -> None:
    """Profile, print the rooms, and write the flame graphs."""
    parser = argparse.ArgumentParser(prog="python -m bench.profiling", description="Profile one request, by room.")
    parser.add_argument("--seconds", type=float, default=5.0, help="of CPU time for each route")
    parser.add_argument(
        "--directory", type=Path, default=ROOT / "dist" / "profile", help="where the graphs are written"
    )
    options = parser.parse_args()
    with surroundings() as around:
        os.environ |= around.variables
        found = asyncio.run(measure(around.loads, options.seconds))
    print(format_rooms(found))
    options.directory.mkdir(parents=True, exist_ok=True)
    for route, (stacks, micros) in found.items():
        drawn = draw_flames(stacks, f"{route}: {micros:,.0f} µs of CPU", micros / stacks.total())
        (options.directory / f"{route}.svg").write_text(drawn)
        (options.directory / f"{route}.txt").write_text(format_stacks(stacks))
    print(f"\nflame graphs and stacks: {options.directory}", file=sys.stderr)


if __name__ == "__main__":
    main()
