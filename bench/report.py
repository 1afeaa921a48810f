"""Write the figures of a run into `docs/performance.md`, and draw `docs/performance.svg`: `python -m bench.report`.

The page is written by hand but for what stands between a marker and its end:

    <!-- bench: throughput -->
    <!-- end -->

All figures there come from `bench/results.json`, which `python -m bench.suite --write` renews together with the page.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bench.results import REFERENCE, ROUTES, Result, Run, median_ratio

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"
BLOCK = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

SERVE = "ligand serve"
TUNED = "tuned fastapi, uvicorn"
LITESTAR = "litestar, uvicorn"
P99 = 0.25  # of the reference's, at most
MEMORY = 100  # MB for each worker, at most
START = 600  # milliseconds, at most


@dataclass(frozen=True)
class Goal:
    """The requests per second that a stack should reach, as ratios to another one's on each route."""

    stack: str
    against: str
    required: tuple[float, ...]
    wanted: tuple[float, ...] = ()
    stretch: tuple[float, ...] = ()


GOALS = (
    Goal(SERVE, REFERENCE, (0.5, 1.2, 1.5, 1.5, 1.05), (0.7, 1.5, 2.0, 2.0, 1.3), (1.0, 2.0, 3.0, 3.0, 2.0)),
    Goal("ligand_async, hypercorn", REFERENCE, (0.3, 0.7, 1.3, 1.4, 1.1)),
    Goal(SERVE, LITESTAR, (0.45, 1.5, 2.0, 2.5, 2.0)),
    Goal("ligand_async, uvicorn", TUNED, (0.8, 1.0, 1.0, 1.0, 1.0)),
    Goal("ligand_async, hypercorn", "tuned fastapi, hypercorn", (0.8, 1.0, 1.0, 1.0, 1.0)),
)
# What a row of "what it bought" compares: a stack without a measure, and the one with it.
WITHOUT = {
    "the reader on httptools": "ligand serve, h11",
}
CHARTED = (
    SERVE,
    "ligand_async, hypercorn",
    "ligand_async, uvicorn",
    REFERENCE,
    TUNED,
    LITESTAR,
    "quart, hypercorn",
)


def write_report(run: Run, page: Path = PAGE, chart: Path = CHART) -> None:
    """Write the figures of a run into the page, and draw the chart."""
    page.write_text(fill_page(page.read_text(), run))
    chart.write_text(draw_chart(run.results))


def fill_page(text: str, run: Run) -> str:
    """Return a page with the figures of a run between its markers.

    Raises:
        KeyError: There is no table of that name.
    """
    return BLOCK.sub(lambda found: f"{found[1]}{TABLES[found[2]](run)}\n{found[3]}", text)


def _conditions(run: Run) -> str:
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in run.conditions.items())])


def _table(first: str, columns: tuple[str, ...], rows: list[tuple[str, list[str]]]) -> str:
    lines = [f"| {first} | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows)])


def _by_route(run: Run, make_cell: Callable[[str, Result, str], str]) -> str:
    rows = [
        (f"**{name}**" if name == SERVE else name, [make_cell(name, result, route) for route in ROUTES])
        for name, result in run.results.items()
    ]
    return _table("service, server", ROUTES, rows)


def _throughput(run: Run) -> str:
    def make_cell(name: str, result: Result, route: str) -> str:
        rate = result.median(route, "requests_per_second")
        return f"{median_ratio(run.results, name, route):.2f} · {rate:,.0f}"

    return _by_route(run, make_cell)


def _cpu(run: Run) -> str:
    return _by_route(run, lambda _, result, route: f"{result.median(route, 'cpu'):,.0f}")


def _latency(run: Run) -> str:
    return _by_route(
        run, lambda _, result, route: f"{result.median(route, 'p50'):.1f} · {result.median(route, 'p99'):.1f}"
    )


def _process(run: Run) -> str:
    rows = [(name, [f"{result.memory:.0f}", f"{result.start:.0f}"]) for name, result in run.results.items()]
    return _table("service, server", ("memory, MB", "start, ms"), rows)


def _errors(run: Run) -> str:
    found = [
        f"- {name}, {route}: {errors}"
        for name, result in run.results.items()
        for route in ROUTES
        if (errors := sum(turn.errors for turn in result.turns[route]))
    ]
    return "\n".join(found) if found else "There were none."


def _goals(run: Run) -> str:
    rows = []
    for goal in GOALS:
        if not {goal.stack, goal.against} <= run.results.keys():
            continue
        found = [median_ratio(run.results, goal.stack, route, goal.against) for route in ROUTES]
        rows.append((f"`{goal.stack}` ÷ {goal.against}", [""] * len(ROUTES)))
        rows += [
            (f"{name}, at least", [f"{ratio:.2f}" for ratio in lines])
            for name, lines in (("required", goal.required), ("goal", goal.wanted), ("stretch", goal.stretch))
            if lines
        ]
        rows.append(("reached", [f"**{rate(ratio, goal, place)}**" for place, ratio in enumerate(found)]))
    return _table("requests/s", ROUTES, rows)


def rate(ratio: float, goal: Goal, place: int) -> str:
    """Return a ratio and the highest line that it reached, or that it misses the required one."""
    for name, lines in (("stretch", goal.stretch), ("goal", goal.wanted), ("required", goal.required)):
        if lines and ratio >= lines[place]:
            return f"{ratio:.2f} {name}"
    return f"{ratio:.2f} missed"


def _limits(run: Run) -> str:
    ours, theirs = run.results[SERVE], run.results[REFERENCE]
    share = ours.median("one", "p99") / theirs.median("one", "p99")
    found = [
        (f"p99 of one row, of that of {REFERENCE}", f"{P99:.2f}", f"{share:.2f}", share <= P99),
        ("memory of a worker, MB", f"{MEMORY}", f"{ours.memory:.0f}", ours.memory <= MEMORY),
        ("start of the process to the first 200, ms", f"{START}", f"{ours.start:.0f}", ours.start <= START),
    ]
    rows = [(name, [limit, value, "yes" if kept else "no"]) for name, limit, value, kept in found]
    return _table("`ligand serve`", ("at most", "measured", "kept"), rows)


def _measures(run: Run) -> str:
    rows = [
        (name, [f"{median_ratio(run.results, SERVE, route, without):.2f}" for route in ROUTES])
        for name, without in WITHOUT.items()
        if without in run.results
    ]
    return _table("with it ÷ without it", ROUTES, rows)


TABLES: Mapping[str, Callable[[Run], str]] = {
    "conditions": _conditions,
    "throughput": _throughput,
    "cpu": _cpu,
    "latency": _latency,
    "process": _process,
    "errors": _errors,
    "goals": _goals,
    "limits": _limits,
    "measures": _measures,
}


STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; }
  .ground { fill: #ffffff; } .other { fill: #8c959f; } .ours { fill: #2563eb; } .one { stroke: #1f2328; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .ground { fill: #0d1117; } .other { fill: #6e7681; } .ours { fill: #58a6ff; } .one { stroke: #e6edf3; }
  }
"""
WIDTH = 900
LEFT = 190  # where bars begin
RIGHT = 60  # room for a figure behind the longest bar
BAR = 16
STEP = 20
TITLES = {
    "ping": "/ping: nothing but the framework",
    "me": "/me: the caller, from the access token",
    "one": "One row, by its key",
    "list": "Fifty rows and their total",
    "insert": "An insert",
}


def draw_chart(results: Mapping[str, Result]) -> str:
    """Return the chart as SVG: for each route, requests per second as a ratio to the reference."""
    names = [name for name in CHARTED if name in results]
    found = {route: {name: median_ratio(results, name, route) for name in names} for route in ROUTES}
    scale = (WIDTH - LEFT - RIGHT) / max(max(bars.values()) for bars in found.values())
    one = LEFT + scale
    parts, y = [], 0
    for route, bars in found.items():
        parts.append(f'<text class="title" x="16" y="{y + 28}">{escape(TITLES[route])}</text>')
        y += 40
        top = y
        for name, ratio in bars.items():
            kind = "ours" if "ligand" in name else "other"
            width = ratio * scale
            parts.append(f'<text x="{LEFT - 10}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
            parts.append(f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>')
            parts.append(f'<text x="{LEFT + width + 6:.1f}" y="{y + 13}">{ratio:.2f}</text>')
            y += STEP
        parts.append(f'<path class="one" stroke-dasharray="3 3" d="M{one:.1f} {top - 4}V{y}"/>')
    y += 34
    legend = f"Requests per second as a ratio to {REFERENCE} (the dashed line), median of all rounds; longer is faster."
    head = f'viewBox="0 0 {WIDTH} {y}" role="img" aria-label="{escape(legend)}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {head}>',
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{y}"/>',
            *parts,
            f'<text x="16" y="{y - 12}">{escape(legend)}</text>',
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    write_report(Run.load())
