"""Draw `docs/architecture.svg`, the picture of the house, from the source: `python -m docs.architecture`.

The floors are the layers of the import-linter contract in `pyproject.toml`. The modules, their sentences and the
imports are read from the package. Only the columns below are set by hand.
"""

import ast
import textwrap
import tomllib
from collections.abc import Iterable
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.import_graph import build_graph

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ligand_async"
PICTURE = Path(__file__).with_suffix(".svg")

WIDTH = 1400
EDGE = 24
LEFT = 190  # of every box; the names of the floors stand to the left of it
# The columns of each room, and where the line stands that leads down to it. No line may cross a box on its way: the
# boxes of the upper floors are narrow and leave the right side to the lines of the lower floors.
COLUMNS = {
    "cli": (LEFT, 900, 0),
    "testing": (920, WIDTH - EDGE, 0),
    "app": (LEFT, 400, 300),
    "docs": (LEFT, 480, 440),
    "upstream": (LEFT, 510, 496),
    "web": (530, 860, 700),
    "auth": (LEFT, 900, 880),
    "data": (920, 1180, 1050),
    "ops": (1200, WIDTH - EDGE, 1290),
}
COLOURS = ("#2563eb", "#c2410c", "#15803d", "#a21caf", "#0e7490", "#b91c1c", "#7c6f00")
LINE = 17  # height of a line of text
CHANNEL = 26  # height that the line of one importer takes

LEGEND = "A dot: the room that the coloured line comes from imports the room that the grey line leads to."
STYLE = """
  .ground { fill: #ffffff; } .floor { fill: #f3f4f6; } .box { fill: #ffffff; stroke: #9ca3af; }
  text { font-family: system-ui, sans-serif; font-size: 13px; fill: #111827; }
  .name { font-weight: 600; font-size: 15px; } .soft { fill: #4b5563; }
  .code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 11px; fill: #374151; }
  .down { stroke: #6b7280; stroke-width: 1.5; fill: none; } .head { fill: #6b7280; }
  .small { font-size: 11px; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; } .floor { fill: #161b22; } .box { fill: #0d1117; stroke: #6e7681; }
    text { fill: #e6edf3; } .soft { fill: #9da7b3; } .code { fill: #c9d1d9; }
    .down { stroke: #8b949e; } .head { fill: #8b949e; } .bus { filter: brightness(1.7); }
  }
"""


class Room(NamedTuple):
    """A package or a module that stands directly in the house."""

    name: str
    sentence: str
    contents: tuple[str, ...]  # its modules, then those of each package inside it


def read_floors() -> list[list[str]]:
    """Return the rooms of each floor, the highest floor first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers: list[str] = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [layer.replace("|", ":").replace(" ", "").split(":") for layer in layers]


def read_room(name: str) -> Room:
    """Read a room from its source."""
    folder = PACKAGE / name
    if not folder.is_dir():
        return Room(name, _sentence_of(folder.with_suffix(".py")), ())
    paths = sorted(folder.rglob("*.py"))
    modules = [path for path in paths if path.name != "__init__.py"]
    groups = [folder, *sorted(path.parent for path in paths if path.name == "__init__.py" and path.parent != folder)]
    contents = tuple(
        " ".join([*([f"{group.relative_to(folder)}/"] if group != folder else []), *names])
        for group in groups
        if (names := [path.stem for path in modules if path.parent == group])
    )
    return Room(name, _sentence_of(folder / "__init__.py"), contents)


def read_imports() -> set[tuple[str, str]]:
    """Return each pair of rooms of which the first imports the second."""
    pairs = {
        (_room_of(module), _room_of(imported))
        for module, all_imported in build_graph(PACKAGE).items()
        for imported in all_imported
    }
    return {(source, target) for source, target in pairs if source and target and source != target}


def draw() -> str:
    """Return the picture."""
    floors, imports = read_floors(), read_imports()
    parts: list[str] = []
    tops: dict[str, int] = {}
    buses: list[tuple[str, int, int]] = []  # room, the end of its box, the height of its line
    y = EDGE
    for number, names in zip(range(len(floors) - 1, -1, -1), floors, strict=True):
        rooms = [read_room(name) for name in names]
        boxes, height = _draw_ground(rooms, y, imports) if number == 0 else _draw_rooms(rooms, y)
        parts += [
            f'<rect class="floor" x="{EDGE / 2}" y="{y - 8}" width="{WIDTH - EDGE}" height="{height + 16}" rx="6"/>',
            f'<text class="name" x="{EDGE}" y="{y + 20}">floor {number}</text>',
            *boxes,
        ]
        tops |= dict.fromkeys(names, y)
        y += height + 8
        importers = [name for name in names if any(pair[0] == name and pair[1] in COLUMNS for pair in imports)]
        for name in importers:
            y += CHANNEL
            buses.append((name, y - CHANNEL * (importers.index(name) + 1) - 8, y))
        y += CHANNEL + 8
    lines = _draw_lines(buses, tops, imports)
    size = f'width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}"'
    title = "The floors and rooms of ligand_async, and which room imports which"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}">',
            f"<title>{title}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{y}"/>',
            *parts,
            *lines,
            f'<text class="soft" x="{LEFT}" y="{y - 10}">{LEGEND}</text>',
            "</svg>\n",
        ]
    )


def _draw_rooms(rooms: list[Room], y: int) -> tuple[list[str], int]:
    """Return the boxes of an upper floor, side by side, and their height."""
    texts = [_text_of(room, COLUMNS[room.name][1] - COLUMNS[room.name][0] - 24) for room in rooms]
    height = max(map(len, texts)) * LINE + 14
    parts = []
    for room, text in zip(rooms, texts, strict=True):
        left, right, _ = COLUMNS[room.name]
        parts += _draw_box(left, y, right - left, height, text)
    return parts, height


def _draw_ground(rooms: list[Room], y: int, imports: set[tuple[str, str]]) -> tuple[list[str], int]:
    """Return the boxes of the ground floor, four in a row, each with its importers, and their height."""
    width, columns = (WIDTH - EDGE - LEFT + 20) // 4, 4
    texts = []
    for room in rooms:
        importers = ", ".join(sorted(source for source, target in imports if target == room.name))
        text = _text_of(room, width - 44)
        texts.append([*text, *(("code", line) for line in _wrap(f"imported by {importers}", width - 44, 6.7))])
    parts, total = [], 0
    for start in range(0, len(rooms), columns):
        row = texts[start : start + columns]
        height = max(map(len, row)) * LINE + 14
        for column, text in enumerate(row):
            parts += _draw_box(LEFT + column * width, y + total, width - 20, height, text)
        total += height + 12
    return parts, total - 12


def _text_of(room: Room, width: int) -> list[tuple[str, str]]:
    """Return the lines in the box of a room, each with its class."""
    return [
        ("name", f"{room.name}{'/' if room.contents else '.py'}"),
        *(("", line) for line in _wrap(room.sentence, width, 6.9)),
        *(("code", line) for group in room.contents for line in _wrap(group, width, 6.7)),
    ]


def _draw_box(x: int, y: int, width: int, height: int, text: Iterable[tuple[str, str]]) -> list[str]:
    parts = [f'<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>']
    for number, (kind, line) in enumerate(text):
        parts.append(f'<text class="{kind}" x="{x + 12}" y="{y + 21 + number * LINE}">{escape(line)}</text>')
    return parts


def _draw_lines(buses: list[tuple[str, int, int]], tops: dict[str, int], imports: set[tuple[str, str]]) -> list[str]:
    """Return a grey line down to each room that is imported, and a coloured line across them for each importer."""
    down, across = [], []
    for target, (_, _, x) in COLUMNS.items():
        heights = [y for source, _, y in buses if (source, target) in imports]
        if heights:
            top = tops[target]
            down.append(f'<path class="down" d="M{x} {min(heights)}V{top - 6}"/>')
            down.append(f'<path class="head" d="M{x - 5} {top - 9}h10l-5 9z"/>')
    for (source, bottom, y), colour in zip(buses, COLOURS * len(buses), strict=False):
        start = COLUMNS[source][0] + 30
        dots = [x for target, (_, _, x) in COLUMNS.items() if (source, target) in imports]
        across.append(f'<g class="bus" fill="{colour}" stroke="{colour}">')
        line = f"M{start} {bottom}V{y}M{min(start, *dots)} {y}H{max(start, *dots)}"
        across.append(f'<path fill="none" stroke-width="2" d="{line}"/>')
        across += [f'<circle cx="{x}" cy="{y}" r="5" stroke="none"/>' for x in dots]
        across.append("</g>")
        across.append(f'<text class="small soft" x="{start + 6}" y="{y - 5}">{source}</text>')
    return [*down, *across]


def find_crossings() -> list[str]:
    """Return the lines that would cross a box: the columns above must change then."""
    floors = read_floors()[:-1]
    return [
        f"the line down to {target} crosses {name}"
        for level, names in enumerate(floors)
        for target in names
        for above in floors[1:level]
        for name in above
        if COLUMNS[name][0] <= COLUMNS[target][2] <= COLUMNS[name][1]
    ] + [
        f"{left} and {right} overlap"
        for names in floors
        for left, right in pairwise(names)
        if COLUMNS[left][0] < COLUMNS[right][1] and COLUMNS[right][0] < COLUMNS[left][1]
    ]


def _sentence_of(path: Path) -> str:
    return (
        (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0].replace("\n", " ").replace("`", "")
    )


def _room_of(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def _wrap(text: str, width: int, letter: float) -> list[str]:
    return textwrap.wrap(text, int(width / letter), break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    PICTURE.write_text(draw())
