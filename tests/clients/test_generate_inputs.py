"""Clients of a service whose operations take every form of input."""

import enum
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from ligand_async import Form, operation
from ligand_async.docs import document_of
from ligand_async.docs.clients import Package, generated
from ligand_async.web import Body, UploadedFile, request_limits
from tests.clients.making import TypeScript, check_python, ligand_client
from tests.services import app_of

pytestmark = pytest.mark.extended


class Level(enum.Enum):
    """An enumeration of numbers."""

    LOW = 1
    HIGH = 2


class Note(BaseModel):
    text: str


class Made(BaseModel):
    number: int


@operation
async def read_level(level: Level, day: Annotated[int, Field(ge=1, le=31)], size: list[Literal[1, 2]]) -> Note:
    raise NotImplementedError


@operation
async def send_image(image: Annotated[bytes, Body("image/png")]) -> None: ...


@operation
async def send_text(text: Annotated[str, Body("text/plain")]) -> None: ...


@request_limits(max_body_bytes=10_000_000, timeout=60)
@operation
async def send_parts(parts: Annotated[AsyncIterator[bytes], Body("application/octet-stream")]) -> None: ...


@operation
async def send_vendor(note: Annotated[Note, Body("application/vnd.note+json")]) -> None: ...


@operation
async def send_form(name: Annotated[str, Form()], file: UploadedFile, note: Annotated[Note, Form()]) -> None: ...


@operation
async def make_note(note: Note | None = None) -> tuple[Note, Literal[200]] | tuple[Made, Literal[202]]:
    raise NotImplementedError


def test_every_input_compiles(require_tool: Callable[[str], Path], tmp_path: Path) -> None:
    """No warning of either generator, and no mistake that mypy or `tsc --strict` finds."""
    rules: list[tuple[str, str, Any]] = [
        ("GET", "/levels/<level>/<int:day>", read_level),
        ("POST", "/image", send_image),
        ("POST", "/text", send_text),
        ("POST", "/parts", send_parts),
        ("POST", "/vendor", send_vendor),
        ("POST", "/form", send_form),
        ("POST", "/notes", make_note),
    ]
    document = json.loads(document_of(app_of(*rules)).content)
    package = Package("inputs-client", "1.0.0")
    ligand_client("generate", "python", "-o", tmp_path / "probe", directory=tmp_path)  # skips where the extra is not
    with generated("python", document, package, server=None) as source:
        check_python(source / "inputs_client", source=source)
        assert any('headers["Content-Type"] = "image/png"' in file.read_text() for file in source.rglob("*.py"))
    with generated("typescript", document, package, server=None) as source:
        compiler = TypeScript(require_tool("node"), tmp_path / "work")
        compiler.add("inputs-client", source)
