"""What a service, an entity tag and the variables of a tenant cost one request: `python -m bench.costs`.

Operations that differ in one thing are called in turn, in process, on a throw-away PostgreSQL. For each the table has
the calls of Python and C, which do not depend on the machine, and the microseconds of a request, which do: compare
lines of one run only. `more` is the median of the differences between a round of an operation and the same round of
the one that it is compared with.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple
from uuid import UUID

from quart import Blueprint, Quart
from sqlalchemy import ForeignKey, String, make_url, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from bench.counting import answer, count, request
from ligand_async import (
    Database,
    Identified,
    Model,
    Principal,
    ReadSchema,
    Settings,
    Versioned,
    check_preconditions,
    conditional,
    create_app,
    get_or_404,
    operation,
)
from ligand_async.testing import ThrowawayPostgres, authorization
from ligand_async.web import Depends

ROUNDS = 30
REQUESTS = 20  # of one operation in a round
ORDER = UUID(int=1)


class Base(Model, DeclarativeBase):
    """The tables of the service that is measured."""


class Order(Identified, Versioned, Base):
    """A root without an aggregate."""

    __tablename__ = "order"

    customer: Mapped[str] = mapped_column(String(50))


class Basket(Identified, Versioned, Base):
    """The root of an aggregate."""

    __tablename__ = "basket"
    __belongs__: ClassVar = ("lines",)

    customer: Mapped[str] = mapped_column(String(50))
    lines: Mapped[list["Line"]] = relationship()


class Line(Identified, Base):
    """A row that belongs to a basket."""

    __tablename__ = "line"

    basket_id: Mapped[UUID] = mapped_column(ForeignKey("basket.id"), index=True)
    quantity: Mapped[int]


class Part(Identified, Base):
    """A row that belongs to nothing."""

    __tablename__ = "part"

    quantity: Mapped[int]


class OrderRead(ReadSchema, model=Order):
    """An order."""


class Orders:
    """A repository."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def find(self, order_id: UUID) -> OrderRead:
        """Find an order."""
        return await get_or_404(self.session, Order, order_id, into=OrderRead)


class Cleaned:
    """A service with something to clean up."""


async def open_cleaned() -> AsyncIterator[Cleaned]:
    """Make it, and clean up."""
    yield Cleaned()


async def find_order(order_id: UUID, session: AsyncSession) -> OrderRead:
    """Find an order, for one parameter."""
    return await get_or_404(session, Order, order_id, into=OrderRead)


def variables_of(principal: Principal | None) -> Mapping[str, str]:
    """Name the tenant."""
    return {"bench.tenant": principal.subject if principal else ""}


routes = Blueprint("routes", __name__)


@routes.get("/plain/<uuid:order_id>")
@operation
async def read_plain(order_id: UUID, session: AsyncSession) -> OrderRead:
    """Read an order."""
    return await get_or_404(session, Order, order_id, into=OrderRead)


@routes.get("/repository/<uuid:order_id>")
@operation
async def read_by_repository(order_id: UUID, orders: Orders) -> OrderRead:
    """Read an order by a service that takes the session."""
    return await orders.find(order_id)


@routes.get("/depends/<uuid:order_id>")
@operation
async def read_by_depends(order: Annotated[OrderRead, Depends(find_order)]) -> OrderRead:
    """Read an order that a function has found."""
    return order


@routes.get("/cleaned/<uuid:order_id>")
@operation
async def read_and_clean_up(order_id: UUID, session: AsyncSession, cleaned: Cleaned) -> OrderRead:  # noqa: ARG001  (it is made)
    """Read an order, with a service that cleans up."""
    return await get_or_404(session, Order, order_id, into=OrderRead)


@routes.post("/plain/<uuid:order_id>")
@operation(status=204)
async def change_plain(order_id: UUID, session: AsyncSession) -> None:
    """Change an order."""
    order = await get_or_404(session, Order, order_id)
    order.customer = "a" if order.customer != "a" else "b"


@routes.post("/tagged/<uuid:order_id>")
@conditional
@operation(status=204)
async def change_tagged(order_id: UUID, session: AsyncSession) -> None:
    """Change an order under its tag."""
    order = await get_or_404(session, Order, order_id)
    check_preconditions(order)
    order.customer = "a" if order.customer != "a" else "b"


@routes.post("/part/<uuid:order_id>")
@operation(status=204)
async def change_part(order_id: UUID, session: AsyncSession) -> None:
    """Change a row that belongs to nothing."""
    await session.execute(update(Part).where(Part.id == order_id).values(quantity=Part.quantity + 1))


@routes.post("/line/<uuid:order_id>")
@operation(status=204)
async def change_line(order_id: UUID, session: AsyncSession) -> None:
    """Change a row that belongs to a basket, whose version rises with it."""
    await session.execute(
        update(Line).where(Line.id == order_id, Line.basket_id == ORDER).values(quantity=Line.quantity + 1)
    )


class Case(NamedTuple):
    """An operation, and the one that it is compared with."""

    name: str
    method: str
    path: str
    tenants: bool
    base: str | None = None


CASES = (
    Case("read", "GET", "/plain", tenants=False),
    Case("read, repository", "GET", "/repository", tenants=False, base="read"),
    Case("read, Depends", "GET", "/depends", tenants=False, base="read"),
    Case("read, yield", "GET", "/cleaned", tenants=False, base="read"),
    Case("read, variables", "GET", "/plain", tenants=True, base="read"),
    Case("write", "POST", "/plain", tenants=False),
    Case("write, entity tag", "POST", "/tagged", tenants=False, base="write"),
    Case("write, variables", "POST", "/plain", tenants=True, base="write"),
    Case("update a row", "POST", "/part", tenants=False),
    Case("update, aggregate", "POST", "/line", tenants=False, base="update a row"),
)


def make_service(url: str, database: Database) -> Quart:
    """Make the service."""
    settings = Settings.load("testing", database_url=url)
    provide: dict[Any, Any] = {Orders: Orders, Cleaned: open_cleaned}
    return create_app(
        __name__, title="Costs", version="1", settings=settings, database=database, blueprints=[routes], provide=provide
    )


async def fill(url: str) -> str:
    """Make the tables and their rows; return the URL of a role that policies hold."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.exec_driver_sql("CREATE ROLE bench LOGIN PASSWORD 'bench'")
        await connection.exec_driver_sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO bench")
    await engine.dispose()
    return make_url(url).set(username="bench", password="bench").render_as_string(hide_password=False)  # noqa: S106  (of a throw-away server)


async def measure(url: str, rounds: int = ROUNDS) -> tuple[dict[str, int], dict[str, list[float]]]:
    """Return the calls of each case, and its microseconds by round."""
    role = await fill(url)
    databases = {tenants: Database(Base, variables=variables_of if tenants else None) for tenants in (False, True)}
    apps = {tenants: make_service(role, database) for tenants, database in databases.items()}
    calls: dict[str, int] = {}
    micros: dict[str, list[float]] = {case.name: [] for case in CASES}
    async with apps[False].test_app(), apps[True].test_app():
        async with apps[False].app_context(), databases[False].transaction() as session:
            session.add_all([Order(id=ORDER, customer="a"), Basket(id=ORDER, customer="a"), Part(id=ORDER, quantity=1)])
            await session.flush()
            session.add(Line(id=ORDER, basket_id=ORDER, quantity=1))
        asked = {case.name: _request(apps[case.tenants], case) for case in CASES}
        for case in CASES:
            calls[case.name] = (await count(apps[case.tenants], *asked[case.name])).total
        for _ in range(rounds):
            for case in CASES:
                began = time.process_time()
                for _ in range(REQUESTS):
                    await answer(apps[case.tenants], *asked[case.name])
                micros[case.name].append((time.process_time() - began) / REQUESTS * 1e6)
    return calls, micros


def _request(app: Quart, case: Case) -> tuple[dict[str, Any], bytes]:
    scope, body = request(case.method, f"{case.path}/{ORDER}", authorization(app)["Authorization"].encode())
    if case.path == "/tagged":
        scope["headers"].append((b"if-match", b"*"))
    return scope, body


def main() -> None:
    """Measure and print."""
    with ThrowawayPostgres() as postgres:
        calls, micros = asyncio.run(measure(postgres.url()))
    print(f"{'':<20}{'calls':>8}{'more':>8}{'CPU µs':>10}{'more':>8}")
    for case in CASES:
        line = f"{case.name:<20}{calls[case.name]:>8,}"
        taken = statistics.median(micros[case.name])
        if case.base is None:
            print(f"{line}{'':>8}{taken:>10,.0f}")
            continue
        pairs = zip(micros[case.name], micros[case.base], strict=True)
        more = statistics.median(with_it - without for with_it, without in pairs)
        print(f"{line}{calls[case.name] - calls[case.base]:>+8,}{taken:>10,.0f}{more:>+8,.0f}")


if __name__ == "__main__":
    main()
