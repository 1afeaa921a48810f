"""Rows of every make: subclasses, dataclasses, sets, dictionaries, numbered lists, trees, keys of several columns."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import pytest
from pydantic import MISSING, Field
from sqlalchemy import (
    JSON,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    event,
    inspect,
    select,
)
from sqlalchemy.ext.orderinglist import ordering_list
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    attribute_keyed_dict,
    backref,
    mapped_column,
    relationship,
    selectinload,
)

from ligand_async import CreateSchema, Database, Identified, Model, PatchSchema, ReadSchema
from ligand_async.data import LazyLoadRefused
from ligand_async.errors import ValidationFailed
from tests.services import make_app


class Base(Model, DeclarativeBase):
    """The tables of these tests."""


wearing = Table(
    "wearing",
    Base.metadata,
    Column("box_id", ForeignKey("box.id"), primary_key=True),
    Column("mark_id", ForeignKey("mark.id"), primary_key=True),
)


class Mark(Identified, Base):
    """Shared by boxes, which know it by a relationship in both directions."""

    __tablename__ = "mark"
    name: Mapped[str] = mapped_column(String(10), unique=True)
    boxes: Mapped[list["Box"]] = relationship(secondary=wearing, back_populates="marks")


class Box(Identified, Base):
    """Has collections of every kind."""

    __tablename__ = "box"
    name: Mapped[str] = mapped_column(default="box")
    pages: Mapped[list["Page"]] = relationship(
        cascade="all, delete-orphan", order_by="Page.position", collection_class=ordering_list("position", count_from=1)
    )
    codes: Mapped[set["Code"]] = relationship(cascade="all, delete-orphan")
    texts: Mapped[dict[str, "Text"]] = relationship(
        cascade="all, delete-orphan", collection_class=attribute_keyed_dict("language")
    )
    things: Mapped[list["Thing"]] = relationship(
        cascade="all, delete-orphan", order_by="Thing.rank", foreign_keys="Thing.box_id"
    )
    lid: Mapped["Lid | None"] = relationship(cascade="all, delete-orphan")
    main: Mapped["Thing | None"] = relationship(cascade="all, delete-orphan", foreign_keys="Thing.main_of_id")
    marks: Mapped[set[Mark]] = relationship(secondary=wearing, back_populates="boxes")


class Page(Identified, Base):
    """Numbered by its place in the list; no two of a box have one number."""

    __tablename__ = "page"
    __table_args__ = (UniqueConstraint("box_id", "position"),)
    box_id: Mapped[UUID] = mapped_column(ForeignKey("box.id"))
    position: Mapped[int]
    text: Mapped[str]
    notes: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class Code(Identified, Base):
    """In a set; no two have one text."""

    __tablename__ = "code"
    box_id: Mapped[UUID] = mapped_column(ForeignKey("box.id"))
    text: Mapped[str] = mapped_column(String(8), unique=True)


class Text(Base):
    """In a dictionary, and its key is that of the row."""

    __tablename__ = "text"
    box_id: Mapped[UUID] = mapped_column(ForeignKey("box.id"), primary_key=True)
    language: Mapped[str] = mapped_column(String(2), primary_key=True)
    text: Mapped[str]


class Thing(Identified, Base):
    """Of one kind or another, and its foreign keys to a box are two."""

    __tablename__ = "thing"
    __mapper_args__: Any = {"polymorphic_on": "kind", "polymorphic_identity": "thing"}  # noqa: RUF012  (the base has it so)
    box_id: Mapped[UUID | None] = mapped_column(ForeignKey("box.id"))
    main_of_id: Mapped[UUID | None] = mapped_column(ForeignKey("box.id"), unique=True)
    kind: Mapped[str] = mapped_column(String(10))
    rank: Mapped[int]


class Lamp(Thing):
    """In a table of its own."""

    __tablename__ = "lamp"
    __mapper_args__: Any = {"polymorphic_identity": "lamp", "polymorphic_load": "selectin"}  # noqa: RUF012  (the same)
    id: Mapped[UUID] = mapped_column(ForeignKey("thing.id"), primary_key=True)
    watts: Mapped[int]


class Chair(Thing):
    """In its parent's table."""

    __mapper_args__: Any = {"polymorphic_identity": "chair", "polymorphic_load": "inline"}  # noqa: RUF012  (the same)
    legs: Mapped[int | None]


class Lid(Base):
    """Has the key of its box."""

    __tablename__ = "lid"
    box_id: Mapped[UUID] = mapped_column(ForeignKey("box.id"), primary_key=True)
    color: Mapped[str] = mapped_column(default="white")


class Folder(Identified, Base):
    """Owns others of its kind, and is the first of two that a backref adds a relationship to."""

    __tablename__ = "folder"
    name: Mapped[str]
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("folder.id"))
    folders: Mapped[list["Folder"]] = relationship(cascade="all, delete-orphan", order_by="Folder.name")


class File(Identified, Base):
    """Adds `files` to its folder."""

    __tablename__ = "file"
    name: Mapped[str]
    folder_id: Mapped[UUID] = mapped_column(ForeignKey("folder.id"))
    folder: Mapped[Folder] = relationship(backref=backref("files", cascade="all, delete-orphan", order_by="File.name"))


class Deck(MappedAsDataclass, Base, kw_only=True):
    """A dataclass that cannot be made without its cards."""

    __tablename__ = "deck"
    house: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    cards: Mapped[list["Card"]] = relationship(cascade="all, delete-orphan", order_by="Card.suit")


class Card(MappedAsDataclass, Base, kw_only=True):
    """Refers to a deck by two columns."""

    __tablename__ = "card"
    __table_args__ = (ForeignKeyConstraint(["house", "number"], ["deck.house", "deck.number"]),)
    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    house: Mapped[str] = mapped_column(init=False)
    number: Mapped[int] = mapped_column(init=False)
    suit: Mapped[str]
    rank: Mapped[int] = mapped_column(default=1)


db = Database(Base)


class PageWrite(CreateSchema, model=Page, exclude={"box_id", "position"}):
    id: Annotated[UUID | MISSING, Field(alias="pageId")] = MISSING


class CodeWrite(CreateSchema, model=Code, exclude={"box_id"}): ...


class TextWrite(CreateSchema, model=Text, exclude={"box_id"}): ...


class ThingWrite(CreateSchema, model=Thing, include={"id", "rank"}):
    sort: Literal["thing"] = Field("thing", exclude=True)


class LampWrite(CreateSchema, model=Lamp, include={"id", "rank", "watts"}):
    sort: Literal["lamp"] = Field(exclude=True)


class ChairWrite(CreateSchema, model=Chair, include={"rank", "legs"}):
    sort: Literal["chair"] = Field(exclude=True)


class LidWrite(CreateSchema, model=Lid, exclude={"box_id"}): ...


class MarkKey(CreateSchema, model=Mark, include={"name"}): ...


AnyThing = Annotated[ThingWrite | LampWrite | ChairWrite, Field(discriminator="sort")]


class BoxWrite(CreateSchema, model=Box):
    pages: list[PageWrite] | MISSING = MISSING
    codes: list[CodeWrite] = []  # noqa: RUF012  (pydantic copies it)
    texts: Annotated[list[TextWrite] | MISSING, Field(alias="texts/all")] = MISSING
    things: list[AnyThing] = []  # noqa: RUF012  (the same)
    lid: LidWrite | None = None
    main: AnyThing | None = None
    marks: list[MarkKey] = []  # noqa: RUF012  (the same)


class PagePatch(PatchSchema, model=Page, exclude={"box_id", "position"}):
    id: Annotated[UUID, Field(alias="pageId")]


class LidPatch(PatchSchema, model=Lid, exclude={"box_id"}): ...


class BoxPatch(PatchSchema, model=Box):
    pages: Annotated[list[PagePatch], Field(alias="allPages")]
    lid: LidPatch | None


class FileWrite(CreateSchema, model=File, exclude={"folder_id"}): ...


class FolderWrite(CreateSchema, model=Folder, exclude={"parent_id"}):
    id: UUID | MISSING = MISSING
    folders: "list[FolderWrite] | MISSING" = MISSING
    files: list[FileWrite] | MISSING = MISSING


class FileRead(ReadSchema, model=File, include={"name"}): ...


class FolderRead(ReadSchema, model=Folder, include={"name"}):
    folders: "list[FolderRead]"
    files: list[FileRead]


class CardWrite(CreateSchema, model=Card): ...


class DeckWrite(CreateSchema, model=Deck):
    cards: list[CardWrite]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[None]:
    """A started service with the marks m and n."""
    app = make_app(database_url, database=db)
    async with app.test_app(), app.app_context():
        await db.create_tables()
        async with db.transaction() as session:
            session.add_all([Mark(name="m"), Mark(name="n")])
        yield


FULL: dict[str, Any] = {
    "name": "a",
    "pages": [{"text": "x"}, {"text": "y"}, {"text": "z"}],
    "codes": [{"text": "one"}, {"text": "two"}],
    "texts/all": [{"language": "en", "text": "box"}, {"language": "de", "text": "Kiste"}],
    "things": [
        {"sort": "lamp", "rank": 2, "watts": 5},
        {"sort": "chair", "rank": 1, "legs": 3},
        {"sort": "thing", "rank": 3},
    ],
    "lid": {"color": "red"},
    "main": {"sort": "lamp", "rank": 9, "watts": 1},
    "marks": [{"name": "n"}, {"name": "m"}],
}


async def make(body: dict[str, Any] = FULL) -> UUID:
    data = BoxWrite.model_validate(body)
    async with db.transaction() as session:
        await data.load(session)
        box = data.new(Box)
        session.add(box)
        await session.flush()
        shown = show(box)
    assert await stored(box.id) == shown
    return box.id


async def replace(key: UUID, body: dict[str, Any]) -> dict[str, Any]:
    data = BoxWrite.model_validate(body)
    async with db.transaction() as session:
        box = await session.get_one(Box, key)
        await data.load(session, box)
        data.replace(box)
        await session.flush()
        shown = show(box)
    assert await stored(key) == shown
    return shown


def show(box: Box) -> dict[str, Any]:
    """Return what a box holds."""
    return {
        "pages": [(page.position, page.text) for page in box.pages],
        "codes": {code.text for code in box.codes},
        "texts": {language: text.text for language, text in box.texts.items()},
        "things": [(type(thing).__name__, thing.rank, getattr(thing, "watts", None)) for thing in box.things],
        "lid": box.lid and box.lid.color,
        "main": box.main and (type(box.main).__name__, box.main.rank),
        "marks": {mark.name for mark in box.marks},
    }


async def stored(key: UUID) -> dict[str, Any]:
    async with db.read() as session:
        names = inspect(Box).relationships.keys()
        options = [selectinload(getattr(Box, name)) for name in names]
        return show((await session.scalars(select(Box).where(Box.id == key).options(*options))).one())


async def test_collections_of_every_kind_are_built_and_replaced(database: None) -> None:
    """Lists that number their rows, sets, dictionaries, subclasses, and rows with the key of their entity."""
    key = await make()
    assert await stored(key) == {
        "pages": [(1, "x"), (2, "y"), (3, "z")],
        "codes": {"one", "two"},
        "texts": {"en": "box", "de": "Kiste"},
        "things": [("Chair", 1, None), ("Lamp", 2, 5), ("Thing", 3, None)],
        "lid": "red",
        "main": ("Lamp", 9),
        "marks": {"m", "n"},
    }
    async with db.read() as session:
        pages = list(await session.scalars(select(Page).order_by(Page.position)))
        lamp = (await session.scalars(select(Lamp).where(Lamp.rank == 2))).one()
    changed = await replace(
        key,
        {
            "pages": [{"pageId": pages[2].id, "text": "z"}, {"text": "new"}, {"pageId": pages[0].id, "text": "x"}],
            "codes": [{"text": "two"}, {"text": "three"}],
            "texts/all": [{"language": "fr", "text": "boîte"}, {"language": "en", "text": "chest"}],
            "things": [{"sort": "lamp", "id": lamp.id, "rank": 1, "watts": 7}],
            "lid": {},
            "main": {"sort": "chair", "rank": 4},
            "marks": [{"name": "m"}],
        },
    )
    assert changed == {
        "pages": [(1, "z"), (2, "new"), (3, "x")],
        "codes": {"two", "three"},
        "texts": {"fr": "boîte", "en": "chest"},
        "things": [("Lamp", 1, 7)],
        "lid": "white",
        "main": ("Chair", 4),
        "marks": {"m"},
    }
    assert (await replace(key, {}))["main"] is None


async def test_a_key_of_another_class_is_refused(database: None) -> None:
    """A lamp cannot become a thing of another class under its key; the member is named as it was sent."""
    key = await make()
    async with db.read() as session:
        lamp = (await session.scalars(select(Lamp).where(Lamp.rank == 2))).one()
        thing = (await session.scalars(select(Thing).where(Thing.rank == 3))).one()
    for body, pointer in (
        ({"things": [{"sort": "lamp", "id": thing.id, "rank": 1, "watts": 7}]}, "/things/0/id"),
        ({"pages": [{"pageId": lamp.id, "text": "x"}]}, "/pages/0/pageId"),
        ({"texts/all": [{"language": "en", "text": "x"}] * 2}, "/texts~1all/1/language"),
    ):
        with pytest.raises(ValidationFailed) as caught:
            await replace(key, body)
        assert [part.pointer for part in caught.value.errors] == [pointer]


async def test_members_of_a_nested_patch_are_those_of_json(database: None) -> None:
    """Aliases hold in nested patches, JSON is merged in them, and the pointer has what was sent."""
    key = await make({"pages": [{"text": "x", "notes": {"a": 1, "b": 2}}]})
    async with db.transaction() as session:
        box = await session.get_one(Box, key)
        page = (await session.scalars(select(Page))).one()
        data = BoxPatch.model_validate_json(f'{{"allPages": [{{"pageId": "{page.id}", "notes": {{"a": null}}}}]}}')
        await data.load(session, box)
        data.apply(box)
        await session.flush()
        assert [(one.text, one.notes, one.position) for one in box.pages] == [("x", {"b": 2}, 1)]
        wrong = BoxPatch.model_validate({"allPages": [{"pageId": uuid4()}, {"text": "y"}]})
        with pytest.raises(ValidationFailed) as caught:
            wrong.apply(box)
        assert [part.pointer for part in caught.value.errors] == ["/allPages/0/pageId"]


async def test_a_tree_is_written_as_deep_as_it_is(database: None) -> None:
    """A schema may nest itself, and relationships that a backref adds are written like others."""
    body = {
        "name": "root",
        "folders": [{"name": "b", "folders": [{"name": "d"}, {"name": "c"}]}, {"name": "a"}],
        "files": [{"name": "y"}, {"name": "x"}],
    }
    async with db.transaction() as session:
        root = FolderWrite.model_validate(body).new(Folder)
        session.add(root)
        await session.flush()
        made = FolderRead.model_validate(root).model_dump()
    assert [(one["name"], [inner["name"] for inner in one["folders"]]) for one in made["folders"]] == [
        ("a", []),
        ("b", ["c", "d"]),
    ]
    assert [one["name"] for one in made["files"]] == ["x", "y"]

    async with db.transaction() as session:
        root = await session.get_one(Folder, root.id)
        inner = (await session.scalars(select(Folder).where(Folder.name == "b"))).one()
        moved = FolderWrite.model_validate({"name": "r", "folders": [{"name": "b", "id": inner.id}]})
        await moved.load(session, root)
        moved.replace(root)
        await session.flush()
        assert FolderRead.model_validate(root).model_dump() == {
            "name": "r",
            "folders": [{"name": "b", "folders": [], "files": []}],
            "files": [],
        }
    async with db.read() as session:
        assert set(await session.scalars(select(Folder.name))) == {"r", "b"}


async def test_dataclasses_and_keys_of_two_columns(database: None) -> None:
    """A dataclass gets the rows that it cannot be made without, and its foreign key has two columns."""
    async with db.transaction() as session:
        deck = DeckWrite.model_validate(
            {"house": "h", "number": 1, "cards": [{"suit": "b"}, {"suit": "a", "rank": 2}]}
        ).new(Deck)
        session.add(deck)
        await session.flush()
        assert [(card.suit, card.rank, card.house) for card in deck.cards] == [("a", 2, "h"), ("b", 1, "h")]
        other = DeckWrite.model_validate({"house": "h", "number": 1, "cards": [{"suit": "c"}]})
        other.replace(deck)
        await session.flush()
        assert [card.suit for card in deck.cards] == ["c"]
        with pytest.raises(ValidationFailed) as caught:
            DeckWrite.model_validate({"house": "i", "number": 1, "cards": []}).replace(deck)
        assert [part.pointer for part in caught.value.errors] == ["/house"]


async def test_what_was_not_loaded_is_an_error_with_the_remedy(database: None) -> None:
    """`replace()`, `apply()` and `new()` do not guess: they say what to load, and have changed nothing."""
    key = await make()
    async with db.transaction() as session:
        box = await session.get_one(Box, key)
        with pytest.raises(LazyLoadRefused, match=r"BoxWrite writes Box\.pages.* await data\.load\(session, entity\)"):
            BoxWrite.model_validate({"name": "b"}).replace(box)
        with pytest.raises(LazyLoadRefused, match=r"BoxPatch writes Box\.lid, which was not loaded"):
            BoxPatch.model_validate({"lid": None}).apply(box)
        with pytest.raises(LazyLoadRefused, match=r"BoxWrite names a row of Mark by its key, .* data\.load\(session\)"):
            BoxWrite.model_validate({"marks": [{"name": "m"}]}).new(Box)
        BoxPatch.model_validate({"name": "a"}).apply(box)
        assert not session.is_modified(box)


async def test_an_entity_without_a_session_is_written_too(database: None) -> None:
    """A test builds, replaces and patches without a database; flushing afterwards stores the end."""
    box = BoxWrite.model_validate({"pages": [{"text": "x"}], "texts/all": [{"language": "en", "text": "t"}]}).new(Box)
    BoxWrite.model_validate({"pages": [{"text": "y"}, {"text": "z"}], "lid": {"color": "red"}}).replace(box)
    BoxPatch.model_validate({"lid": {"color": "blue"}}).apply(box)
    async with db.transaction() as session:
        session.add(box)
        await session.flush()
        assert show(box) == {
            "pages": [(1, "y"), (2, "z")],
            "codes": set(),
            "texts": {},
            "things": [],
            "lid": "blue",
            "main": None,
            "marks": set(),
        }
    assert await stored(box.id) == show(box)


async def test_a_row_that_others_refer_to_is_not_called_empty(database: None) -> None:
    """A new box whose mark says that it has it is not answered without the mark."""
    async with db.transaction() as session:
        mark = (await session.scalars(select(Mark).where(Mark.name == "m").options(selectinload(Mark.boxes)))).one()
        box, other = Box(), Box()
        session.add_all([box, other])
        await session.flush()
        mark.boxes.append(box)
        await session.flush()
        assert other.marks == set()
        with pytest.raises(LazyLoadRefused):
            _ = box.marks


async def test_only_classes_of_the_schema_are_built() -> None:
    """`new()` takes the class of the schema, or one below it."""
    assert type(ThingWrite.model_validate({"rank": 1}).new(Chair)) is Chair
    with pytest.raises(TypeError, match="LampWrite is a schema of Lamp, and was given the class Thing"):
        LampWrite.model_validate({"sort": "lamp", "rank": 1, "watts": 1}).new(Thing)


async def test_long_lists_move_with_few_statements(database: None) -> None:
    """A page before a hundred others moves all of them, in as many flushes as one before three."""
    counts = {}
    for size in (3, 100):
        key = await make({"pages": [{"text": str(number)} for number in range(size)]})
        async with db.transaction() as session:
            flushes: list[int] = []
            event.listen(session.sync_session, "after_flush", lambda *_: flushes.append(1))  # noqa: B023  (at once)
            box = await session.get_one(Box, key)
            data = BoxWrite.model_validate({"pages": [{"text": "new"}]})
            await data.load(session, box)
            kept = [PageWrite.model_validate({"pageId": page.id, "text": page.text}) for page in box.pages]
            data.pages = [*data.pages, *kept]  # type: ignore[misc]  # it is there
            data.replace(box)
            await session.flush()
            shown = show(box)["pages"]
        assert shown == [(number + 1, text) for number, text in enumerate(["new", *map(str, range(size))])]
        assert (await stored(key))["pages"] == shown
        counts[size] = len(flushes)
    assert counts == {3: 3, 100: 3}
