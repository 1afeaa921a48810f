"""Count the Python and C calls of one warmed request, in process: `python -m bench.calls`.

The number of calls does not depend on the speed of the machine, so even a small change shows. The requests enter at
the ASGI interface, without a server, and the service keeps its rows in a SQLite file. Calls in the thread of the
database driver are not counted.

`bench/calls.json` holds the figures for each version of Python. `--check` exits with 1 if a route makes over 5 % more
calls than the file says. A change that needs more calls renews the file with `--write` in the same commit.

Without these options, the calls of the services in `bench/peers` are counted, too: each in its environment, all on
PostgreSQL.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal
from uuid import UUID

from pydantic import BaseModel
from quart import Blueprint
from sqlalchemy import String, Text, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.counting import Calls, count, request
from bench.results import ROUTES
from bench.suite import ENVIRONMENTS, ROOT, STACKS, is_installed, surroundings
from ligand_async import (
    CreateSchema,
    Database,
    Identified,
    Model,
    Page,
    PageParams,
    Principal,
    ReadSchema,
    Settings,
    Sort,
    Timestamped,
    Versioned,
    create_app,
    get_or_404,
    operation,
    paginate,
    public,
)
from ligand_async.testing import authorization

FIGURES = Path(__file__).with_name("calls.json")
GROWTH = 1.05
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
ROWS = 60  # the list reads 50 of them

Figures = dict[str, Calls]


class Base(Model, DeclarativeBase):
    """The tables of the service that is measured."""


class Pet(Identified, Timestamped, Versioned, Base):
    """A row."""

    __tablename__ = "pet"

    name: Mapped[str] = mapped_column(String(255), index=True)
    description: Mapped[str] = mapped_column(Text, default="")


class PetRead(ReadSchema, model=Pet):
    """A pet in a response."""


class PetCreate(CreateSchema, model=Pet):
    """A pet in a request."""


class PetQuery(PageParams):
    """The parameters of the list."""

    sort: Sort[Literal["name", "created_at"]] = ("created_at",)


class Pong(BaseModel):
    """The smallest response."""

    ping: str = "pong"


class Caller(BaseModel):
    """The caller, in a response."""

    subject: str
    roles: list[str]


db = Database(Base)
pets = Blueprint("pets", __name__)


@pets.get("/ping")
@public
@operation
async def ping() -> Pong:
    """Answer, without a token and without a database."""
    return Pong()


@pets.get("/me")
@operation
async def read_caller(principal: Principal) -> Caller:
    """Answer with the caller, whose token is in the cache."""
    return Caller(subject=principal.subject, roles=sorted(principal.roles))


@pets.get("/pets/<uuid:pet_id>")
@operation
async def read_pet(pet_id: UUID, session: AsyncSession) -> PetRead:
    """Read one row."""
    return await get_or_404(session, Pet, pet_id, into=PetRead)


@pets.get("/pets/")
@operation
async def list_pets(query_args: PetQuery, session: AsyncSession) -> Page[PetRead]:
    """List rows and count them."""
    return await paginate(session, query_args.apply(select(Pet)), query_args, into=PetRead)


@pets.post("/pets/")
@operation(status=201)
async def create_pet(data: PetCreate, session: AsyncSession) -> PetRead:
    """Insert a row."""
    pet = Pet(**data.model_dump())
    session.add(pet)
    await session.flush()
    return PetRead.model_validate(pet)


async def measure() -> Figures:
    """Count the calls of one request to each route."""
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings.load("testing", database_url=f"sqlite+aiosqlite:///{directory}/pets.db")
        app = create_app(__name__, title="Pets", version="1", settings=settings, database=db, blueprints=[pets])
        async with app.test_app(), app.app_context():
            await db.create_tables()
            async with db.transaction() as session:
                session.add_all(Pet(id=UUID(int=n + 1), name=f"Pet {n}") for n in range(ROWS))
            token = authorization(app, roles=["user"])["Authorization"].encode()
            routes = {
                "ping": request("GET", "/ping"),
                "me": request("GET", "/me", token),
                "one": request("GET", f"/pets/{UUID(int=7)}", token),
                "list": request("GET", "/pets/?page=1&page_size=50", token),
                "insert": request("POST", "/pets/", token, b'{"name": "Rex", "description": "A good dog."}'),
            }
            return {name: await count(app, *asked) for name, asked in routes.items()}


def count_peers() -> dict[str, Figures | None]:
    """Count the calls of the services in `bench/peers`, on PostgreSQL; None stands for those that are not installed."""
    found: dict[str, Figures | None] = {}
    with surroundings() as around:
        requests = {
            name: (load.method, load.path, load.token and f"Bearer {load.token}", load.body())
            for name, load in around.loads.items()
        }
        for name, stack in PEERS.items():
            if not is_installed(stack.environment):
                found[name] = None
                continue
            ended = subprocess.run(
                [ENVIRONMENTS / stack.environment / "bin" / "python", "-m", "bench.counting"],
                cwd=around.directory,
                env={"PYTHONPATH": str(ROOT), "LIGAND_ENVIRONMENT": "local", **around.variables},
                input=json.dumps({"app": stack.app, "is_factory": stack.is_factory, "requests": requests}),
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            counted = json.loads(ended.stdout.splitlines()[-1])
            found[name] = {route: Calls(*calls) for route, calls in counted.items()}
    return found


PEERS = {
    "ligand_async": STACKS["ligand_async, uvicorn"],
    "fastapi": STACKS["fastapi, uvicorn"],
    "tuned fastapi": STACKS["tuned fastapi, uvicorn"],
    "litestar": STACKS["litestar, uvicorn"],
    "quart": STACKS["quart, uvicorn"],
    "raw ASGI": STACKS["raw ASGI, uvicorn"],
}


def format_peers(found: Mapping[str, Figures | None]) -> str:
    """Return the calls of the peers as a table; each figure is of Python and C together."""
    lines = [f"{'service':<14}" + "".join(f"{route:>8}" for route in ROUTES)]
    for name, figures in found.items():
        if figures is None:
            lines.append(f"{name:<14} is not installed: make bench ARGS=--install")
        else:
            lines.append(f"{name:<14}" + "".join(f"{figures[route].total:>8,}" for route in ROUTES))
    return "\n".join(lines)


def load_figures(path: Path = FIGURES) -> Figures | None:
    """Return the figures in the file for this version of Python, or None if it has none."""
    figures = json.loads(path.read_text()).get(VERSION)
    return figures and {name: Calls(**calls) for name, calls in figures.items()}


def write_figures(figures: Figures, path: Path = FIGURES) -> None:
    """Put the figures for this version of Python into the file."""
    versions = json.loads(path.read_text()) if path.exists() else {}
    versions[VERSION] = {name: calls._asdict() for name, calls in figures.items()}
    path.write_text(json.dumps(versions, indent=2) + "\n")


def find_growth(measured: Mapping[str, Calls], known: Mapping[str, Calls]) -> Iterator[str]:
    """Yield an error for each route that makes over 5 % more calls than it did."""
    for name, calls in measured.items():
        if name not in known:
            yield f"{name} has no figure in {FIGURES.name}"
        elif calls.total > known[name].total * GROWTH:
            yield f"{name} makes {calls.total:,} calls, {FIGURES.name} has {known[name].total:,}"


def format_table(measured: Mapping[str, Calls], known: Mapping[str, Calls]) -> str:
    """Return the figures as a table, with the change since the file was written."""
    lines = [f"{'route':<8} {'Python':>7} {'C':>7} {'all':>7} {'before':>7} {'change':>8}"]
    for name, calls in measured.items():
        line = f"{name:<8} {calls.python:>7,} {calls.c:>7,} {calls.total:>7,}"
        if name in known:
            line += f" {known[name].total:>7,} {calls.total / known[name].total - 1:>+8.1%}"
        lines.append(line)
    return "\n".join(lines)


def main() -> int:
    """Print the table, then check or renew the file."""
    parser = argparse.ArgumentParser(prog="python -m bench.calls", description="Count the calls of one request.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="fail if a route makes over 5 %% more calls")
    choice.add_argument("--write", action="store_true", help=f"renew {FIGURES.name}")
    options = parser.parse_args()

    measured = asyncio.run(measure())
    known = load_figures()
    print(f"Calls of one request, Python {VERSION}\n\n{format_table(measured, known or {})}")
    if options.write:
        write_figures(measured)
    elif options.check and known is None:
        print(f"\n{FIGURES.name} has no figures for Python {VERSION}: nothing to compare with")
    elif options.check and (errors := list(find_growth(measured, known or {}))):
        print("", *errors, "Make fewer calls, or renew the figures in the same commit: ", sep="\n", end="")
        print("make bench-calls ARGS=--write")
        return 1
    elif not options.check:
        print(f"\nCalls of one request on PostgreSQL, all kinds\n\n{format_peers(count_peers())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
