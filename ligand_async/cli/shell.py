"""`ligand shell`: a console with the service in it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import click
from quart import Quart
from quart.cli import ScriptInfo, pass_script_info
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.cli.console import Console, enable_line_editing
from ligand_async.cli.running import open_database, run, service_with_database
from ligand_async.cli.service import load_app
from ligand_async.context import service_of
from ligand_async.data.database import Database
from ligand_async.data.flushes import observers_of, watch_session
from ligand_async.data.sessions import OwnedSession


@click.command("shell")
@pass_script_info
def shell(info: ScriptInfo) -> None:
    """Open a Python console that awaits, with app, db, a session and the models.

    What the session did is rolled back at the end unless `await session.commit()` was run. A program piped in is run
    as a whole; if it raises, the exit code is 1.
    """
    app = load_app(info)
    service_with_database(app)
    succeeded = run(lambda: run_piped(app) if not sys.stdin.isatty() else run_console(app))
    if not succeeded:
        raise click.exceptions.Exit(1)


async def run_piped(app: Quart) -> bool:
    """Run the program on stdin; tell whether it ended without an exception."""
    source = await asyncio.to_thread(sys.stdin.read)
    async with open_names(app) as names:
        return await Console(names).run_program(source)


async def run_console(app: Quart) -> bool:
    """Let somebody type."""
    async with open_names(app) as names:
        enable_line_editing(names)
        await Console(names).interact(banner_of(app, names))
    return True


@asynccontextmanager
async def open_names(app: Quart) -> AsyncIterator[dict[str, Any]]:
    """Open the database and yield what the console knows by name."""
    async with open_database(app) as database, open_session(app, database) as session:
        models = {mapper.class_.__name__: mapper.class_ for mapper in database.base.registry.mappers}
        yield models | {"__name__": "__console__", "app": app, "db": database, "session": session}


class ConsoleSession(AsyncSession):
    """The session of a console."""

    sync_session_class = OwnedSession
    sync_session: OwnedSession


@asynccontextmanager
async def open_session(app: Quart, database: Database) -> AsyncIterator[AsyncSession]:
    """Open a session that is committed by hand, and otherwise not at all; who sees flushes sees its, too."""
    async with ConsoleSession(database.engines().write, expire_on_commit=False) as session:
        watch_session(session.sync_session, observers_of(app), logs=False)
        yield session


def banner_of(app: Quart, names: dict[str, Any]) -> str:
    """Return what is printed first."""
    service = service_of(app)
    known = ", ".join(name for name in names if name != "__name__")
    return (
        f"{service.title} {service.version} ({service.settings.environment}). Here are: {known}.\n"
        "`await` works. The session's transaction begins with its first statement and holds what it locks:\n"
        "`await session.commit()` keeps what it did; `await session.rollback()`, or leaving, does not."
    )
