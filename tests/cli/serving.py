"""`ligand serve` for its tests: a service in a directory of its own, started as an operator starts it."""

import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers import LIGAND, ROOT

SERVICE = """
import asyncio
import os
from quart import Quart
from pydantic import BaseModel
from ligand_async import Settings, create_app, operation, public


class Thing(BaseModel):
    thing_id: int


def make() -> Quart:
    app = create_app("service", title="Service", version="1")

    @app.get("/pid")
    @public
    async def pid() -> str:
        return str(os.getpid())

    @app.get("/nap")
    @public
    async def nap() -> str:
        print("napping", flush=True)
        await asyncio.sleep(1)
        return "rested"

    @app.post("/things")
    @public
    @operation(status=201, location="read_thing")
    async def make_thing() -> Thing:
        return Thing(thing_id=1)

    @app.get("/things/<int:thing_id>")
    @public
    @operation
    async def read_thing(thing_id: int) -> Thing:
        return Thing(thing_id=thing_id)

    return app

def make_by_hand() -> Quart:
    url = "http://127.0.0.1:8000"
    values = {"database_url": "sqlite+aiosqlite:///x.db", "service_public_url": url, "service_private_url": url}
    settings = Settings(environment="local", secret_key="0123456789abcdefghijklmnopqrstuv", **values)
    return create_app("service", title="Service", version="1", settings=settings)


def make_failing() -> Quart:
    app = make()

    @app.before_serving
    async def fail() -> None:
        raise RuntimeError("the cellar is flooded")

    return app

def make_slow() -> Quart:
    app = make()

    @app.before_serving
    async def wait() -> None:
        print("starting", flush=True)
        await asyncio.sleep(60)

    return app

def make_clinging() -> Quart:
    app = make()

    @app.after_serving
    async def fail() -> None:
        raise RuntimeError("the door is jammed")

    return app
"""


@contextmanager
def started(
    directory: Path, factory: str, *arguments: str, wrapper: Sequence[str] = (), more: str = "", **variables: str
) -> Iterator["tuple[subprocess.Popen[bytes], Path]"]:
    """Run the command on a service in a directory of its own; yield the process and its output.

    Args:
        directory: The service's own.
        factory: Of the service.
        arguments: Of `ligand serve`.
        wrapper: A command that runs the command.
        more: More code of the service.
        variables: Of the environment.
    """
    (directory / "service.py").write_text(SERVICE + more)
    log = directory / "output"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIGAND_", "PORT"))}
    environment |= {"LIGAND_ENVIRONMENT": "local", "PYTHONPATH": f"{directory}:{ROOT}", **variables}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*wrapper, *LIGAND, "serve", "--app", f"service:{factory}", *arguments],
            cwd=directory,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process, log
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(10)


def wait_for(log: Path, text: str) -> None:
    """Wait until the output holds a text."""
    for _ in range(400):
        if text in log.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"no {text!r} in:\n{log.read_text()}")


def wait_for_address(log: Path, process: "subprocess.Popen[bytes]") -> str:
    """Wait until the service serves; return the first address that its log has."""
    for _ in range(400):
        if found := re.search(r"serving at ([^\s\"]+)", log.read_text()):
            return found[1]
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(f"nothing is served:\n{log.read_text()}")
