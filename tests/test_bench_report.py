"""The page of the benchmark, `docs/performance.md`, and its chart."""

from pathlib import Path
from xml.etree import ElementTree as ET

from bench.report import CHART, GOALS, PAGE, SERVE, TABLES, WITHOUT, Goal, draw_chart, fill_page, rate
from bench.results import REFERENCE, ROUTES, Result, Run, Turn
from bench.suite import STACKS


def run_of(**rates: float) -> Run:
    """Make a run of one round, with the same figures on every route; `_` in a name stands for a space."""
    results = {
        name.replace("_", " "): Result(500.0, 90.0, {route: [Turn(rate, 1.0, 2.0, 100.0, 0)] for route in ROUTES})
        for name, rate in rates.items()
    }
    return Run({"rounds": "1"}, {REFERENCE: Result(600.0, 80.0, turns_of(100)), **results})


def turns_of(rate: float) -> dict[str, list[Turn]]:
    """Make one turn on every route."""
    return {route: [Turn(rate, 1.0, 4.0, 100.0, 0)] for route in ROUTES}


def test_page_and_chart_show_the_kept_run() -> None:
    """Every figure between the markers of the page, and the chart, are what the kept results give."""
    run, text = Run.load(), PAGE.read_text()

    assert [name for name in TABLES if f"<!-- bench: {name} -->" not in text] == []
    assert fill_page(text, run) == text, "python -m bench.report"
    assert draw_chart(run.results) == CHART.read_text(), "python -m bench.report"


def test_kept_run_has_what_is_compared() -> None:
    """The kept run has every stack that a goal names, each with a turn on every route in every round."""
    run = Run.load()
    named = {REFERENCE, *WITHOUT.values(), *(name for goal in GOALS for name in (goal.stack, goal.against))}

    assert named <= run.results.keys() <= STACKS.keys()
    assert len({len(result.turns[route]) for result in run.results.values() for route in ROUTES}) == 1


def test_run_is_kept_whole(tmp_path: Path) -> None:
    """A run that is written and read again is the same."""
    run = run_of(ligand_serve=150)
    run.save(tmp_path / "results.json")

    assert Run.load(tmp_path / "results.json") == run


def test_only_what_is_marked_changes() -> None:
    """What stands between the markers is replaced, and all else stays."""
    filled = fill_page("a\n<!-- bench: conditions -->\nold\n<!-- end -->\nb\n", run_of(ligand_serve=150))

    assert "old" not in filled
    assert filled.startswith("a\n<!-- bench: conditions -->\n| | |")
    assert filled.endswith("| rounds | 1 |\n<!-- end -->\nb\n")


def test_ratio_is_rated_by_the_highest_line_it_reaches() -> None:
    """A ratio that reaches no line is a miss, and a line counts as reached when it is met."""
    goal = Goal(SERVE, REFERENCE, (1.0,), (2.0,), (3.0,))

    assert [rate(ratio, goal, 0) for ratio in (0.99, 1, 2, 3.5)] == [
        "0.99 missed",
        "1.00 required",
        "2.00 goal",
        "3.50 stretch",
    ]


def test_limits_are_held_against_the_reference() -> None:
    """The p99 is a share of the reference's; a worker with too much memory, or a slow start, is said to be so."""
    run = run_of(ligand_serve=150)
    assert TABLES["limits"](run).count("| no |") == 1
    run.results[SERVE].memory = 101
    assert TABLES["limits"](run).count("| no |") == 2


def test_errors_are_named() -> None:
    """Errors under load are on the page, by service and route."""
    run = run_of(ligand_serve=150)
    assert TABLES["errors"](run) == "There were none."
    run.results[SERVE].turns["one"] = [Turn(150, 1.0, 2.0, 100.0, 3)]
    assert TABLES["errors"](run) == "- ligand serve, one: 3"


def test_chart_is_a_picture_with_a_bar_for_each_ratio() -> None:
    """The chart is well-formed, and the longest bar has room for its figure."""
    picture = ET.fromstring(draw_chart(run_of(ligand_serve=250).results))  # noqa: S314  (our own)
    bars = [bar for bar in picture.iter("{http://www.w3.org/2000/svg}rect") if bar.get("class") != "ground"]

    assert len(bars) == 2 * len(ROUTES)
    assert max(float(bar.get("x", 0)) + float(bar.get("width", 0)) for bar in bars) == 840
