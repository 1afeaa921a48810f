"""What a handler asks for, and what it cannot ask for."""

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import Form, Principal, Problem, operation
from ligand_async.web import OperationError
from tests.services import ask


class Query(BaseModel):
    limit: int = 10


class Early(BaseModel):
    """A model that is used before what it names is there."""

    late: "Late"  # type: ignore[name-defined]  # noqa: F821  (the mistake)


class Mystery:
    """Nothing that pydantic knows."""


async def no_return(pet_id: int):  # type: ignore[no-untyped-def]  # the mistake
    ...


async def no_annotation(pet_id) -> None:  # type: ignore[no-untyped-def]  # the mistake
    ...


async def unknown_name(pet: "Unheard") -> None:  # type: ignore[name-defined]  # noqa: F821  (the mistake)
    ...


async def positional_only(pet_id: int, /) -> None: ...


async def many(*pet_ids: int) -> None: ...


async def anything(**options: int) -> None: ...


async def query_is_no_model(query_args: int) -> None: ...


async def headers_are_no_model(headers: dict[str, str]) -> None: ...


async def form_is_no_model(data: Annotated[dict[str, str], Form()]) -> None: ...


async def body_is_a_mystery(data: Mystery) -> None: ...


async def answer_is_a_mystery() -> Mystery:
    raise NotImplementedError


async def body_is_early(data: Early) -> None: ...


async def answer_is_early() -> Early:
    raise NotImplementedError


async def two_sessions(session: AsyncSession, other: AsyncSession) -> None: ...


async def default_is_a_mystery(mystery: Mystery = Mystery()) -> None: ...  # noqa: B008  (the mistake)


async def twice(query_args: Query, limit: int = 5) -> None: ...


async def pair_of_values() -> tuple[Query, Query, Query, Query]:
    raise NotImplementedError


async def open_tuple() -> tuple[int, ...]:
    raise NotImplementedError


def plain() -> None: ...


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (plain, "not a coroutine function; write `async def plain`"),
        (no_return, "no_return has no return annotation"),
        (no_annotation, "no_annotation: parameter 'pet_id' has no annotation"),
        (unknown_name, "unknown_name: an annotation cannot be resolved .*Unheard.*import the name at run time"),
        (positional_only, "positional_only: parameter pet_id: int cannot be passed by name"),
        (many, "cannot be passed by name"),
        (anything, "cannot be passed by name"),
        (query_is_no_model, "query_args needs a pydantic model"),
        (headers_are_no_model, "headers needs a pydantic model"),
        (form_is_no_model, "form_is_no_model: parameter 'data' .* a form needs a pydantic model"),
        (body_is_a_mystery, "body_is_a_mystery: parameter 'data' cannot be read from a body"),
        (answer_is_a_mystery, "answer_is_a_mystery: its return annotation cannot be a response"),
        (body_is_early, "body_is_early: parameter 'data' cannot be read from a body: .*Late"),
        (answer_is_early, "answer_is_early: its return annotation cannot be a response: .*Late"),
        (two_sessions, "two parameters are annotated AsyncSession"),
        (default_is_a_mystery, "parameter 'mystery' cannot be read from a query string"),
        (twice, "'limit' is a field of query_args and a parameter"),
        (pair_of_values, r"\(value, status\) or \(value, status, headers\)"),
        (open_tuple, r"\(value, status\) or \(value, status, headers\)"),
    ],
)
def test_a_mistake_fails_at_decoration(handler: Callable[..., Any], words: str) -> None:
    """A signature that cannot be served is refused when it is decorated, and the message names it and the remedy."""
    with pytest.raises(OperationError, match=words):
        operation(handler)


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "not a success"), (100, "not a success"), (204, "cannot have a body"), (304, "cannot have a body")],
)
def test_a_status_fits_what_is_returned(status: int, words: str) -> None:
    """A status of success is 200 to 399, and one without a body is not promised with one."""

    async def handler() -> Query:
        raise NotImplementedError

    with pytest.raises(OperationError, match=words):
        operation(status=status)(handler)


def test_raises_needs_a_status() -> None:
    """`Problem` itself has no status to document."""

    async def handler() -> None: ...

    with pytest.raises(OperationError, match="has no status"):
        operation(raises=[Problem])(handler)


async def test_everything_at_once() -> None:
    """Path, query, headers, cookies and body arrive each where its name or annotation says."""

    class Wanted(BaseModel):
        x_reason: str

    class Kept(BaseModel):
        theme: str

    class Sent(BaseModel):
        name: str

    @operation
    async def handler(
        pet_id: UUID,
        data: Sent,
        query_args: Query,
        headers: Wanted,
        cookies: Kept,
        principal: Principal | None,
        verbose: bool = False,
        *,
        tags: list[str] = [],  # noqa: B006  (read only)
    ) -> list[Any]:
        found = [str(pet_id), data.name, query_args.limit, headers.x_reason, cookies.theme, principal]
        return [*found, verbose, tags]

    answer = await ask(
        handler,
        "/8d3bb5e4-6a3e-4a0b-8f0e-0c8f3d1d5a55?limit=5&verbose=yes&tags=a&tags=b",
        rule="/<uuid:pet_id>",
        method="POST",
        json={"name": "rex"},
        headers={"X-Reason": "why not", "Cookie": "theme=dark; other=1"},
    )

    assert answer.json == [
        "8d3bb5e4-6a3e-4a0b-8f0e-0c8f3d1d5a55", "rex", 5, "why not", "dark", None, True, ["a", "b"],
    ]  # fmt: skip


async def test_forward_reference_to_a_later_name() -> None:
    """An annotation in quotes is resolved with the names of its module."""

    @operation
    async def handler(data: "Query") -> "Query":
        return data

    assert (await ask(handler, method="POST", json={"limit": 3})).json == {"limit": 3}
