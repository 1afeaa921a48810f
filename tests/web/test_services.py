"""What handlers get by annotation, made when it is needed and closed when it is not."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import pytest
from quart import Quart
from sqlalchemy import select

from ligand_async import Conflict, operation
from ligand_async.web import app_scope, services_of
from tests.services import app_of, db, make_app, running, send

events: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    events.clear()


class Mailer:
    def __init__(self, name: str = "real") -> None:
        self.name = name


class Clock:
    name = "clock"


class Speaks(Protocol):
    def speak(self) -> str: ...


def make_mailer() -> Iterator[Mailer]:
    events.append("open mailer")
    try:
        yield Mailer()
    finally:
        events.append("close mailer")


async def make_clock() -> AsyncIterator[Clock]:
    events.append("open clock")
    try:
        yield Clock()
    finally:
        await asyncio.sleep(0)
        events.append("close clock")


@operation
async def use_both(mailer: Mailer, clock: Clock) -> list[str]:
    events.append("handle")
    return [mailer.name, clock.name]


@operation
async def use_mailer(mailer: Mailer) -> str:
    return mailer.name


OPENED = ["open mailer", "open clock"]
CLOSED = ["close clock", "close mailer"]


async def test_services_are_closed_after_the_request_in_reverse() -> None:
    """Generators, synchronous or not: what follows the `yield` runs, the last made first."""
    app = app_of(("GET", "/", use_both), provide={Mailer: make_mailer, Clock: make_clock})

    assert (await send(app, "GET", "/")).json == ["real", "clock"]
    assert events == [*OPENED, "handle", *CLOSED]


@pytest.mark.parametrize("error", [Conflict("no"), ZeroDivisionError()], ids=["problem", "bug"])
async def test_services_are_closed_when_the_handler_fails(error: Exception) -> None:
    """Whatever it raises."""

    @operation
    async def fail(mailer: Mailer, clock: Clock) -> None:
        raise error

    answer = await send(app_of(("GET", "/", fail), provide={Mailer: make_mailer, Clock: make_clock}), "GET", "/")

    assert answer.status in {409, 500}
    assert events == [*OPENED, *CLOSED]


async def test_services_are_closed_when_the_client_has_gone() -> None:
    """The work goes on to its end, and then they are closed."""
    handling = asyncio.Event()

    @operation
    async def handler(mailer: Mailer) -> None:
        handling.set()
        await asyncio.sleep(0.05)
        events.append("handled")

    app = app_of(("GET", "/", handler), provide={Mailer: make_mailer})
    async with app.test_app(), app.test_client().request("/") as connection:
        await connection.send_complete()
        await asyncio.wait_for(handling.wait(), 5)
        await connection.disconnect()

    assert events == ["open mailer", "handled", "close mailer"]


async def test_a_factory_that_fails_leaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A 500, and what was made before it is closed."""

    def fail() -> Clock:
        raise RuntimeError("no clock today")

    answer = await send(app_of(("GET", "/", use_both), provide={Mailer: make_mailer, Clock: fail}), "GET", "/")

    assert (answer.status, events) == (500, ["open mailer", "close mailer"])
    assert "no clock today" in caplog.text
    assert b"no clock" not in answer.raw


async def test_a_service_that_cannot_be_closed_fails_the_request(caplog: pytest.LogCaptureFixture) -> None:
    """The code after the `yield` belongs to the request: its failure is a 500, and the others are closed."""

    def make() -> Iterator[Clock]:
        yield Clock()
        raise RuntimeError("stuck")

    answer = await send(app_of(("GET", "/", use_both), provide={Mailer: make_mailer, Clock: make}), "GET", "/")

    assert (answer.status, events) == (500, ["open mailer", "handle", "close mailer"])
    assert "stuck" in caplog.text
    assert b"stuck" not in answer.raw


@pytest.mark.parametrize(
    "provided", [Mailer("x"), lambda: Mailer("x"), app_scope(lambda: Mailer("x"))], ids=["instance", "factory", "app"]
)
async def test_ways_to_provide(provided: Any) -> None:
    """An instance, a factory per request, a factory for the app."""
    assert (await send(app_of(("GET", "/", use_mailer), provide={Mailer: provided}), "GET", "/")).json == "x"


async def test_coroutine_functions_are_factories() -> None:
    """Awaited."""

    async def make() -> Mailer:
        return Mailer("awaited")

    assert (await send(app_of(("GET", "/", use_mailer), provide={Mailer: make}), "GET", "/")).json == "awaited"


async def test_a_request_makes_its_own() -> None:
    """Request scope: another request, another instance; within one, the same for every parameter and factory."""

    class Letter:
        def __init__(self, mailer: Mailer) -> None:
            self.mailer = mailer

    @operation
    async def handler(mailer: Mailer, letter: Letter) -> list[Any]:
        events.append(str(id(mailer)))
        keep.append(mailer)
        return [letter.mailer is mailer]

    keep: list[Mailer] = []
    app = app_of(("GET", "/", handler), provide={Mailer: lambda: Mailer(), Letter: Letter})
    async with running(app, tables=False) as client:
        answers = [await (await client.get("/")).get_json() for _ in range(2)]

    assert answers == [[True], [True]]
    assert len(set(events)) == 2


async def test_an_app_makes_one_and_closes_it_when_it_stops() -> None:
    """App scope: the same for every request, from start to stop, and made anew when the app starts again."""
    app = app_of(("GET", "/", use_mailer), provide={Mailer: app_scope(make_mailer)})
    for _ in range(2):
        async with running(app, tables=False) as client:
            assert [await (await client.get("/")).get_json() for _ in range(2)] == ["real", "real"]
            assert events == ["open mailer"]
        assert events == ["open mailer", "close mailer"]
        events.clear()


async def test_app_services_may_use_the_database_as_long_as_they_live(sqlite_url: str) -> None:
    """They start after it and are closed before it."""

    async def make() -> AsyncIterator[Mailer]:
        async with db.read() as session:
            await session.execute(select(1))
        yield Mailer()
        async with db.read() as session:
            events.append(str(await session.scalar(select(1))))

    async with running(make_app(sqlite_url, provide={Mailer: app_scope(make)})):
        pass

    assert events == ["1"]


async def test_app_services_may_need_each_other() -> None:
    """Instances and what lives as long as the app, in the order of provision or not."""

    class Post:
        def __init__(self, name: str) -> None:
            self.name = name

    async def make(mailer: Mailer, clock: Clock) -> Post:
        return Post(mailer.name + clock.name)

    @operation
    async def handler(post: Post) -> str:
        return post.name

    provide = {Post: app_scope(make), Mailer: Mailer("m"), Clock: app_scope(make_clock)}

    assert (await send(app_of(("GET", "/", handler), provide=provide), "GET", "/")).json == "mclock"


async def test_a_start_that_fails_closes_what_it_made() -> None:
    """The second cannot be made, the first is closed."""

    def fail() -> Clock:
        raise RuntimeError("no clock today")

    app = app_of(provide={Mailer: app_scope(make_mailer), Clock: app_scope(fail)})

    with pytest.raises(RuntimeError, match="no clock today"):
        await app.startup()
    assert events == ["open mailer", "close mailer"]


def make_service() -> Quart:
    """A service's own factory, which a test cannot reach into."""
    return app_of(("GET", "/", use_mailer), provide={Mailer: app_scope(make_mailer)})


@pytest.mark.parametrize("fake", [Mailer("fake"), lambda: Mailer("fake"), app_scope(lambda: Mailer("fake"))])
async def test_a_test_replaces_a_service(fake: Any) -> None:
    """Before the start; what it replaces is never made."""
    app = make_service()
    services_of(app).replace(Mailer, fake)

    assert (await send(app, "GET", "/")).json == "fake"
    assert events == []
    assert (await send(make_service(), "GET", "/")).json == "real"


def test_only_what_was_provided_can_be_replaced() -> None:
    """A typing mistake does not pass for a replacement."""
    with pytest.raises(LookupError, match="Clock is not provided"):
        services_of(make_service()).replace(Clock, Clock())


def test_what_is_no_service_is_refused() -> None:
    """Neither an instance nor something that makes one."""
    with pytest.raises(TypeError, match=r"provide\[Mailer\]: a factory, app_scope\(factory\) or an instance"):
        app_of(provide={Mailer: "mailer"})


async def test_a_protocol_is_a_type_too() -> None:
    """Provided by an instance or by a factory, although it cannot be checked."""

    class Dog:
        def speak(self) -> str:
            return "woof"

    @operation
    async def handler(voice: Speaks) -> str:
        return voice.speak()

    for provided in (Dog(), Dog):
        answer = await send(app_of(("GET", "/", handler), provide={Speaks: provided}), "GET", "/")
        assert answer.json == "woof"


async def test_an_app_of_another_make_has_no_services() -> None:
    """The error says who makes them."""
    with pytest.raises(RuntimeError, match=r"not made by ligand_async\.create_app"):
        services_of(Quart("bare"))
