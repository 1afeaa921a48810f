"""`ligand audit`: reading the trail, exporting it, and deleting what is old."""

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click
from quart import Quart
from quart.cli import ScriptInfo, pass_script_info
from sqlalchemy.exc import SQLAlchemyError

from ligand_async.cli.output import ServiceError, format_option, one_message, print_table
from ligand_async.cli.service import load_app, open_database, run
from ligand_async.data import Database
from ligand_async.data.audit import (
    PRUNED_AT_ONCE,
    AuditEvent,
    AuditTrail,
    EventFilter,
    KeyNotUsable,
    NotAuthentic,
    Tally,
    read_in_order,
    read_key,
    verify_export,
    write_line,
    write_signature,
)

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _read_moment(text: str) -> datetime:
    """Read a date or a time in ISO 8601, in UTC unless it has an offset, or an age such as `90d`.

    Raises:
        BadParameter: The text is neither.
    """
    try:
        if ago := _AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{_SPANS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{text!r} is not a date, a time or an age; write 2026-01-31, 2026-01-31T12:00:00+01:00, or 90d"
        ) from error


Command = TypeVar("Command", bound=Callable[..., Any])

_COLUMNS = ("at", "subject", "action", "entity", "key", "changes")
_WIDEST = 60  # characters of a value in a table


def _filter_options(command: Command) -> Command:
    for option in (
        click.option("--until", type=_read_moment, metavar="MOMENT", help="Only before this moment."),
        click.option(
            "--since", type=_read_moment, metavar="MOMENT", help="Only from this moment on, such as 2026-01-31 or 7d."
        ),
        click.option("--action", help="Only this action: insert, update, delete, access_denied, …"),
        click.option("--principal", help="Only the actions of this subject."),
        click.option("--key", help="Only this primary key; a JSON array if it has several columns."),
        click.option("--entity", help="Only this model class."),
    ):
        command = option(command)
    return command


@click.group("audit")
def audit() -> None:
    """Read and look after the audit trail."""


@audit.command("show")
@_filter_options
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="The most events to print; the newest are."
)
@format_option
@pass_script_info
def show(info: ScriptInfo, /, limit: int, form: str, **asked: Any) -> None:
    """Print who did what, the newest last."""
    app = load_app(info)
    events = run(lambda: _read_newest(app, EventFilter(**asked), limit))
    if form == "json":
        click.echo(json.dumps([event.document() for event in events], indent=2, ensure_ascii=False))
        return
    print_table(_COLUMNS, [_cells_of(event) for event in events])


@audit.command("export")
@_filter_options
@click.option("-o", "--output", type=click.File("wb", lazy=False), default="-", help="The file; by default stdout.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Sign with the key in this file (JWK, PEM, secret).",
)
@pass_script_info
def export(info: ScriptInfo, /, output: BinaryIO, key_file: Path | None, **asked: Any) -> None:
    """Write events as JSON Lines, the oldest first; with a key, a signature of all is the last line."""
    app = load_app(info)
    key = None if key_file is None else _read_key_file(key_file)
    with _key_errors():
        count = run(lambda: _write_all(app, EventFilter(**asked), output, key))
    click.echo(f"{count} events", err=True)


@audit.command("verify")
@click.argument("file", type=click.File("rb"))
@click.option("--key-file", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The (public) key.")
def verify(file: BinaryIO, key_file: Path) -> None:
    """Check that an export is exactly what was signed."""
    key = _read_key_file(key_file)
    with _key_errors():
        click.echo(f"authentic: {verify_export(iter(file), key)} events")


@audit.command("prune")
@click.option(
    "--before",
    type=_read_moment,
    metavar="MOMENT",
    required=True,
    help="Delete events from before this moment, such as 2026-01-31 or 365d.",
)
@click.option("--yes", is_flag=True, help="Delete without asking for confirmation.")
@pass_script_info
def prune(info: ScriptInfo, before: datetime, yes: bool) -> None:
    """Delete old events, in many short transactions. Export them first."""
    app = load_app(info)
    count = run(lambda: _count_all(app, before))
    if count and not yes:
        click.confirm(f"Delete {count} events from before {before.isoformat(timespec='seconds')}?", abort=True)
    click.echo(f"deleted {run(lambda: _prune_all(app, before)) if count else 0}")


async def _read_newest(app: Quart, asked: EventFilter, limit: int) -> list[AuditEvent]:
    """Return the newest events, the newest last."""
    async with _open_trail(app) as (database, trail), database.read() as session:
        rows = await session.execute(trail.select(asked).limit(limit))
        return [AuditEvent.of(row) for row in rows][::-1]


async def _write_all(app: Quart, asked: EventFilter, output: BinaryIO, key: Any) -> int:
    """Write events of one moment of the database, and a signature where there is a key; return how many."""
    tally = Tally()
    async with _open_trail(app) as (database, trail), database.read(mode="snapshot") as session:
        statement = trail.select(asked, newest=False)
        async for event in read_in_order(session, trail.table, statement):
            line = write_line(event)
            output.write(line)
            tally.add(line)
    if key is not None:
        output.write(write_signature(tally, key))
    output.flush()
    return tally.events


async def _count_all(app: Quart, before: datetime) -> int:
    """Return how many events are older than a moment."""
    async with _open_trail(app) as (database, trail), database.read() as session:
        return await trail.count_before(session, before)


async def _prune_all(app: Quart, before: datetime) -> int:
    """Delete older events, many short transactions after each other, and return how many."""
    pruned = 0
    async with _open_trail(app) as (database, trail):
        while True:
            async with database.transaction() as session:
                found = await trail.prune(session, before)
            pruned += found
            if found < PRUNED_AT_ONCE:  # and not 0: each time leaves an event, which may be old enough, too
                return pruned


@asynccontextmanager
async def _open_trail(app: Quart) -> AsyncIterator[tuple[Database, AuditTrail]]:
    """Open the database of an app and find its trail.

    Raises:
        ServiceError: The service has no audit trail.
        ClickException: The database refused.
    """
    async with open_database(app) as database:
        if database.audit is None:
            raise ServiceError("the service keeps no audit trail: its Database has no audit=AuditTrail()")
        with one_message(failure=(SQLAlchemyError,)):
            yield database, database.audit


def _read_key_file(path: Path) -> Any:
    """Return the key in a file.

    Raises:
        ClickException: The file cannot be read, or holds no key.
    """
    with _key_errors():
        try:
            return read_key(path.read_bytes())
        except OSError as error:
            raise click.ClickException(f"{path} cannot be read: {error.strerror}") from error


def _key_errors() -> AbstractContextManager[None]:
    return one_message(failure=(KeyNotUsable, NotAuthentic))


def _cells_of(event: AuditEvent) -> list[str]:
    cells = (event.at.isoformat(timespec="milliseconds"), event.subject, event.action, event.entity, event.key)
    return [cell or "-" for cell in cells] + [_describe(event)]


def _describe(event: AuditEvent) -> str:
    old, new = event.old or {}, event.new or {}
    if event.action == "update":
        names = dict.fromkeys((*old, *new))
        return ", ".join(f"{name}: {_shown(old, name)} → {_shown(new, name)}" for name in names)
    values = new or old
    return ", ".join(f"{name}: {_shown(values, name)}" for name in values)


def _shown(values: dict[str, Any], name: str) -> str:
    text = json.dumps(values[name], ensure_ascii=False) if name in values else "?"
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
