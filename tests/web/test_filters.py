"""What lists are narrowed by and sorted by."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from quart.typing import TestClientProtocol as Client
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import CursorParams, Filter, OffsetParams, Page, Sort, operation, paginate
from ligand_async.web.lists.filters import SortNotPossible, contains_text, starts_with_text
from tests.services import routes
from tests.web.things import Box, Mood, Thing, db, make_things_app, running, store

NOON = datetime(2026, 1, 2, 12, 0, 0, 5, UTC)


class ThingName(BaseModel):
    rank: int


class ThingQuery(CursorParams):
    word: Annotated[str | None, Filter(Thing.word)] = None
    word_ne: Annotated[str | None, Filter(Thing.word, "ne")] = None
    word_contains: Annotated[str | None, Filter(Thing.word, "contains")] = None
    word_like: Annotated[str | None, Filter(Thing.word, "icontains")] = None
    word_starts: Annotated[str | None, Filter(Thing.word, "startswith")] = None
    word_is_null: Annotated[bool | None, Filter(Thing.word, "is_null")] = None
    words: Annotated[list[str] | None, Filter(Thing.word, "in")] = None
    rank: Annotated[int | None, Filter(Thing.rank)] = None
    rank_lt: Annotated[int | None, Filter(Thing.rank, "lt")] = None
    rank_le: Annotated[int | None, Filter(Thing.rank, "le")] = None
    rank_gt: Annotated[int | None, Filter(Thing.rank, "gt")] = None
    rank_ge: Annotated[int | None, Filter(Thing.rank, "ge"), Field(le=5)] = None
    ranks: Annotated[list[int] | None, Filter(Thing.rank, "in")] = None
    since: Annotated[datetime | None, Filter(Thing.moment, "ge")] = None
    day: Annotated[date | None, Filter(Thing.day)] = None
    key: Annotated[UUID | None, Filter(Thing.key)] = None
    price: Annotated[Decimal | None, Filter(Thing.price)] = None
    flag: Annotated[bool | None, Filter(Thing.flag)] = None
    mood: Annotated[Mood | None, Filter(Thing.mood)] = None
    length: Annotated[int | None, Filter(func.length(Thing.word))] = None
    label: Annotated[str | None, Filter(Box.label)] = None
    sort: Sort[Literal["rank", "-rank", "word", "-word", "size", "-size", "label"]] = ("rank",)


class Wrong(CursorParams):
    sort: Sort[Literal["wings"]] = ("wings",)


@operation
async def list_things(query_args: ThingQuery, session: AsyncSession) -> Page[ThingName]:
    size = func.length(Thing.word).label("size")
    statement = select(Thing, size, Box.label.label("label")).outerjoin(Thing.box)
    return await paginate(session, query_args.apply(statement), query_args, into=ThingName)


@operation
async def list_wrong(query_args: Wrong, session: AsyncSession) -> Page[ThingName]:
    return await paginate(session, query_args.apply(select(Thing)), query_args, into=ThingName)


@operation
async def list_by_scalar(
    query_args: OffsetParams, session: AsyncSession, rank: Annotated[int | None, Filter(Thing.rank)] = None
) -> Page[ThingName]:
    return await paginate(session, query_args.apply(select(Thing)), query_args, into=ThingName)


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    """A client of four things."""
    views = routes(("GET", "/things", list_things), ("GET", "/wrong", list_wrong), ("GET", "/scalar", list_by_scalar))
    async with running(make_things_app(database_url, views)) as client:
        await store(
            Thing(rank=1, word="Apple_1%", moment=NOON, day=NOON.date(), flag=True, mood=Mood.GOOD, box=Box(label="a")),
            Thing(rank=2, word="apple21", moment=NOON + timedelta(microseconds=1), flag=False, mood=Mood.BAD),
            Thing(rank=3, word="pineapple/\\", key=UUID(int=7), price=Decimal("1.5"), box=Box(label="b")),
            Thing(rank=4),
        )
        yield client


async def ranks(client: Client, query: str, path: str = "/things") -> list[int]:
    response = await client.get(f"{path}?{query}")
    assert response.status_code == 200, await response.get_data()
    return [item["rank"] for item in (await response.get_json())["items"]]


FOUND: dict[str, list[int]] = {
    "": [1, 2, 3, 4],
    "word=apple21": [2],
    "word=APPLE21": [],
    "word=": [],
    "word_ne=apple21": [1, 3, 4],
    "word_contains=apple": [2, 3],
    "word_contains=_1": [1],
    "word_contains=%25": [1],
    "word_contains=/": [3],
    "word_contains=%5C": [3],
    "word_like=APPLE": [1, 2, 3],
    "word_like=E_1%25": [1],
    "word_starts=apple": [2],
    "word_starts=A%25": [],
    "word_starts=Apple_1%25": [1],
    "word_is_null=true": [4],
    "word_is_null=false": [1, 2, 3],
    "words=apple21&words=pineapple/%5C": [2, 3],
    "words=a,b": [],
    "rank=2": [2],
    "rank_lt=2": [1],
    "rank_le=2": [1, 2],
    "rank_gt=2": [3, 4],
    "rank_ge=2": [2, 3, 4],
    "rank_ge=2&rank_lt=4": [2, 3],
    "ranks=1": [1],
    "ranks=1&ranks=4&ranks=9": [1, 4],
    "since=2026-01-02T12:00:00.000005Z": [1, 2],
    "since=2026-01-02T13:00:00.000006%2B01:00": [2],
    "day=2026-01-02": [1],
    "key=00000000-0000-0000-0000-000000000007": [3],
    "price=1.50": [3],
    "flag=false": [2],
    "mood=c": [2],
    "length=7": [2],
    "label=b": [3],
    "sort=-rank": [4, 3, 2, 1],
    "sort=-size": [4, 3, 1, 2],
    "sort=size&sort=-rank": [2, 1, 3, 4],
    "sort=label,-rank": [1, 3, 4, 2],
}


async def test_filters_and_sorts(client: Client) -> None:
    """Each operator, of each type, means what it says, alike on both databases; several must all hold."""
    assert {query: await ranks(client, query) for query in FOUND} == FOUND


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("colour=red", [("colour", "extra_forbidden")]),
        ("rank_ne=1", [("rank_ne", "extra_forbidden")]),
        ("rank=x", [("rank", "int_parsing")]),
        ("rank=2147483648", [("rank", "less_than_equal")]),
        ("rank_ge=6", [("rank_ge", "less_than_equal")]),
        ("rank=1&rank=2", [("rank", "int_type")]),
        ("ranks=1&ranks=x", [("ranks", "int_parsing")]),
        ("since=2026-01-02T12:00:00", [("since", "timezone_aware")]),
        ("since=0.5", [("since", "datetime_from_date_parsing")]),
        ("day=0", [("day", "date_from_datetime_parsing")]),
        ("key=7", [("key", "uuid_parsing")]),
        ("mood=BAD", [("mood", "enum")]),
        ("flag=maybe", [("flag", "bool_parsing")]),
        ("word_is_null=7", [("word_is_null", "bool_parsing")]),
        ("price=1.0000000000001", [("price", "decimal_max_places")]),
        ("sort=wings", [("sort", "literal_error")]),
        ("sort=-label", [("sort", "literal_error")]),
        ("sort=", [("sort", "literal_error")]),
        ("sort=rank,,word", [("sort", "literal_error")]),
        ("sort=rank&sort=-rank", [("sort", "sort_repeated")]),
        ("sort=word,-word", [("sort", "sort_repeated")]),
    ],
)
async def test_what_is_not_declared_is_422(client: Client, query: str, errors: list[tuple[str, str]]) -> None:
    """Filters, values that the column cannot hold, names to sort by: by the parameter's name."""
    response = await client.get(f"/things?{query}")

    assert response.status_code == 422
    assert [(part["parameter"], part["code"]) for part in (await response.get_json())["errors"]] == errors


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize(("number", "status"), [(100, 200), (101, 422)])
async def test_a_choice_is_bounded(client: Client, number: int, status: int) -> None:
    """A hundred values in one list."""
    query = "&".join(f"ranks={rank}" for rank in range(number))

    assert (await client.get(f"/things?{query}")).status_code == status


async def test_filters_may_be_parameters_of_the_handler(client: Client) -> None:
    """A single one need not be put into a model."""
    assert await ranks(client, "rank=2", "/scalar") == [2]


@pytest.mark.ligand_database("sqlite")
async def test_a_cursor_keeps_to_its_filters_and_sort(client: Client) -> None:
    """With another filter or order it is refused; its own may be sent in another form."""
    first = await (await client.get("/things?limit=1&rank_gt=1")).get_json()
    cursor = first["next_cursor"]

    assert await ranks(client, f"limit=2&sort=rank&rank_gt=01&cursor={cursor}") == [3, 4]
    for query in ("", "rank_gt=2&", "rank_gt=1&sort=-rank&", "rank_gt=1&flag=true&"):
        assert (await client.get(f"/things?{query}cursor={cursor}")).status_code == 422


@pytest.mark.ligand_database("sqlite")
async def test_a_sort_that_means_nothing_says_so(client: Client) -> None:
    """A name that is declared must be an attribute or a label of what is selected."""
    with pytest.raises(SortNotPossible, match="sort='wings' is declared, and the statement selects no such"):
        Wrong().apply(select(Thing))

    assert (await client.get("/wrong")).status_code == 500


def test_sorting_comes_behind_an_order_of_the_statement() -> None:
    """What the handler puts first stays first; without a sort nothing is added."""
    statement = Wrong(sort=()).apply(select(Thing).order_by(Thing.flag))
    sorted_ = ThingQuery(sort=("-rank",)).apply(statement.add_columns(func.length(Thing.word).label("size")))

    assert str(statement).endswith("ORDER BY thing.flag")
    assert str(sorted_).endswith("ORDER BY thing.flag, thing.rank DESC")


MISTAKES: dict[str, tuple[Any, str]] = {
    "no operator": (lambda: Filter(Thing.rank, "like"), "there is no operator 'like'"),  # type: ignore[arg-type]  # the mistake
    "text of a number": (lambda: Filter(Thing.rank, "contains"), "compares text"),
    "text of an enumeration": (lambda: Filter(Thing.mood, "startswith"), "compares text"),
    "no list": (lambda: model_of(int | None, Filter(Thing.rank, "in")), "needs a field annotated list"),
    "no bool": (lambda: model_of(int | None, Filter(Thing.rank, "is_null")), "needs a field annotated bool"),
}


def model_of(annotation: Any, mark: Filter) -> type[CursorParams]:
    """Define a query model with one filter."""

    class Query(CursorParams):
        field: Annotated[annotation, mark] = None

    return Query


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_show_when_the_model_is_defined(case: str) -> None:
    """An operator that does not suit its column or its field never meets a request."""
    make, reason = MISTAKES[case]
    with pytest.raises(TypeError, match=reason):
        make()


async def test_wildcards_stand_for_themselves(database_url: str) -> None:
    """For any two texts, the database finds one in the other as Python does."""
    texts = st.text("aA%_/\\\\ä", max_size=3)
    pairs: list[tuple[str, str]] = []

    @settings(max_examples=150, database=None)
    @given(texts, texts)
    def draw(text: str, part: str) -> None:
        pairs.append((text, part))

    draw()
    async with running(make_things_app(database_url)), db.read() as session:
        columns = [
            match(func.coalesce(text, ""), part) for text, part in pairs for match in (contains_text, starts_with_text)
        ]
        found = list((await session.execute(select(*columns))).one())

    assert [bool(value) for value in found] == [
        matches for text, part in pairs for matches in (part in text, text.startswith(part))
    ]
