"""Attributes that are no columns, in schemas: association proxies, synonyms, composites, hybrids and properties."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field
from quart import Quart
from sqlalchemy import ForeignKey, String, func, select
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    attribute_keyed_dict,
    column_property,
    composite,
    mapped_column,
    query_expression,
    relationship,
    selectinload,
    synonym,
)

from ligand_async import CreateSchema, Database, Identified, Model, PatchSchema, ReadSchema, get_or_404, paginate
from ligand_async.data import FieldNotWritable, LazyLoadRefused
from ligand_async.data.reading import IntoNotPossible
from ligand_async.web.lists import CursorParams, PageParams
from tests.data.statements import captured
from tests.services import make_app


class Base(Model, DeclarativeBase): ...


@dataclass
class Money:
    amount: int
    currency: str


class Author(Identified, Base):
    __tablename__ = "author"
    name: Mapped[str] = mapped_column(String(20))

    @property
    def initial(self) -> str:
        return self.name[0]


class Tag(Identified, Base):
    __tablename__ = "tag"
    text: Mapped[str] = mapped_column(String(20))
    note: Mapped[str] = mapped_column(String(20), default="none")

    @hybrid_property
    def shout(self) -> str:
        return self.text.upper()


class PostTag(Identified, Base):
    __tablename__ = "post_tag"
    post_id: Mapped[UUID] = mapped_column(ForeignKey("post.id"))
    tag_id: Mapped[UUID] = mapped_column(ForeignKey("tag.id"))
    position: Mapped[int]
    tag: Mapped[Tag] = relationship()
    tag_text: AssociationProxy[str] = association_proxy("tag", "text")


class Fact(Identified, Base):
    __tablename__ = "fact"
    post_id: Mapped[UUID] = mapped_column(ForeignKey("post.id"))
    name: Mapped[str] = mapped_column(String(20))
    value: Mapped[int]


class Post(Identified, Base):
    __tablename__ = "post"
    title: Mapped[str] = mapped_column(String(20))
    body: Mapped[str] = mapped_column(String(20), default="long")
    author_id: Mapped[UUID | None] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author | None] = relationship()
    writer: Mapped[Author | None] = synonym("author")
    post_tags: Mapped[list[PostTag]] = relationship(order_by=PostTag.position)
    facts: Mapped[dict[str, Fact]] = relationship(collection_class=attribute_keyed_dict("name"))
    tags: AssociationProxy[list[Tag]] = association_proxy("post_tags", "tag")
    tag_texts: AssociationProxy[list[str]] = association_proxy("post_tags", "tag_text")
    fact_values: AssociationProxy[dict[str, int]] = association_proxy("facts", "value")
    author_name: AssociationProxy[str | None] = association_proxy("author", "name")
    amount: Mapped[int] = mapped_column(default=3)
    currency: Mapped[str] = mapped_column(String(3), default="EUR")
    price: Mapped[Money] = composite("amount", "currency")
    heading: Mapped[str] = synonym("title")
    length: Mapped[int] = column_property(func.length(title))
    late: Mapped[int | None] = query_expression()

    @hybrid_property
    def loud(self) -> str:
        return self.title.upper()

    @loud.inplace.expression
    @classmethod
    def _loud(cls) -> Any:
        return func.upper(cls.title)

    @hybrid_property
    def double(self) -> int:
        return self.amount * 2

    @hybrid_property
    def start(self) -> str:
        return self.title[:2]

    @property
    def plain(self) -> str:
        return f"{self.title}!"

    @hybrid_property
    def author_start(self) -> str | None:
        return None if self.author is None else self.author.name[:1]


db = Database(Base)


class MoneyRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    amount: int
    currency: str


class TagText(ReadSchema, model=Tag, include={"text"}): ...


class TagShout(ReadSchema, model=Tag, include={"text"}):
    shout: str


class AuthorInitial(ReadSchema, model=Author, include={"name"}):
    initial: str


class PostTagRead(ReadSchema, model=PostTag, include={"position"}):
    tag_text: str


KINDS: list[tuple[str, Any, Any]] = [
    ("tag_texts", list[str], ["a", "b"]),
    ("tags", list[TagText], [{"text": "a"}, {"text": "b"}]),
    ("tags", list[TagShout], [{"text": "a", "shout": "A"}, {"text": "b", "shout": "B"}]),
    ("fact_values", dict[str, int], {"x": 1, "y": 2}),
    ("author_name", str, "ann"),
    ("writer", AuthorInitial, {"name": "ann", "initial": "a"}),
    ("price", MoneyRead, {"amount": 3, "currency": "EUR"}),
    ("heading", str, "hello"),
    ("length", int, 5),
    ("loud", str, "HELLO"),
    ("double", int, 6),
    ("start", str, "he"),
    ("plain", str, "hello!"),
    ("late", int | None, None),
]


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    app = make_app(database_url, database=db)
    async with app.test_app(), app.app_context():
        await db.create_tables()
        async with db.transaction() as session:
            session.add(ann := Author(name="ann"))
            tags = [Tag(text=text) for text in "ab"]
            session.add_all(tags)
            await session.flush()
            session.add(post := Post(title="hello", author_id=ann.id))
            await session.flush()
            session.add_all(PostTag(post_id=post.id, tag_id=tag.id, position=n) for n, tag in enumerate(tags))
            session.add_all(Fact(post_id=post.id, name=name, value=n) for n, name in enumerate("xy", 1))
        yield app


def schema_of(name: str, hint: Any, **more: Any) -> Any:
    """Derive a schema with one more field, and others."""
    members = {"__annotations__": {name: hint, **more}, "__module__": __name__}
    return type("PostRead", (ReadSchema,), members, model=Post, include={"id"})


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(("name", "hint", "value"), KINDS)
async def test_every_kind_is_read_by_into(app: Quart, name: str, hint: Any, value: Any, nested: bool) -> None:
    """One row, both kinds of pages, and an entity that is loaded later; beside nested schemas, too."""
    schema = schema_of(name, hint, **({"post_tags": list[PostTagRead]} if nested else {}))
    async with db.read() as session:
        key = await session.scalar(select(Post.id))
    found = []
    async with db.read() as session:
        found.append(await get_or_404(session, Post, key, into=schema))
    for params in (PageParams(page=1), CursorParams()):
        async with db.read() as session:
            found += (await paginate(session, select(Post), params, into=schema)).items
    async with db.read() as session:
        found.append(await schema.load(session, await get_or_404(session, Post, key)))

    assert [one.model_dump(mode="json")[name] for one in found] == [value] * 4
    if nested:
        expected = [{"position": 0, "tag_text": "a"}, {"position": 1, "tag_text": "b"}]
        assert [one.model_dump()["post_tags"] for one in found] == [expected] * 4


async def test_only_what_is_shown_is_loaded(app: Quart) -> None:
    """A proxy costs one query for each step, and reads the columns of its values only."""
    async with db.read() as session:
        with captured(session) as statements:
            await paginate(session, select(Post), PageParams(page=1), into=schema_of("tag_texts", list[str]))

    read = [statement for statement in statements if "post_tag" in statement or "FROM tag" in statement]
    assert len(read) == 2
    assert not any("note" in statement for statement in statements)


async def test_a_hybrid_that_reaches_for_a_relationship_names_it(app: Quart) -> None:
    """into= cannot know what code in Python reads; the error names the relationship."""
    async with db.read() as session:
        with pytest.raises(ValueError, match=r"LazyLoadRefused: Post\.author was not loaded"):
            await paginate(session, select(Post), PageParams(page=1), into=schema_of("author_start", str | None))
    async with db.read() as session:
        schema = schema_of("author_start", str | None, author=AuthorInitial | None)
        page = await paginate(session, select(Post), PageParams(page=1), into=schema)
        assert page.items[0].author_start == "a"


async def test_rows_below_a_loaded_relationship_are_loaded(app: Quart) -> None:
    """Of an entity that the session has already, with some of its relationships."""
    schema = schema_of("post_tags", list[PostTagRead])
    async with db.read() as session:
        post = (await session.scalars(select(Post).options(selectinload(Post.post_tags)))).one()
        with pytest.raises(LazyLoadRefused):
            _ = post.post_tags[0].tag
        found = await get_or_404(session, Post, post.id, into=schema)

    assert [tag.tag_text for tag in found.post_tags] == ["a", "b"]


class Odd(Identified, Base):
    __tablename__ = "odd"
    title: Mapped[str] = mapped_column(String(20))
    parts: AssociationProxy[list[str]] = association_proxy("title", "upper")


async def test_a_proxy_of_no_relationship_is_refused_by_name(app: Quart) -> None:
    """At its first use, with what to do."""

    class OddRead(ReadSchema, model=Odd):
        parts: list[str]

    async with db.read() as session:
        with pytest.raises(IntoNotPossible, match=r"Odd\.parts is an association proxy of what is not a rel"):
            await paginate(session, select(Odd), PageParams(page=1), into=OddRead)


async def test_what_nobody_has_is_still_refused(app: Quart) -> None:
    """A field that is neither a column nor computed."""
    async with db.read() as session:
        with pytest.raises(IntoNotPossible, match="lacks: wings"):
            await paginate(session, select(Post), PageParams(page=1), into=schema_of("wings", int))


class Renamed(ReadSchema, model=Post, include={"id"}):
    """Fields that are read from attributes of other names."""

    shown: str = Field(validation_alias="plain")
    names: list[str] = Field(validation_alias="tag_texts")


async def test_an_alias_names_any_kind(app: Quart) -> None:
    """As it names a column."""
    async with db.read() as session:
        (found,) = (await paginate(session, select(Post), PageParams(page=1), into=Renamed)).items

    assert (found.shown, found.names) == ("hello!", ["a", "b"])


class MoneyWrite(BaseModel):
    amount: int
    currency: str


@pytest.mark.parametrize("base", [CreateSchema, PatchSchema])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        *(("tag_texts", list[str]), ("author_name", str), ("loud", str), ("plain", str), ("length", int)),
        ("price", MoneyWrite),
    ],
)
def test_what_cannot_be_written_is_refused_at_import(base: Any, name: str, hint: Any) -> None:
    """By the name of the field."""
    with pytest.raises(FieldNotWritable, match=name):
        type(
            "PostWrite",
            (base,),
            {"__annotations__": {name: hint}, "__module__": __name__},
            model=Post,
            include={"title"},
        )


class PostWrite(CreateSchema, model=Post, include=set()):
    heading: str


async def test_a_synonym_is_written(app: Quart) -> None:
    """As the column that it stands for."""
    async with db.transaction() as session:
        session.add(post := PostWrite(heading="new").new(Post))
    assert post.title == "new"
