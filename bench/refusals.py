"""What it costs to refuse a body of 1 MiB, beside taking a valid one of the same shape: `python -m bench.refusals`.

Each body is sent to an app in a process of its own. The time is that of a request, the best of several; the memory is
what the process holds at most during the first one, more than before it. The ratio is refused to taken, and it should
be 2 at most: a client that sends nonsense must not cost more than one that means it.
"""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field
from quart import Quart

from ligand_async import Settings, create_app, operation, public
from ligand_async.web import Form

MIB = 1024 * 1024
REPEAT = 5
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class Pet(BaseModel):
    """An ordinary object."""

    name: str
    age: int = 0
    weight: float = 0.0


class Cat(BaseModel):
    """A member of unions."""

    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    """Another one."""

    kind: Literal["dog"] = "dog"
    tricks: list[str]


class Tree(BaseModel):
    """A class inside itself."""

    value: int
    left: "Tree | None" = None
    right: "Tree | None" = None


class Bag(BaseModel):
    """An object with a mapping."""

    values: dict[str, int]


class Login(BaseModel):
    """A form."""

    name: str
    notes: list[str] = []


@dataclass(frozen=True)
class Shape:
    """One kind of body.

    Attributes:
        name: Its name.
        type: What the operation takes.
        valid: A part of a valid body, which is repeated; `%d` is its number, and `%u` a UUID of it.
        wrong: A part of a hostile one.
        ends: What stands around the parts.
        media_type: The media type.
        between: What stands between two parts.
        wrong_ends: What stands around the parts of a hostile body, if that is something else.
    """

    name: str
    type: Any
    valid: str
    wrong: str
    ends: tuple[str, str] = ("[", "]")
    media_type: str = "application/json"
    between: str = ","
    wrong_ends: tuple[str, str] | None = None

    def body(self, *, wrong: bool, size: int = MIB) -> bytes:
        """Return a body of nearly `size` bytes."""
        part, ends = (self.wrong, self.wrong_ends or self.ends) if wrong else (self.valid, self.ends)
        parts, length, number = [], sum(map(len, ends)), 0
        while True:
            made = part.replace("%d", f"{number:x}").replace("%u", str(UUID(int=number)))
            length += len(made) + len(self.between)
            if length > size:
                break
            parts.append(made)
            number += 1
        return (ends[0] + self.between.join(parts) + ends[1]).encode()


_PART = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data; boundary=b"
_PET = '{"name":"pet %d","age":4,"weight":1.5}'
SHAPES = (
    Shape("numbers", list[int], "11", '""'),
    Shape("objects", list[Pet], _PET, '{"name":1,"age":"","weight":""}'),
    Shape("empty objects", list[Pet], _PET, "{}"),
    Shape("unknown keys", Bag, '"%d":1', '"%d":1', ('{"values":{', "}}"), wrong_ends=("{", "}")),
    Shape("unknown keys in a union", Bag | list[int], '"%d":1', '"%d":1', ('{"values":{', "}}"), wrong_ends=("{", "}")),
    Shape("unknown keys of many", list[Pet], _PET, '{"name":"","a":1,"b":1,"c":1,"d":1}'),
    Shape("values of a mapping", dict[str, int], '"%d":1', '"%d":""', ("{", "}")),
    Shape("keys of a mapping", dict[UUID, int], '"%u":1', '"%u.":1', ("{", "}")),
    Shape("members of a union", list[Cat | Dog], '{"lives":9,"kind":"cat"}', '{"lives":"","tricks":1}'),
    Shape("lists in a union", list[int] | list[float], "11", '""'),
    Shape(
        "tagged union",
        list[Annotated[Cat | Dog, Field(discriminator="kind")]],
        '{"kind":"cat","lives":9}',
        '{"kind":0}',
    ),
    Shape("lists in lists", list[list[int]], "[1,2]", "[[],[]]"),
    Shape("trees", list[Tree], '{"value":1,"left":{"value":1}}', '{"value":"","left":{},"right":{}}'),
    Shape("parts of a form", Annotated[Login, Form()], "notes=" + "x" * 2000, "n%d=", ("name=a&", ""), _FORM, "&"),
    Shape(
        "parts of a multipart form",
        Annotated[Login, Form()],
        _PART.format("notes", "x" * 2000),
        _PART.format("n%d", ""),
        (_PART.format("name", "a"), "--b--\r\n"),
        _MULTIPART,
        "",
    ),
    Shape(
        "parameters of a part's header",
        Annotated[Login, Form()],
        _PART.format("notes", "x" * 2000),
        "; a=1",
        (_PART.format("name", "a"), "--b--\r\n"),
        _MULTIPART,
        "",
        ('--b\r\nContent-Disposition: form-data; name="name"', "\r\n\r\na\r\n--b--\r\n"),
    ),
)


def make_app(shape: Shape) -> Quart:
    """Make a service with one operation, which takes the shape."""

    async def take(data: Any) -> None:
        """Take a body."""

    take.__annotations__["data"] = shape.type
    settings = Settings.load("testing", request_timeout=120, max_form_fields=1000)
    app = create_app(__name__, title="Refusals", version="1", settings=settings)
    app.post("/")(public(operation(take)))
    return app


async def measure(shape: Shape, *, wrong: bool) -> tuple[float, int]:
    """Return the milliseconds of a request, and the KiB that the first one needs."""
    app = make_app(shape)
    body = shape.body(wrong=wrong)
    warm = shape.body(wrong=wrong, size=300)
    async with app.test_app() as running:
        client = running.test_client()

        async def send(sent: bytes) -> int:
            response = await client.post("/", data=sent, headers={"Content-Type": shape.media_type})
            await response.get_data()
            return response.status_code

        expected = {True: {400, 413, 422}, False: {204}}[wrong]
        for _ in range(3):
            await send(warm)
        _begin_peak()
        before = _memory("VmRSS")
        status = await send(body)
        needed = _memory("VmHWM") - before
        assert status in expected, f"{shape.name}: {status}"  # noqa: S101  (a benchmark of nothing)
        times = []
        for _ in range(REPEAT):
            began = time.perf_counter()
            await send(body)
            times.append(time.perf_counter() - began)
    return min(times) * 1000, needed


def _begin_peak() -> None:
    _CLEAR.write_text("5")  # the peak begins anew (proc(5))


def _memory(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    assert found is not None  # noqa: S101  (Linux has it)
    return int(found[1])


def measure_apart(shape: Shape, *, wrong: bool) -> tuple[float, int]:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "bench.refusals", shape.name, "wrong" if wrong else "valid"]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    taken, needed = json.loads(found.stdout)
    return float(taken), int(needed)


def rows() -> Iterator[tuple[str, tuple[float, int], tuple[float, int]]]:
    """Measure all shapes: the name, what a valid body costs and what a hostile one does."""
    for shape in SHAPES:
        yield shape.name, measure_apart(shape, wrong=False), measure_apart(shape, wrong=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        one = next(shape for shape in SHAPES if shape.name == sys.argv[1])
        print(json.dumps(asyncio.run(measure(one, wrong=sys.argv[2] == "wrong"))))
    else:
        print(f"{'shape':<30} {'valid':>10} {'refused':>10} {'ratio':>6} {'valid':>10} {'refused':>10} {'ratio':>6}")
        for name, valid, refused in rows():
            print(
                f"{name:<30} {valid[0]:>7.1f} ms {refused[0]:>7.1f} ms {refused[0] / valid[0]:>6.2f}"
                f" {valid[1] / 1024:>6.1f} MiB {refused[1] / 1024:>6.1f} MiB {refused[1] / max(valid[1], 1):>6.2f}",
                flush=True,
            )
