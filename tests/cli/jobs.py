"""A service with functions for `ligand run` and commands in `app.cli`; the variable JOBS_DATABASE has its database."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from datetime import date
from typing import Annotated, Any, Literal

import click
from quart import Blueprint, current_app
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import Conflict, NotFound, Principal, Settings
from ligand_async.errors import InvalidPart, ValidationFailed
from ligand_async.web import Depends, LigandQuart, app_scope
from tests.services import Item, db, make_app


class Mailer:
    """Lives as long as the app."""

    name = "mailer"


class Stock:
    """A repository."""

    def __init__(self, session: AsyncSession, settings: Settings) -> None:
        self.session = session
        self.environment = settings.environment

    async def add(self, name: str, price: int = 0) -> None:
        self.session.add(Item(name=name, price=price))
        await self.session.flush()


class Caller(str):
    """Made of a principal."""

    __slots__ = ()


async def open_mailer() -> AsyncIterator[Mailer]:
    click.echo("open")
    yield Mailer()
    click.echo("close")


def caller_of(principal: Principal) -> Caller:
    return Caller(principal.subject)


reports = Blueprint("reports", __name__)
shelves = Blueprint("shelves", __name__, cli_group=None)


def create_app() -> LigandQuart:
    """Make the service."""
    provide = {Mailer: app_scope(open_mailer), Stock: Stock, Caller: caller_of}
    app = make_app(os.environ["JOBS_DATABASE"], reports, shelves, provide=provide)

    @app.cli.command("add")
    @click.argument("name")
    @click.option("--price", default=1)
    async def add_item(name: str, price: int, stock: Stock, mailer: Mailer) -> None:
        """Add an item."""
        await stock.add(name, price)
        click.echo(f"added by {mailer.name} of {current_app.name} in {stock.environment}")

    @app.cli.command("context")
    @click.option("--loud", is_flag=True)
    @click.pass_context
    async def show_context(ctx: click.Context, loud: bool, stock: Stock) -> None:
        click.echo(f"{ctx.info_name} {loud} {await stock.session.scalar(select(func.count()).select_from(Item))}")
        ctx.exit(3)

    @app.cli.command("plain")
    def plain() -> None:
        """Stay what it is in Quart."""
        click.echo(f"plain {app.is_started}")

    return app


def make_broken() -> LigandQuart:
    """Make a service that does not start."""
    app = create_app()

    @app.before_serving
    async def fail() -> None:
        raise RuntimeError("no licence")

    return app


def make_stubborn() -> LigandQuart:
    """Make a service that does not stop."""
    app = create_app()

    @app.after_serving
    async def hang() -> None:
        click.echo("hanging")
        await asyncio.sleep(60)

    return app


@reports.cli.command("count")
async def count_items(session: AsyncSession) -> None:
    """Count the items."""
    click.echo(await session.scalar(select(func.count()).select_from(Item)))


@shelves.cli.group("shelf")
def shelf() -> None:
    """Work on shelves."""


@shelf.command("sort")
@click.pass_obj
async def sort_shelf(obj: Any, mailer: Mailer) -> None:
    click.echo(f"{type(obj).__name__} {mailer.name}")


async def make_tables() -> None:
    await db.create_tables()


async def add(name: str, stock: Stock, price: int = 3, on: date | None = None) -> str:
    await stock.add(name, price)
    return f"{name} {price} {on}"


async def count(session: AsyncSession) -> int:
    return await session.scalar(select(func.count()).select_from(Item)) or 0


async def add_and_fail(name: str, stock: Stock, how: Literal["problem", "bug", "exit", "invalid"] = "problem") -> None:
    await stock.add(name)
    if how == "problem":
        raise Conflict("the shop is closed")
    if how == "exit":
        raise SystemExit(7)
    if how == "invalid":
        raise ValidationFailed("the list is wrong", errors=[InvalidPart("must be a name", code="name", pointer="/0")])
    raise ZeroDivisionError


async def first(name: str) -> str:
    if name != "first":
        raise NotFound
    return name


async def use_first(item: Annotated[str, Depends(first)], name: str) -> str:
    return f"{item} {name}"


def describe(day, mailer: Mailer, settings: Settings):  # type: ignore[no-untyped-def]  # as in a script
    return f"{day!r} {mailer.name} {settings.environment}"


async def greet(caller: Caller) -> str:
    return caller


async def greet_anybody(principal: Principal | None) -> bool:
    return principal is None


async def need(unknown: asyncio.Lock) -> None: ...


async def wait(mailer: Mailer, stock: Stock) -> None:
    await stock.add("waiting")
    click.echo("waiting")
    try:
        await asyncio.sleep(60)
    finally:
        click.echo("cancelled")


def wait_in_python(mailer: Mailer) -> None:
    click.echo("waiting")
    time.sleep(60)


NUMBER = 5
command = click.Command("single")
