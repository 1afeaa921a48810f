"""The shop over HTTP: bodies with nested bodies, and the operations that take them."""

from typing import Annotated
from uuid import UUID

from pydantic import MISSING, Field
from quart import Blueprint
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import (
    CreateSchema,
    NotFound,
    PatchSchema,
    ReadSchema,
    check_preconditions,
    conditional,
    get_or_404,
    operation,
    public,
)
from tests.data.shop_models import Address, Customer, Discount, Line, Note, Order, Step, Tag, Terms


class DiscountRead(ReadSchema, model=Discount): ...


class LineRead(ReadSchema, model=Line):
    discounts: list[DiscountRead]


class AddressRead(ReadSchema, model=Address): ...


class TermsRead(ReadSchema, model=Terms): ...


class NoteRead(ReadSchema, model=Note, exclude={"id"}): ...


class StepRead(ReadSchema, model=Step): ...


class TagRead(ReadSchema, model=Tag): ...


class CustomerRead(ReadSchema, model=Customer): ...


class OrderRead(ReadSchema, model=Order):
    customer: CustomerRead
    terms: TermsRead | None
    address: AddressRead | None
    lines: list[LineRead]
    notes: list[NoteRead]
    steps: list[StepRead]
    tags: list[TagRead]


class DiscountWrite(CreateSchema, model=Discount, exclude={"line_id"}):
    id: UUID | MISSING = MISSING


class LineWrite(CreateSchema, model=Line, exclude={"order_id"}):
    id: UUID | MISSING = MISSING
    discounts: Annotated[list[DiscountWrite], Field(max_length=5)] | MISSING = MISSING


class AddressWrite(CreateSchema, model=Address, exclude={"order_id"}): ...


class TermsWrite(CreateSchema, model=Terms): ...


class NoteWrite(CreateSchema, model=Note, exclude={"order_id"}): ...


class StepWrite(CreateSchema, model=Step, exclude={"order_id"}): ...


class TagKey(CreateSchema, model=Tag, include={"id"}):
    id: UUID


class CustomerKey(CreateSchema, model=Customer, include={"name"}):
    """Names a customer by what is unique."""


class OrderWrite(CreateSchema, model=Order, exclude={"customer_id", "terms_id"}):
    customer: CustomerKey
    terms: TermsWrite | None = None
    address: AddressWrite | None = None
    lines: Annotated[list[LineWrite], Field(max_length=9)]
    notes: list[NoteWrite] | MISSING = MISSING
    steps: list[StepWrite] | MISSING = MISSING
    tags: list[TagKey] | MISSING = MISSING


class DiscountPatch(PatchSchema, model=Discount, exclude={"line_id"}):
    id: UUID


class LinePatch(PatchSchema, model=Line, exclude={"order_id"}):
    id: UUID
    discounts: list[DiscountPatch]


class AddressPatch(PatchSchema, model=Address, exclude={"order_id"}): ...


class OrderPatch(PatchSchema, model=Order, exclude={"customer_id", "terms_id"}):
    customer: CustomerKey
    terms: TermsWrite | None
    address: AddressPatch | None
    lines: list[LinePatch]
    notes: list[NoteWrite]
    tags: list[TagKey]


orders = public(Blueprint("orders", __name__, url_prefix="/orders"))


@orders.post("/")
@operation(status=201, location="orders.read_order")
async def create_order(data: OrderWrite, session: AsyncSession) -> OrderRead:
    """Order something."""
    await data.load(session)
    order = data.new(Order)
    session.add(order)
    await session.flush()
    return OrderRead.model_validate(order)


@orders.get("/<uuid:order_id>")
@operation(raises=[NotFound])
async def read_order(order_id: UUID, session: AsyncSession) -> OrderRead:
    """Read an order."""
    return await get_or_404(session, Order, order_id, into=OrderRead)


@orders.put("/<uuid:order_id>")
@conditional
@operation(raises=[NotFound])
async def replace_order(order_id: UUID, data: OrderWrite, session: AsyncSession) -> OrderRead:
    """Order something else."""
    order = await get_or_404(session, Order, order_id)
    check_preconditions(order)
    await data.load(session, order)
    data.replace(order)
    await session.flush()
    return OrderRead.model_validate(order)


@orders.patch("/<uuid:order_id>")
@conditional
@operation(raises=[NotFound])
async def change_order(order_id: UUID, data: OrderPatch, session: AsyncSession) -> OrderRead:
    """Change an order."""
    order = await get_or_404(session, Order, order_id)
    check_preconditions(order)
    await data.load(session, order)
    data.apply(order)
    return await OrderRead.load(session, order)


@orders.post("/<uuid:order_id>/lines")
@operation(status=201, raises=[NotFound])
async def add_line(order_id: UUID, data: LineWrite, session: AsyncSession) -> LineRead:
    """Add a line to an order, whatever else it has by now."""
    line = data.new(Line)
    line.order_id = order_id
    session.add(line)
    await session.flush()
    return LineRead.model_validate(line)
