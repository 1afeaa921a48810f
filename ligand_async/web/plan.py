"""The plan of an operation or a call: services are made, the handler runs, generators are resumed at their `yield`."""

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from quart import Response

from ligand_async.context import Unit, unit_var
from ligand_async.errors import Problem
from ligand_async.web.depends import Factory, ServiceError, name_of


class ErrorReturned(Exception):
    """The handler returned an error response instead of raising one; it is raised at the `yield` of each factory.

    The response is sent all the same. An error that the handler returns as `(text, status)` is raised as its problem.

    Attributes:
        response: What the handler returned; its status is 400 or above.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(f"the handler returned the status {response.status_code}, so the unit of work is rolled back")
        self.response = response


@dataclass(frozen=True, slots=True)
class Plan:
    """How the services of one operation are made: what is made first stands first.

    Attributes:
        steps: Each makes one service.
        wanted: Which service each parameter of the handler gets.
        named: What factories take from the request by name, with the annotation that each is read by.
        takes_session: Whether a factory takes the request's session.
        needs_principal: Whether a factory takes a `Principal` that must be there.
        required: The provided types that something takes without `| None`.
        raises: The problems that `Depends` declares.
    """

    steps: tuple["Step", ...]
    wanted: dict[str, Any]
    named: dict[str, Any]
    takes_session: bool
    needs_principal: bool
    required: frozenset[Any]
    raises: frozenset[type[Problem]]

    async def run(
        self,
        handler: Callable[[dict[str, Any]], Awaitable[Any]],
        known: dict[Any, Any],
        check: Callable[[Any], Awaitable[None]],
    ) -> Any:
        """Make the services, run the handler, close the services.

        Args:
            handler: Called with the services by parameter.
            known: What is there already: values by type, and what was read from the request by name.
            check: Called with what the handler returned, if generators wait at their `yield`: what it raises is raised
                in them.

        Raises:
            BaseException: The failure of a factory, of the handler, of the check, or of the code after a `yield`.
        """
        opened: list[Opened] = []
        try:
            for step in self.steps:
                known[step.key] = await step.make(known, opened)
            result = await handler({name: known[key] for name, key in self.wanted.items()})
            if opened:
                await check(result)
        except GeneratorExit:
            raise  # nothing can be awaited any more
        except BaseException as error:
            failure = await close_generators(opened, error)
            if failure is not error:
                raise failure  # noqa: B904  (its context is set: it was raised while the error was handled)
            raise
        if opened and (failed := await close_generators(opened, None)) is not None:
            raise failed
        return result


@dataclass(frozen=True, slots=True)
class Opened:
    """A generator that has made its service and waits at its `yield`.

    Attributes:
        generator: The generator.
        unit: The unit of work that its code is in: its own, if it has opened a transaction.
    """

    generator: AsyncGenerator[Any, None] | Generator[Any, None, None]
    unit: Unit | None


async def close_generators(opened: list[Opened], error: BaseException | None) -> Any:
    """Resume generators after their `yield`, the last one first; return the failure that is in hand at the end."""
    around = unit_var.get()
    for one in reversed(opened):
        generator = one.generator
        unit_var.set(one.unit)
        try:
            if isinstance(generator, AsyncGeneratorType):
                await (anext(generator) if error is None else generator.athrow(error))
                await generator.aclose()
            elif isinstance(generator, GeneratorType):
                next(generator) if error is None else generator.throw(error)
                generator.close()
        except (StopAsyncIteration, StopIteration):
            continue  # it ended; one that swallowed the error changes nothing
        except BaseException as raised:  # noqa: BLE001  (it is raised again by the caller)
            error = raised
        else:
            twice = ServiceError(f"{name_of(generator)} yields twice; a factory yields its service once")
            twice.__cause__ = error
            error = twice
        finally:
            unit_var.set(around)
    return error


@dataclass(frozen=True, slots=True)
class Step:
    """The making of one service.

    Attributes:
        key: The type, or the function in `Depends`.
        factory: What makes it.
        needs: Where each parameter of the factory comes from.
    """

    key: Any
    factory: Factory
    needs: tuple[tuple[str, Any], ...]

    async def make(self, known: Mapping[Any, Any], opened: list[Opened]) -> Any:
        """Make it, and remember a generator that has to be resumed."""
        around = unit_var.get()
        made = self.factory(**{name: known[key] for name, key in self.needs})
        if not isinstance(made, AsyncGeneratorType | GeneratorType):
            return await made if inspect.isawaitable(made) else made
        try:
            value = await anext(made) if isinstance(made, AsyncGeneratorType) else next(made)
        except (StopAsyncIteration, StopIteration) as error:
            raise ServiceError(f"{name_of(made)} ends without a yield; a factory yields its service once") from error
        # The handler's `on_commit` and signals are of the unit around it, not of one that a factory has opened.
        opened.append(Opened(made, unit_var.get()))
        unit_var.set(around)
        return value


def generator_function(factory: Factory) -> Factory:
    """Return the generator function inside `@asynccontextmanager` and `@contextmanager`: it is driven by hand."""
    if isinstance(factory, functools.partial):
        inner = generator_function(factory.func)
        return factory if inner is factory.func else functools.partial(inner, *factory.args, **factory.keywords)
    inner = inspect.unwrap(factory)
    is_generator = inspect.isasyncgenfunction(inner) or inspect.isgeneratorfunction(inner)
    return inner if inner is not factory and is_generator else factory
