"""The query string, headers and cookies: text by name."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from ligand_async import operation
from tests.services import ask


class Colour(StrEnum):
    RED = "red"


class Query(BaseModel):
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    colour: Colour | None = None
    order: Literal["name", "-name"] = "name"
    id: UUID | None = None
    since: date | None = None
    exact: bool = False
    ratio: float = 1.0
    tags: list[str] = []
    numbers: set[int] = set()
    sort_by: Annotated[str, Field(alias="sortBy")] = "id"


@operation
async def search(query_args: Query) -> dict[str, Any]:
    return query_args.model_dump(mode="json", exclude_defaults=True)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("?limit=5", {"limit": 5}),
        ("?colour=red", {"colour": "red"}),
        ("?order=-name", {"order": "-name"}),
        ("?id=8d3bb5e4-6a3e-4a0b-8f0e-0c8f3d1d5a55", {"id": "8d3bb5e4-6a3e-4a0b-8f0e-0c8f3d1d5a55"}),
        ("?since=2024-02-29", {"since": "2024-02-29"}),
        ("?exact=true", {"exact": True}),
        ("?exact=1", {"exact": True}),
        ("?ratio=.5", {"ratio": 0.5}),
        ("?tags=a", {"tags": ["a"]}),
        ("?tags=a&tags=b", {"tags": ["a", "b"]}),
        ("?tags=a,b", {"tags": ["a,b"]}),
        ("?numbers=1&numbers=1", {"numbers": [1]}),
        ("?sortBy=name", {"sort_by": "name"}),
        ("?tags=a+b%20c%26d%3De%C3%A9", {"tags": ["a b c&d=eé"]}),
        ("?&", {}),
    ],
)
async def test_query_values_coerce_from_text(query: str, expected: dict[str, Any]) -> None:
    """A query string is text, so its values are read leniently."""
    assert (await ask(search, f"/{query}")).json == expected


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("?limit=0", [("limit", "greater_than_equal")]),
        ("?limit=101", [("limit", "less_than_equal")]),
        ("?limit=", [("limit", "int_parsing")]),
        ("?limit=1.5", [("limit", "int_parsing")]),
        ("?limit=1&limit=2", [("limit", "int_type")]),
        ("?order=size", [("order", "literal_error")]),
        ("?colour=blue", [("colour", "enum")]),
        ("?exact=maybe", [("exact", "bool_parsing")]),
        ("?numbers=1&numbers=x", [("numbers", "int_parsing")]),
        ("?unknown=1", [("unknown", "extra_forbidden")]),
        ("?sort_by=name", [("sort_by", "extra_forbidden")]),
        ("?sortBy=a&sortBy=b", [("sortBy", "string_type")]),
        ("?since=0.5", [("since", "date_from_datetime_parsing")]),
        ("?since=0", [("since", "date_from_datetime_parsing")]),
        ("?limit=x&unknown=1", [("limit", "int_parsing"), ("unknown", "extra_forbidden")]),
    ],
)
async def test_query_values_that_do_not_fit_are_422(query: str, errors: list[tuple[str, str]]) -> None:
    """By the name that was sent, aliases included."""
    answer = await ask(search, f"/{query}")

    assert (answer.status, sorted(answer.errors)) == (422, sorted(errors))


async def test_a_refused_query_value_is_not_repeated() -> None:
    """The answer names the parameter, not what it held."""
    answer = await ask(search, "/?limit=s3cret&colour=s3cret&id=s3cret&order=s3cret&since=s3cret")

    assert len(answer.errors) == 5
    assert b"s3cret" not in answer.raw


async def test_an_operation_without_parameters_refuses_them_all() -> None:
    """A typing mistake in a parameter's name never goes unnoticed."""

    @operation
    async def handler() -> int:
        return 1

    answer = await ask(handler, "/?lmit=1&x=2")

    assert (answer.status, answer.errors) == (422, [("lmit", "extra_forbidden"), ("x", "extra_forbidden")])
    assert (await ask(handler, "/?")).json == 1


async def test_scalars_with_a_default_are_query_parameters() -> None:
    """With their types, constraints, aliases and lists, beside `query_args` or alone."""

    @operation
    async def alone(
        q: str | None = None,
        limit: Annotated[int, Field(ge=1)] = 5,
        sort_by: Annotated[str, Field(alias="sortBy")] = "id",
        colours: list[Colour] = [],  # noqa: B006  (read only)
    ) -> list[Any]:
        return [q, limit, sort_by, colours]

    @operation
    async def beside(query_args: Query, verbose: bool = False) -> list[Any]:
        return [query_args.limit, verbose]

    assert (await ask(alone, "/")).json == [None, 5, "id", []]
    assert (await ask(alone, "/?q=x&limit=6&sortBy=name&colours=red")).json == ["x", 6, "name", ["red"]]
    assert (await ask(alone, "/?limit=0")).errors == [("limit", "greater_than_equal")]
    assert (await ask(alone, "/?other=0")).errors == [("other", "extra_forbidden")]
    assert (await ask(beside, "/?limit=6&verbose=on")).json == [6, True]
    assert (await ask(beside, "/?limit=0&verbose=x")).errors == [
        ("limit", "greater_than_equal"),
        ("verbose", "bool_parsing"),
    ]
    assert (await ask(beside, "/?other=0")).errors == [("other", "extra_forbidden")]


async def test_a_list_is_a_list_however_it_is_annotated() -> None:
    """Constrained as a whole, and within a union."""
    Words = Annotated[list[str], Field(max_length=2)]  # noqa: N806  (a type)

    @operation
    async def handler(words: Words | None = None) -> list[str] | None:
        return words

    assert (await ask(handler, "/?words=a")).json == ["a"]
    assert (await ask(handler, "/?words=a&words=b&words=c")).errors == [("words", "too_long")]


async def test_scalars_may_have_the_names_of_model_methods() -> None:
    """`json` and `copy` are fine names for a parameter."""

    @operation
    async def handler(json: bool = False, copy: int = 1) -> list[Any]:
        return [json, copy]

    assert (await ask(handler, "/?json=1&copy=2")).json == [True, 2]


async def test_a_query_model_may_keep_what_it_does_not_know() -> None:
    """A configuration of one's own is obeyed."""

    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")

    @operation
    async def handler(query_args: Open) -> dict[str, Any]:
        return query_args.model_dump()

    assert (await ask(handler, "/?a=1&b=2&b=3")).json == {"a": "1", "b": ["2", "3"]}


async def test_a_parameter_may_have_several_names() -> None:
    """By `AliasChoices`, and by the field's own name where the model allows it."""

    class Named(BaseModel):
        model_config = ConfigDict(validate_by_name=True)
        words: Annotated[list[str], Field(validation_alias=AliasChoices("q", "query"))] = []
        limit: Annotated[int, Field(alias="max")] = 1

    @operation
    async def handler(query_args: Named) -> list[Any]:
        return [query_args.words, query_args.limit]

    assert (await ask(handler, "/?q=a&max=2")).json == [["a"], 2]
    assert (await ask(handler, "/?query=a&limit=3")).json == [["a"], 3]
    assert (await ask(handler, "/?limit=x")).status == 422


class Wanted(BaseModel):
    x_reason: str
    count: Annotated[int, Field(alias="X-Count", ge=0)] = 0
    accept_language: str | None = None
    x_tag: list[str] = []


@operation
async def explain(headers: Wanted) -> list[Any]:
    return [headers.x_reason, headers.count, headers.accept_language, headers.x_tag]


async def test_headers_are_read_by_name() -> None:
    """Underscores are hyphens, case does not matter, unknown headers are nobody's business."""
    sent = [("x-REASON", "why"), ("x-count", "3"), ("X-Other", "1"), ("X-Tag", "a"), ("X-Tag", "b, c")]

    assert (await ask(explain, headers=sent)).json == ["why", 3, None, ["a", "b, c"]]


async def test_a_repeated_header_is_one_value() -> None:
    """RFC 9110 section 5.3: repeated fields are one, with commas."""
    sent = [("X-Reason", "this"), ("X-Reason", "that")]

    assert (await ask(explain, headers=sent)).json[0] == "this, that"


@pytest.mark.parametrize(
    ("headers", "errors"),
    [
        ({}, [("x-reason", "missing")]),
        ({"X-Reason": "why", "X-Count": "-1"}, [("X-Count", "greater_than_equal")]),
        ({"X-Reason": "why", "X-Count": "s3cret"}, [("X-Count", "int_parsing")]),
    ],
)
async def test_headers_that_do_not_fit_are_422(headers: dict[str, str], errors: list[tuple[str, str]]) -> None:
    """By the header's name, never with its value."""
    answer = await ask(explain, headers=headers)

    assert (answer.status, answer.errors) == (422, errors)
    assert b"s3cret" not in answer.raw


class Kept(BaseModel):
    theme: Literal["dark", "light"] = "light"
    visits: Annotated[int, Field(alias="n")] = 0


@operation
async def remember(cookies: Kept) -> list[Any]:
    return [cookies.theme, cookies.visits]


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [
        ("theme=dark; n=5; other=1", ["dark", 5]),
        ("theme=dark; theme=light", ["dark", 0]),
        ("", ["light", 0]),
        ("nonsense", ["light", 0]),
    ],
)
async def test_cookies_are_read_by_name(cookie: str, expected: list[Any]) -> None:
    """Unknown cookies are somebody else's; of a repeated one the first counts."""
    assert (await ask(remember, headers={"Cookie": cookie})).json == expected


async def test_cookies_that_do_not_fit_are_422() -> None:
    """By the cookie's name."""
    answer = await ask(remember, headers={"Cookie": "theme=s3cret; n=x"})

    assert (answer.status, answer.errors) == (422, [("theme", "literal_error"), ("n", "int_parsing")])
    assert b"s3cret" not in answer.raw


async def test_a_path_variable_is_no_query_parameter() -> None:
    """A handler that is mounted with and without the variable refuses the parameter where the path already says it."""

    @operation
    async def handler(page: int = 1) -> int:
        return page

    assert (await ask(handler, "/?page=3")).json == 3
    assert (await ask(handler, "/5", rule="/<int:page>")).json == 5
    assert (await ask(handler, "/5?page=3", rule="/<int:page>")).errors == [("page", "extra_forbidden")]
