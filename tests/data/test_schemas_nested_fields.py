"""Fields that cannot be written: the class says so at import, with the schema, the field and the remedy."""

from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from sqlalchemy import Column, ForeignKey, Table
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    WriteOnlyMapped,
    column_property,
    mapped_column,
    relationship,
)

from ligand_async import CreateSchema, Identified, Model, PatchSchema
from ligand_async.data import FieldNotWritable


class Base(Model, DeclarativeBase):
    """The tables of these tests, which no test configures."""


choice = Table(
    "choice",
    Base.metadata,
    Column("plan_id", ForeignKey("plan.id"), primary_key=True),
    Column("color_id", ForeignKey("color.id"), primary_key=True),
)


class Color(Identified, Base):
    """Shared by plans."""

    __tablename__ = "color"
    name: Mapped[str] = mapped_column(unique=True)
    shade: Mapped[str] = mapped_column(default="")


class Plan(Identified, Base):
    """Has relationships and attributes of every kind."""

    __tablename__ = "plan"
    name: Mapped[str] = mapped_column()
    color_id: Mapped[UUID] = mapped_column(ForeignKey("color.id"))
    doubled: Mapped[str] = column_property(name + name)
    color: Mapped[Color] = relationship()
    colors: Mapped[list[Color]] = relationship(secondary=choice)
    parts: Mapped[list["Part"]] = relationship(cascade="all, delete-orphan")
    loose: Mapped[list["Part"]] = relationship(overlaps="parts")
    seen: Mapped[list["Part"]] = relationship(viewonly=True)
    dynamic: DynamicMapped["Part"] = relationship(cascade="all, delete-orphan", overlaps="parts,loose")
    write_only: WriteOnlyMapped["Part"] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, overlaps="parts,loose,dynamic"
    )
    label: Mapped["Label | None"] = relationship()
    part_names: AssociationProxy[list[str]] = association_proxy("parts", "name")

    @property
    def title(self) -> str:
        """Cannot be set."""
        return self.name

    @hybrid_property
    def short(self) -> str:
        """Cannot be set, either."""
        return self.name

    @property
    def secret(self) -> str:
        """Can be set."""
        return self.name

    @secret.setter
    def secret(self, value: str) -> None:
        self.name = value[::-1]


class Part(Identified, Base):
    """Owned by a plan."""

    __tablename__ = "part"
    name: Mapped[str]
    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plan.id"))


class Label(Identified, Base):
    """One of a plan, which has no foreign key and does not own it."""

    __tablename__ = "label"
    text: Mapped[str]
    plan_id: Mapped[UUID | None] = mapped_column(ForeignKey("plan.id"))


class PartWrite(CreateSchema, model=Part, exclude={"plan_id"}): ...


class PartFull(CreateSchema, model=Part): ...


class PartPatch(PatchSchema, model=Part, exclude={"plan_id"}): ...


class LabelWrite(CreateSchema, model=Label, exclude={"plan_id"}): ...


class ColorKey(CreateSchema, model=Color, include={"id"}):
    id: UUID


class ColorWrite(CreateSchema, model=Color): ...


class ColorMaybe(CreateSchema, model=Color, include={"id"}): ...


class PlainPart(BaseModel):
    name: str


def field(annotation: Any, *, base: type = CreateSchema, name: str, **options: Any) -> Callable[[], Any]:
    """Return what makes a schema of a plan with one field of its own."""

    def make() -> Any:
        body = {"__annotations__": {name: annotation}, "__module__": __name__}
        return type(base)("PlanBody", (base,), body, model=Plan, **{"exclude": {"color_id"}} | options)

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (field(list[PartWrite], name="seen"), r"PlanBody\.seen .*Plan\.seen is viewonly; leave it out, or declare it"),
        (field(list[PartWrite], name="dynamic"), r'Plan\.dynamic is lazy="dynamic", so its rows are not loaded'),
        (field(list[PartWrite], name="write_only"), r'Plan\.write_only is lazy="write_only"'),
        (field(list[str], name="part_names"), r"Plan\.part_names is an association proxy; nest a schema"),
        (field(list[PartWrite], name="loose"), r'would leave rows that no Plan has; .*cascade="all, delete-orphan"'),
        (field(LabelWrite | None, name="label"), r"Plan\.label would leave rows that no Plan has"),
        (field(list[PlainPart], name="parts"), r"Plan\.parts is a relationship, and the field is not made of schemas"),
        (field(list[dict[str, Any]], name="parts"), r"declare a CreateSchema with a model="),
        (field(list[UUID], name="colors"), r"declare a CreateSchema with a model="),
        (field(PlainPart, base=PatchSchema, name="parts"), r"declare a PatchSchema or CreateSchema with a model="),
        (field(list[PartPatch], name="parts"), r"a PatchSchema says what changes.* nest a CreateSchema"),
        (field(list[PartPatch], base=PatchSchema, name="parts"), r"PartPatch lacks the key, id, .*declare the key"),
        (field(list[PartFull], name="parts"), r"PartFull has plan_id, which Plan\.parts sets itself; .*by exclude="),
        (field(list[LabelWrite], name="parts"), r"LabelWrite is a schema of another class than Plan\.parts leads to"),
        (field(ColorKey, name="color", exclude=set()), r"color_id is a field, too, .*exclude={'color_id'}"),
        (field(ColorKey | None, name="color"), r"Plan\.color cannot be empty, .*as required and without None"),
        (field(ColorKey | None, base=PatchSchema, name="color"), r"Plan\.color cannot be empty"),
        (field(list[ColorWrite], name="colors"), r"others may share the rows of Plan\.colors.*let ColorWrite have"),
        (field(list[ColorMaybe], name="colors"), r"let ColorMaybe have the fields of a key and no more, each declared"),
        (field(str, name="title"), r"Plan\.title has no setter"),
        (field(str, name="short"), r"Plan\.short has no setter"),
        (field(str, name="doubled"), r"Plan\.doubled is an SQL expression"),
        (field(str, name="registry"), r"Plan lacks it, as a column, a relationship or a property with a setter"),
        (field(str, base=PatchSchema, name="owner"), r"PlanBody\.owner .*: Plan lacks it, .*exclude=True"),
    ],
)
def test_what_cannot_be_written_is_refused(make: Callable[[], Any], words: str) -> None:
    """Each kind of field that would be lost, or would do harm, is an error at import by name."""
    with pytest.raises(FieldNotWritable, match=words):
        make()


def test_what_can_be_written_is_not_refused() -> None:
    """Schemas of owned rows, of keys, properties with a setter, and what is excluded are fine."""

    class PlanWrite(CreateSchema, model=Plan, exclude={"color_id"}):
        color: ColorKey
        colors: list[ColorKey]
        parts: list[PartWrite]
        secret: str
        seen: list[UUID] = Field(exclude=True)
        answer: ClassVar[int] = 42

    class PlanPatch(PatchSchema, model=Plan, exclude={"color_id"}):
        color: ColorKey
        parts: list[PartWrite]
        seen: list[UUID] = Field(exclude=True)

    assert not Plan.__mapper__.configured
    assert PlanPatch.model_validate({}).model_dump() == {}
    plan = PlanWrite.model_validate(
        {"name": "a", "color": {"id": UUID(int=1)}, "colors": [], "parts": [], "secret": "cba", "seen": []}
    )
    assert plan.seen == []


def test_a_later_class_is_refused_when_it_is_known() -> None:
    """A schema that names what is not defined yet is checked when it is complete."""

    class PlanWrite(CreateSchema, model=Plan, exclude={"color_id"}):
        parts: "list[Later]"

    class Later(CreateSchema, model=Part): ...

    with pytest.raises(FieldNotWritable, match=r"Later has plan_id, which Plan\.parts sets itself"):
        PlanWrite.model_rebuild(_types_namespace={"Later": Later})
