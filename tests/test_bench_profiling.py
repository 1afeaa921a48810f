"""The profile of one request, by room."""

from collections import Counter
from xml.etree import ElementTree as ET

import pytest

from bench.profiling import Sampler, Stacks, Step, count_rooms, cut_stacks, draw_flames, format_stacks, room_of

WEB, QUART = Step("ligand_async.web", "dispatch"), Step("quart", "Quart.make_response")
STACKS: Stacks = Counter({(WEB,): 3, (WEB, QUART): 1})


@pytest.mark.parametrize(
    ("filename", "room"),
    [
        ("/a/ligand_async/web/guard.py", "ligand_async.web"),
        ("/a/ligand_async/context.py", "ligand_async.context"),
        ("/a/lib/python3.11/site-packages/sqlalchemy/orm/session.py", "sqlalchemy"),
        ("/a/lib/python3.11/site-packages/typing_extensions.py", "typing_extensions"),
        ("/a/lib/python3.11/asyncio/tasks.py", "asyncio"),
        ("/a/lib/python3.11/json/decoder.py", "Python"),
        ("<string>", "Python"),
    ],
)
def test_each_file_has_a_room(filename: str, room: str) -> None:
    """A file of ours belongs to its package, any other to its library or to Python."""
    assert room_of(filename) == room


def test_sampler_sees_what_runs() -> None:
    """The stack of a function that uses the CPU is seen, from the outside in."""
    with Sampler() as sampler:
        while not any(step.name == "work_hard" for stack in sampler.stacks for step in stack):
            work_hard()
    names = [step.name for stack in sampler.stacks for step in stack]

    assert names.index("test_sampler_sees_what_runs") < names.index("work_hard")


def work_hard() -> int:
    """Use the CPU in Python."""
    total = 0
    for number in range(100_000):
        total += number
    return total


def test_stacks_begin_with_the_app() -> None:
    """What calls the app is left out, and what runs beside a request belongs to the event loop."""
    loop, ask = Step("asyncio", "BaseEventLoop._run_once"), Step("bench", "answer")
    cut = cut_stacks(Counter({(loop, ask, WEB): 2, (loop,): 1, (loop, ask): 1}))

    assert cut == {(WEB,): 2, (Step("asyncio", "event loop"), loop): 1, (ask,): 1}


def test_a_room_has_the_samples_of_its_own_code() -> None:
    """A sample counts for the room whose function was running, not for those that called it."""
    assert count_rooms(STACKS) == {"ligand_async.web": 3, "quart": 1}
    assert format_stacks(STACKS).splitlines() == [
        "ligand_async.web:dispatch 3",
        "ligand_async.web:dispatch;quart:Quart.make_response 1",
    ]


def test_flames_are_as_wide_as_their_samples() -> None:
    """The graph is well-formed SVG, and each function is as wide as its share, with its microseconds."""
    picture = ET.fromstring(draw_flames(STACKS, "a <b>", 2.5))  # noqa: S314  (our own)
    space = "{http://www.w3.org/2000/svg}"
    found = {group.findtext(f"{space}title"): group.find(f"{space}rect") for group in picture.iter(f"{space}g")}

    assert {text: bar is not None and bar.get("width") for text, bar in found.items()} == {
        "ligand_async.web: dispatch, 10.0 µs": "1399.5",
        "quart: Quart.make_response, 2.5 µs": "349.5",
    }
