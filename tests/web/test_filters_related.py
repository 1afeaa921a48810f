"""Filters along relationships and over several columns, and those that a statement cannot have."""

import random
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from quart.typing import TestClientProtocol as Client
from sqlalchemy import Column, ForeignKey, String, Table, Text, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column, relationship

from ligand_async import (
    CursorParams,
    Database,
    Filter,
    Model,
    OffsetParams,
    Page,
    PageParams,
    Sort,
    operation,
    paginate,
)
from ligand_async.web import OperationError
from ligand_async.web.lists import PageNotPossible
from ligand_async.web.lists.filters import FilterNotPossible, SortNotPossible
from tests.services import make_app, routes
from tests.web.things import Walk


class Base(Model, DeclarativeBase):
    """The tables of a blog."""


post_tag = Table(
    "post_tag",
    Base.metadata,
    Column("post_id", ForeignKey("post.id"), primary_key=True),
    Column("tag_id", ForeignKey("tag.id"), primary_key=True),
)
related = Table(
    "related",
    Base.metadata,
    Column("post_id", ForeignKey("post.id"), primary_key=True),
    Column("other_id", ForeignKey("post.id"), primary_key=True),
)


class Tag(Base):
    __tablename__ = "tag"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(20))
    posts: Mapped[list["Post"]] = relationship(secondary=post_tag, back_populates="tags")


class Country(Base):
    __tablename__ = "country"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str]


class Author(Base):
    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    country_id: Mapped[int | None] = mapped_column(ForeignKey("country.id"))
    country: Mapped[Country | None] = relationship()
    posts: Mapped[list["Post"]] = relationship(back_populates="author")


class Post(Base):
    __tablename__ = "post"
    __mapper_args__ = {  # noqa: RUF012  (declared by SQLAlchemy)
        "polymorphic_on": "kind",
        "polymorphic_identity": "post",
    }

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(default="post")
    title: Mapped[str] = mapped_column(String(10))
    text: Mapped[str] = mapped_column(Text, default="")
    stars: Mapped[int] = mapped_column(default=0)
    author_id: Mapped[int | None] = mapped_column(ForeignKey("author.id"))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("post.id"))
    author: Mapped[Author | None] = relationship(back_populates="posts")
    tags: Mapped[list[Tag]] = relationship(secondary=post_tag, back_populates="posts")
    parent: Mapped["Post | None"] = relationship(remote_side=id, back_populates="replies")
    replies: Mapped[list["Post"]] = relationship(back_populates="parent")
    related: Mapped[list["Post"]] = relationship(
        secondary=related, primaryjoin=id == related.c.post_id, secondaryjoin=id == related.c.other_id
    )

    @hybrid_property
    def author_name(self) -> str | None:
        return None if self.author is None else self.author.name

    @author_name.inplace.expression
    @classmethod
    def _author_name(cls) -> Any:
        return Author.name


class Review(Post):
    __tablename__ = "review"
    __mapper_args__ = {  # noqa: RUF012  (declared by SQLAlchemy)
        "polymorphic_identity": "review"
    }

    id: Mapped[int] = mapped_column(ForeignKey("post.id"), primary_key=True)
    verdict: Mapped[str]


class PostRead(BaseModel):
    id: int


class PostQuery(PageParams):
    tag: Annotated[str | None, Filter(Tag.name, via=Post.tags)] = None
    tag_ne: Annotated[str | None, Filter(Tag.name, "ne", via=Post.tags)] = None
    tag_in: Annotated[list[str] | None, Filter(Tag.name, "in", via=Post.tags)] = None
    tag_is_null: Annotated[bool | None, Filter(Tag.name, "is_null", via=Post.tags)] = None
    tag_starts: Annotated[str | None, Filter(Tag.name, "startswith", via=Post.tags)] = None
    author: Annotated[str | None, Filter(Author.name, via=Post.author)] = None
    author_ne: Annotated[str | None, Filter(Author.name, "ne", via=Post.author)] = None
    author_is_null: Annotated[bool | None, Filter(Author.name, "is_null", via=Post.author)] = None
    country: Annotated[str | None, Filter(Country.code, via=(Post.author, Author.country))] = None
    country_ne: Annotated[str | None, Filter(Country.code, "ne", via=(Post.author, Author.country))] = None
    reply: Annotated[str | None, Filter(Post.title, "contains", via=Post.replies)] = None
    stars_gt: Annotated[int | None, Filter(Post.stars, "gt", via=Post.replies)] = None
    stars_le: Annotated[int | None, Filter(Post.stars, "le", via=[Post.parent, Post.parent])] = None
    sibling: Annotated[str | None, Filter(Post.title, via=(Post.parent, Post.replies))] = None
    colleague: Annotated[str | None, Filter(Post.title, via=(Post.author, Author.posts))] = None
    near: Annotated[str | None, Filter(Tag.name, via=(Post.related, Post.related, Post.tags))] = None
    q: Annotated[str | None, Filter([Post.title, Post.text], "icontains")] = None
    neither: Annotated[str | None, Filter([Post.title, Post.text], "ne")] = None
    either: Annotated[list[str] | None, Filter([Post.title, Post.text], "in")] = None
    anywhere: Annotated[
        str | None,
        Filter([Post.title, Post.text], "icontains")
        | Filter([Tag.name], "icontains", via=Post.tags)
        | Filter([Author.name], "startswith", via=Post.author),
    ] = None
    verdict: Annotated[str | None, Filter(Review.verdict, via=Post.replies.of_type(Review))] = None
    sort: Sort[Literal["id", "-title"]] = ("id",)


db = Database(Base)


@operation
async def list_posts(query_args: PostQuery, session: AsyncSession) -> Page[PostRead]:
    return await paginate(session, query_args.apply(select(Post)), query_args, into=PostRead, total="exact")


WORDS = ("a", "b", "ab", "B", "c%")


def make_posts() -> list[Post]:
    """Return posts, related at random, the same each time."""
    chance = random.Random(7)  # noqa: S311  (no secret)
    tags = [Tag(id=n, name=chance.choice([*WORDS, None])) for n in range(8)]
    countries = [Country(id=n, code=word) for n, word in enumerate(WORDS)]
    authors = [Author(id=n, name=chance.choice(WORDS), country=chance.choice([None, *countries])) for n in range(16)]
    posts: list[Post] = []
    for n in range(60):
        kind: Callable[..., Post] = Post if chance.random() < 0.7 else (lambda **more: Review(verdict="a", **more))
        post = kind(
            id=n,
            title=chance.choice(WORDS),
            text=chance.choice(["", *WORDS]),
            stars=chance.randrange(5),
            author=chance.choice([None, *authors]),
            parent=chance.choice([None, *posts]),
            tags=chance.sample(tags, chance.randrange(3)),
            related=chance.sample(posts, min(len(posts), chance.randrange(3))),
        )
        posts.append(post)
    return posts


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    """A client of sixty posts."""
    app = make_app(database_url, routes(("GET", "/posts", list_posts)), database=db)
    async with app.test_app(), app.app_context():
        await db.create_tables()
        async with db.transaction() as session:
            session.add_all(make_posts())
        yield app.test_client()


def names(tags: list[Tag]) -> set[str]:
    return {tag.name for tag in tags if tag.name is not None}


def country(post: Post) -> str | None:
    return post.author.country.code if post.author and post.author.country else None


LAWS: dict[str, Callable[[Post], bool]] = {
    "tag=a": lambda post: "a" in names(post.tags),
    "tag_ne=a": lambda post: "a" not in names(post.tags),
    "tag_in=a&tag_in=B": lambda post: bool({"a", "B"} & names(post.tags)),
    "tag_is_null=true": lambda post: not names(post.tags),
    "tag_is_null=false": lambda post: bool(names(post.tags)),
    "tag_starts=a": lambda post: any(name.startswith("a") for name in names(post.tags)),
    "tag=a&tag_starts=b": lambda post: {"a", "b"} <= names(post.tags),
    "author=a": lambda post: post.author is not None and post.author.name == "a",
    "author_ne=a": lambda post: post.author is None or post.author.name != "a",
    "author_is_null=true": lambda post: post.author is None,
    "author_is_null=false": lambda post: post.author is not None,
    "country=a": lambda post: country(post) == "a",
    "country_ne=a": lambda post: country(post) != "a",
    "reply=%25": lambda post: any("%" in reply.title for reply in post.replies),
    "stars_gt=3": lambda post: any(reply.stars > 3 for reply in post.replies),
    "stars_le=1": lambda post: bool(post.parent and post.parent.parent and post.parent.parent.stars <= 1),
    "sibling=a": lambda post: post.parent is not None and any(one.title == "a" for one in post.parent.replies),
    "colleague=a": lambda post: post.author is not None and any(one.title == "a" for one in post.author.posts),
    "near=a": lambda post: any("a" in names(far.tags) for near in post.related for far in near.related),
    "q=b": lambda post: "b" in (post.title + " " + post.text).lower(),
    "neither=a": lambda post: "a" not in {post.title, post.text},
    "either=a&either=c%25": lambda post: bool({"a", "c%"} & {post.title, post.text}),
    "anywhere=b": lambda post: (
        "b" in " ".join([post.title, post.text, *names(post.tags)]).lower()
        or (post.author is not None and post.author.name.startswith("b"))
    ),
    "anywhere=" + "b" * 10: lambda _: False,
    "verdict=a": lambda post: any(isinstance(reply, Review) for reply in post.replies),
}


async def walk(client: Client, query: str) -> tuple[list[int], set[int]]:
    """Return the ids on all pages by cursor, and their totals."""
    found: list[int] = []
    totals = set()
    cursor: str | None = ""
    while cursor is not None:
        more = f"&cursor={cursor}" if cursor else ""
        body = await (await client.get(f"/posts?{query}&limit=7{more}")).get_json()
        found += [item["id"] for item in body["items"]]
        totals.add(body["total"])
        cursor = body["next_cursor"]
    return found, totals


async def test_what_filters_along_relationships_keep(client: Client) -> None:
    """Each operator and kind of relationship means what Python says; no post comes twice, totals are right."""
    posts = make_posts()
    for query, holds in LAWS.items():
        wanted = [post.id for post in posts if holds(post)]
        assert await walk(client, query) == (wanted, {len(wanted)}), query
        body = await (await client.get(f"/posts?{query}&page=1&page_size=100")).get_json()
        assert ([item["id"] for item in body["items"]], body["total"]) == (wanted, len(wanted)), query


@pytest.mark.ligand_database("sqlite")
async def test_every_law_divides_the_posts() -> None:
    """The posts tell the meanings apart: no filter but one keeps all or nothing."""
    posts = make_posts()
    kept = {query: sum(map(holds, posts)) for query, holds in LAWS.items()}

    assert [query for query, number in kept.items() if number in {0, len(posts)}] == ["anywhere=bbbbbbbbbb"]


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("tag=" + "a" * 21, [("tag", "string_too_long")]),
        ("q=" + "a" * 5000, []),
        ("anywhere=" + "a" * 5000, []),
        ("stars_gt=2147483648", [("stars_gt", "less_than_equal")]),
        ("tag_in=" + "&tag_in=".join("a" * 101), [("tag_in", "too_long")]),
    ],
)
async def test_values_have_the_bounds_of_their_columns(client: Client, query: str, errors: list[Any]) -> None:
    """Also behind a relationship; of several texts the longest counts."""
    body = await (await client.get(f"/posts?{query}")).get_json()

    assert [(part["parameter"], part["code"]) for part in body.get("errors", [])] == errors


def test_the_document_names_what_is_compared() -> None:
    """A client reads which columns are searched, and along which way."""
    fields = PostQuery.model_json_schema()["properties"]
    words = ("tag", "tag_ne", "country", "q", "anywhere", "either")

    assert {name: fields[name]["description"] for name in words} == {
        "tag": "Only what has this in `tags.name`.",
        "tag_ne": "Only what does not have this in `tags.name`.",
        "country": "Only what has this in `author.country.code`.",
        "q": "Only what contains this, in capitals or not, in `title` or `text`.",
        "anywhere": (
            "Only what contains this, in capitals or not, in `title` or `text` or `tags.name`, or what starts with "
            "this in `author.name`."
        ),
        "either": "Only what has one of these, up to 100, in `title` or `text`.",
    }


class TagQuery(CursorParams):
    tag: Annotated[str | None, Filter(Tag.name)] = None
    author: Annotated[str | None, Filter(Author.name, via=Post.author)] = None
    verdict: Annotated[str | None, Filter(Review.verdict)] = None
    size: Annotated[int | None, Filter(func.length(Tag.name))] = None
    q: Annotated[str | None, Filter([Post.title, Tag.name], "contains")] = None


OTHER = aliased(Post)
POSTS_OF_TAGS = select(Tag.id.label("id"), Tag.name.label("name")).subquery()
REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "another table": (select(Post), {"tag": "a"}, r"TagQuery.tag: Filter\(Tag.name\) needs tag, which the statement"),
    "an expression of it": (select(Post), {"size": 1}, r"Filter\(length\(tag.name\)\) needs tag"),
    "one of two": (select(Post), {"q": "a"}, r"Filter\(\[Post.title, Tag.name\], 'contains'\) needs tag"),
    "a subclass": (select(Post), {"verdict": "a"}, "needs review"),
    "an alias of it": (select(aliased(Tag)), {"tag": "a"}, "needs tag"),
    "a subquery of it": (select(POSTS_OF_TAGS.c.id), {"tag": "a"}, "needs tag"),
    "the start of a way": (select(Tag), {"author": "a"}, r"via=Post.author\) needs post, .*; select from Post"),
    "an alias of the start": (select(OTHER), {"author": "a"}, "needs post"),
    "columns": (select(Post.id), {"tag": "a"}, "needs tag"),
    "within EXISTS": (select(Post).where(Post.tags.any()), {"tag": "a"}, "needs tag"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_statement_must_select_from_what_is_compared(case: str) -> None:
    """Otherwise every row would come back, once for each row of the other table."""
    statement, sent, reason = REFUSED[case]
    with pytest.raises(FilterNotPossible, match=reason):
        TagQuery(**sent).apply(statement)

    assert str(TagQuery().apply(statement)) == str(statement)


TAKEN: dict[str, tuple[Any, dict[str, Any]]] = {
    "a join": (select(Post).join(Post.tags), {"tag": "a", "q": "a", "size": 1}),
    "a join by condition": (select(Post).join(Tag, true()), {"tag": "a"}),
    "a join by tables": (select(Post).join(post_tag).join(Tag), {"tag": "a"}),
    "an outer join": (select(Tag).outerjoin(Tag.posts), {"q": "a", "author": "a"}),
    "columns": (select(Tag.id, Post.id).join(Post.tags), {"q": "a"}),
    "select_from": (select(func.count()).select_from(Tag), {"tag": "a"}),
    "select_from a join": (select(func.count()).select_from(post_tag.join(Tag.__table__)), {"tag": "a"}),
    "a condition": (select(Post).where(Post.id == post_tag.c.post_id, Tag.id == post_tag.c.tag_id), {"tag": "a"}),
    "correlation": (select(post_tag.c.post_id).correlate(Tag), {"tag": "a"}),
    "the subclass": (select(Review), {"verdict": "a", "author": "a"}),
}


@pytest.mark.parametrize("case", TAKEN)
def test_every_way_to_select_from_a_table_counts(case: str) -> None:
    """Joins of any form, conditions, correlation and inheritance."""
    statement, sent = TAKEN[case]

    assert len(TagQuery(**sent).apply(statement)._where_criteria) == len(statement._where_criteria) + len(sent)


async def test_an_alias_is_filtered_by_its_own_attributes(client: Client) -> None:
    """A way may begin at an alias, and end at one."""
    label = aliased(Tag)

    class Query(OffsetParams):
        tag: Annotated[str | None, Filter(label.name, via=OTHER.tags.of_type(label))] = None

    async with db.read() as session:
        found = await session.scalars(Query(tag="a").apply(select(OTHER.id)))

    assert set(found) == {post.id for post in make_posts() if "a" in names(post.tags)}


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "no relationship": (lambda: Filter(Tag.name, via=Post.title), "via=Post.title is not a relationship"),
    "a name": (lambda: Filter(Tag.name, via="tags"), "via=tags is not a relationship"),  # type: ignore[arg-type]  # the mistake
    "no column": (lambda: Filter(Post.tags), "Post.tags is not a column"),
    "a column's name": (lambda: Filter("name"), "name is not a column"),  # type: ignore[arg-type]  # the mistake
    "nothing": (lambda: Filter([]), "compares nothing"),
    "no text": (lambda: Filter([Post.title, Post.stars], "contains"), "compares text, and Post.stars holds none"),
    "two types": (lambda: model_of(Filter([Post.title, Post.stars])), "columns of different types or sizes"),
    "two types of two": (lambda: model_of(Filter(Post.title) | Filter(Post.stars)), "columns of different types"),
    "one and a list": (lambda: Filter(Post.title) | Filter(Post.text, "in"), "values of different forms"),
    "no list": (lambda: model_of(Filter(Tag.name, "in", via=Post.tags)), "needs a field annotated list"),
}


def model_of(mark: Any) -> type[CursorParams]:
    """Define a query model with one filter."""

    class Query(CursorParams):
        field: Annotated[str | None, mark, Field(max_length=5)] = None

    return Query


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_show_when_the_model_is_defined(case: str) -> None:
    """What no statement could help never meets a request."""
    make, reason = MISTAKES[case]
    with pytest.raises(TypeError, match=reason):
        make()


class Astray(CursorParams):
    end: Annotated[str | None, Filter(Tag.name, via=Post.author)] = None
    middle: Annotated[str | None, Filter(Tag.name, via=(Post.author, Post.tags))] = None
    below: Annotated[str | None, Filter(Post.title) | Filter(Review.verdict, via=Post.replies)] = None


@operation
async def list_astray(query_args: Astray, session: AsyncSession) -> Page[PostRead]:
    return await paginate(session, query_args.apply(select(Post)), query_args, into=PostRead)


@pytest.mark.ligand_database("sqlite")
async def test_a_way_that_does_not_lead_on_stops_the_start(database_url: str) -> None:
    """Once all models are defined, every step must begin where the one before it ends, and the column be there."""
    app = make_app(database_url, routes(("GET", "/astray", list_astray)), database=db)
    with pytest.raises(OperationError) as caught:
        await app.startup()

    for mistake in (
        "Astray.end: Filter(Tag.name, via=Post.author): Tag.name is not an attribute of Author, where via= ends",
        "Astray.middle: Filter(Tag.name, via=(Post.author, Post.tags)): Post.tags does not begin at Author, as it must",
        "Astray.below: Filter(Review.verdict, via=Post.replies): Review.verdict is not an attribute of Post",
    ):
        assert mistake in str(caught.value)


async def test_an_order_must_be_of_what_is_selected_from(client: Client) -> None:
    """A column of another table would repeat the rows, so it is an error, also where `unique` is given."""
    async with db.read() as session:
        for statement in (select(Post).order_by(Tag.name), select(Post).order_by(func.lower(Tag.name).desc())):
            with pytest.raises(PageNotPossible, match="sorted by a column of tag, which the statement does not select"):
                await Walk(session, statement, into=PostRead, unique=[Post.id]).read()
        with pytest.raises(PageNotPossible, match="sorted by a column of tag"):
            await Walk(session, select(Post), into=PostRead, unique=[Post.id, Tag.id]).read()
        joined = select(Post).join(Post.author).order_by(Author.name, Post.id)
        found = [item.id for item in await Walk(session, joined, into=PostRead).read()]

    authored = [post for post in make_posts() if post.author is not None]
    assert len(found) == len(authored) == len(set(found))


class ByAuthor(CursorParams):
    sort: Sort[Literal["author_name"]] = ("author_name",)


def test_a_sort_must_be_of_what_is_selected_from() -> None:
    """An attribute that is a column of another table is refused by its name, unless that is joined."""
    with pytest.raises(SortNotPossible, match="sort='author_name' is a column of author, which the statement does not"):
        ByAuthor().apply(select(Post))

    assert "ORDER BY author.name" in str(ByAuthor().apply(select(Post).join(Post.author)))
