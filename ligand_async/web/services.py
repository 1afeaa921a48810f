"""Services: what handlers get by annotation, made by factories and closed before the commit.

`provide=` of `create_app` maps types to factories; `Depends` names a function for one handler. The graph of who needs
whom is worked out and checked when the app starts. At the request a plan runs: the services are made, dependencies
first, then the handler runs, then each generator is resumed, the last made first. A generator gets the exception in
hand at its `yield`; what it raises itself becomes the failure of the request.
"""

import asyncio
import functools
import inspect
import logging
from collections.abc import (
    Callable,
    Hashable,
    Iterable,
    Mapping,
)
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from quart import Quart, Request
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.annotations import metadata_of, without_none
from ligand_async.context import service_of, state_of
from ligand_async.data import Database
from ligand_async.errors import Problem
from ligand_async.principal import Principal
from ligand_async.settings import Settings
from ligand_async.tasks import this_app
from ligand_async.web.depends import (
    Depends,
    Factory,
    ServiceError,
    Way,
    dependency_of,
    describe_cycle,
    describe_way,
    name_of,
    parameters_of,
)
from ligand_async.web.fields import named_mark_of
from ligand_async.web.inputs import NAMED_INPUTS, Binding
from ligand_async.web.plan import Opened, Plan, Step, close_generators, generator_function

logger = logging.getLogger(__name__)

_CLOSE_TIMEOUT = 5.0  # seconds, for each service that lives as long as the app

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AppScope:
    """A factory whose product lives as long as the app."""

    factory: Factory


def app_scope(factory: Factory) -> AppScope:
    """Make a service once, when the app starts, and close it when it stops.

    Args:
        factory: A function, a coroutine function or an (async) generator function. The code after its `yield` closes
            the service. It may take `Settings`, provided values and other app-scoped services.
    """
    return AppScope(factory)


class Services:
    """The services of one app.

    A test replaces one, and the rest of the service stays as it is:

        app = create_app("testing")
        services_of(app).replace(Mailer, FakeMailer())
        async with app.test_app(): ...

    Args:
        provide: Types, with a factory per request, `app_scope(factory)` or an instance for each.
        settings: What factories get that take `Settings`.
        find_functions: Returns the functions that operations have in a `Depends`.

    Attributes:
        has_replacements: Whether `replace` was called: a fake need not take what the service takes.
        bindings: Where the parameters of operations come from, under each rule; worked out anew after `replace`.

    Raises:
        TypeError: Something provided is none of these.
    """

    def __init__(
        self,
        provide: Mapping[type, Any] = MappingProxyType({}),
        settings: Settings | None = None,
        find_functions: Callable[[], Iterable[Factory]] = tuple,
    ) -> None:
        self._settings = settings
        self._find_functions = find_functions
        self.has_replacements = False
        self.bindings: dict[Any, Binding] = {}
        self._factories: dict[Any, Factory] = {}
        self._app_factories: dict[Any, Factory] = {}
        self._values: dict[Any, Any] = {}
        self._functions: dict[Factory, Factory] = {}
        self._made: dict[Any, Any] = {}
        self._opened: list[Opened] = []
        self._is_running = False
        for kind, provided in provide.items():
            if not (isinstance(provided, AppScope) or _is_instance(provided, kind) or callable(provided)):
                raise TypeError(
                    f"provide[{name_of(kind)}]: a factory, app_scope(factory) or an instance of it was expected, "
                    f"not a {type(provided).__name__}"
                )
            self._register(kind, provided, is_factory=not _is_instance(provided, kind))

    def __contains__(self, kind: Any) -> bool:
        try:
            return kind in self._factories or kind in self._app_factories or kind in self._values
        except TypeError:  # an annotation that cannot be hashed
            return False

    def get(self, kind: type[T]) -> T:
        """Return an instance that was provided, or a service that lives as long as the app.

        Raises:
            LookupError: The type is not provided, is made anew for each request, or the app does not run.
        """
        for made in (self._values, self._made):
            if kind in made:
                found: T = made[kind]
                return found
        reason = "is not provided; see create_app(provide=…)"
        if kind in self._factories:
            reason = "is made for each request; write a function that takes it, and `await services_of(app).call(it)`"
        elif kind in self:
            reason = "is made when the app starts; does the app run? Use `async with app.running()`"
        raise LookupError(f"{name_of(kind)} {reason}")

    def replace(self, kind: Any, provided: Any) -> None:
        """Provide something else for a type, or for a function in `Depends`.

        Args:
            kind: A type that `create_app(provide=…)` has, or what stands in a `Depends`.
            provided: A function, a class or a `functools.partial` that makes it, `app_scope(factory)` for a type, or
                any other object, which is the service itself. It need not be an instance of the type.

        Raises:
            LookupError: The type was never provided, and no operation has it in a `Depends`.
            TypeError: `app_scope()` stands in for what is in a `Depends`, which runs for each request.
            RuntimeError: The app runs, and what is provided would have to be made at its start.
        """
        in_depends = isinstance(kind, Hashable) and kind in set(self._find_functions())
        if kind not in self and not in_depends:
            raise LookupError(
                f"{name_of(kind)} is not provided, so nothing can replace it; see create_app(provide=…), and "
                "Depends() in the annotations of operations"
            )
        is_factory = inspect.isroutine(provided) or isinstance(provided, type | functools.partial)
        if in_depends:
            if isinstance(provided, AppScope):
                raise TypeError(f"{name_of(kind)}: what is in Depends() runs for each request; leave app_scope() out")
            self._functions[kind] = provided if is_factory else lambda: provided
        if kind in self:
            if self._is_running and isinstance(provided, AppScope):
                raise RuntimeError(f"{name_of(kind)}: app_scope() makes a service at the start; replace it before")
            self._register(kind, provided, is_factory=is_factory and not _is_instance(provided, kind))
        self.has_replacements = True
        self.bindings.clear()

    def _register(self, kind: Any, provided: Any, *, is_factory: bool) -> None:
        for known in (self._factories, self._app_factories, self._values, self._made):
            known.pop(kind, None)
        if isinstance(provided, AppScope):
            self._app_factories[kind] = provided.factory
        elif is_factory:
            self._factories[kind] = provided
        else:
            self._values[kind] = provided

    # -- outside of operations

    async def call(
        self, function: Factory, arguments: Mapping[str, Any] | None = None, *, principal: Principal | None = None
    ) -> Any:
        """Call a function as an operation calls its handler: services are made for it and closed after it.

        For scripts, websockets, background tasks and the shell. Where the function or one of its services takes the
        `AsyncSession`, the call is a unit of work of its own: it is committed after the services are closed.

        Args:
            function: A function or a coroutine function; its parameters get services by annotation.
            arguments: Parameters that it is given by name; its services may take them by name, too.
            principal: The caller, for services that take one.

        Returns:
            What the function returns.

        Raises:
            ServiceError: A service is missing, or takes a caller and there is none.
            RuntimeError: The app does not run, or has no database and a session is taken.
        """
        if not self._is_running:
            raise RuntimeError("the services are made when the app starts; use `async with app.running()`")
        given = dict(arguments or {})
        name = name_of(function)
        plan = _Planner(self, dict.fromkeys(given)).plan(name, self._needs_of(function, given))
        if plan.needs_principal and principal is None:
            raise ServiceError(
                f"{name}: a service takes a Principal, and nobody calls here; pass principal=…, or let it take "
                "`Principal | None`"
            )

        async def handle(services: dict[str, Any]) -> Any:
            result = function(**given, **services)
            return await result if inspect.isawaitable(result) else result

        if not plan.takes_session:
            return await plan.run(handle, self.known(None, principal, given), _pass)
        database = service_of(this_app()).database
        if not isinstance(database, Database):
            raise RuntimeError(f"{name} takes a session, and the app has no database; give create_app() one")
        async with database.transaction() as session:

            async def check(_: Any) -> None:
                await session.flush()

            return await plan.run(handle, self.known(session, principal, given), check)

    def _needs_of(self, function: Factory, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters that a call makes services for, with their annotations."""
        # A decorator such as click's `pass_context` may pass what is neither given nor a service.
        is_whole = not hasattr(function, "__wrapped__")
        parameters = parameters_of(function, (name_of(function),), given if is_whole else None)
        return {
            name: hint
            for name, (hint, is_required) in parameters.items()
            if name not in given and ((is_required and is_whole) or self.is_service(hint))
        }

    def is_service(self, hint: Any) -> bool:
        """Return True if a parameter with this annotation gets a service, whatever its name is."""
        kind, _ = without_none(hint)
        known = kind in {AsyncSession, Principal} if isinstance(kind, Hashable) else False
        return known or dependency_of(hint) is not None or self.is_settings(kind) or kind in self

    # -- at the request

    def plan(self, handler: str, needs: Mapping[str, Any], given: Mapping[str, Any]) -> Plan:
        """Return how the services of an operation are made.

        Args:
            handler: The operation's name, for errors.
            needs: The annotations of the services that it takes, by parameter.
            given: What it reads from the request, by name, with its annotation; None for a variable of the path that
                it does not take itself.

        Raises:
            ServiceError: A service is missing or outlives what it needs, or two need each other.
        """
        return _Planner(self, given, reads_request=True).plan(handler, needs)

    def known(self, session: AsyncSession | None, principal: Principal | None, inputs: Mapping[str, Any]) -> Any:
        """Return what a plan begins with."""
        given = {AsyncSession: session, Principal: principal, Settings: self._settings}
        return {**self._values, **self._made, **given, **inputs}

    # -- for the planner

    def factory_of(self, kind: Any) -> Factory | None:
        """Return the factory per request of a type, or None if it is there already."""
        return self._factories.get(kind)

    def function_of(self, depends: Depends) -> Factory:
        """Return the function in a `Depends`, or its replacement."""
        return self._functions.get(depends.factory, depends.factory)

    def is_settings(self, kind: Any) -> bool:
        """Return True if the app's settings are of this type."""
        return isinstance(kind, type) and issubclass(kind, Settings) and isinstance(self._settings, kind)

    # -- the app starts and stops

    def check(self) -> None:
        """Find what would keep the services that live as long as the app from being made, without making them.

        Raises:
            ServiceError: One needs a service that is missing, or that belongs to a request.
        """
        for kind in self._app_factories:
            self._check_for_app(kind, ())

    def _check_for_app(self, kind: Any, way: Way) -> None:
        if kind in self._values or kind in self._made:
            return
        if kind in way:
            raise ServiceError(describe_cycle(way, kind))
        way = (*way, kind)
        for parameter, (hint, is_required) in parameters_of(self._app_factories[kind], way).items():
            needed, _ = without_none(hint)
            if self.is_settings(needed):
                continue
            if needed in self and needed not in self._factories:
                self._check_for_app(needed, way)
            elif is_required:
                raise ServiceError(self._describe_refused_for_app(way, parameter, needed))

    async def start(self) -> None:
        """Make the services that live as long as the app; when one cannot be made, close the others again.

        Raises:
            ServiceError: One needs a service that is missing, or that belongs to a request.
        """
        try:
            for kind in self._app_factories:
                await self._make_for_app(kind, ())
        except BaseException:
            await self.stop()
            raise
        self._is_running = True

    async def _make_for_app(self, kind: Any, way: Way) -> Any:
        if kind in self._values or kind in self._made:
            return self._values[kind] if kind in self._values else self._made[kind]
        if kind in way:
            raise ServiceError(describe_cycle(way, kind))
        factory, way = self._app_factories[kind], (*way, kind)
        needs = []
        known: dict[Any, Any] = {Settings: self._settings}
        for parameter, (hint, is_required) in parameters_of(factory, way).items():
            needed, _ = without_none(hint)
            if self.is_settings(needed):
                needs.append((parameter, Settings))
            elif needed in self and needed not in self._factories:
                known[needed] = await self._make_for_app(needed, way)
                needs.append((parameter, needed))
            elif is_required:
                raise ServiceError(self._describe_refused_for_app(way, parameter, needed))
        self._made[kind] = value = await Step(kind, generator_function(factory), tuple(needs)).make(known, self._opened)
        return value

    def _describe_refused_for_app(self, way: Way, parameter: str, needed: Any) -> str:
        belongs = needed in {AsyncSession, Principal, Request} or needed in self
        if belongs:
            return (
                f"{describe_way(way)}: parameter {parameter!r}: {name_of(needed)} belongs to a request, and an "
                "app-scoped service outlives it; provide it without app_scope(), or let its methods take what they need"
            )
        return (
            f"{describe_way(way)}: nothing provides {name_of(needed)} for parameter {parameter!r}; "
            "add it to create_app(provide=…)"
        )

    async def stop(self) -> None:
        """Close the services that live as long as the app, the last made first; a failure is logged."""
        self._is_running = False
        opened, self._opened = self._opened, []
        self._made.clear()
        for one in reversed(opened):
            try:
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    failed = await close_generators([one], None)
                if failed is not None:
                    raise failed
            except Exception:
                name = name_of(one.generator)
                logger.exception("the service that %s made could not be closed; the others are closed", name)


class _Planner:
    """Orders the factories of one operation, or of one call, dependencies first.

    Args:
        services: What the app provides.
        given: What factories may take by name, with the annotation that it is read by, where that is known.
        reads_request: Whether a factory may have inputs read that nothing else takes.
    """

    def __init__(self, services: Services, given: Mapping[str, Any], *, reads_request: bool = False) -> None:
        self._services = services
        self._given = dict(given)
        self._reads_request = reads_request
        self._steps: dict[Any, Step] = {}
        self._named: dict[str, Any] = {}
        self._raises: set[type[Problem]] = set()
        self._takes_session = False
        self._needs_principal = False
        self._required: set[Any] = set()

    def plan(self, name: str, needs: Mapping[str, Any]) -> Plan:
        """Plan the services of a handler."""
        wanted = {parameter: self._find(parameter, hint, (name,)) for parameter, hint in needs.items()}
        return Plan(
            steps=tuple(self._steps.values()),
            wanted=wanted,
            named=self._named,
            takes_session=self._takes_session,
            needs_principal=self._needs_principal,
            required=frozenset(self._required),
            raises=frozenset(self._raises),
        )

    def _find(self, parameter: str, hint: Any, way: Way, *, is_required: bool = True, in_depends: bool = False) -> Any:
        """Return where a parameter comes from, and plan what makes it; None where its default stays.

        Raises:
            ServiceError: It comes from nowhere.
        """
        depends = dependency_of(hint)
        if depends is not None:
            self._raises.update(depends.raises)
            return self._visit(depends.factory, self._services.function_of(depends), way, in_depends=True)
        kind, is_optional = without_none(hint)
        if kind is AsyncSession:
            self._takes_session = True
            return AsyncSession
        if kind is Principal:
            self._needs_principal |= not is_optional
            return Principal
        if isinstance(kind, type) and issubclass(kind, Request):
            if not self._reads_request:
                raise ServiceError(
                    f"{describe_way(way)}: parameter {parameter!r} takes the request, and no request is served here; "
                    "let the function take what it needs of the request"
                )
            return Request
        if self._services.is_settings(kind):
            return Settings
        if kind in self._services:
            if not is_optional:
                self._required.add(kind)
            factory = self._services.factory_of(kind)
            return kind if factory is None else self._visit(kind, factory, way)
        if len(way) > 1 and (is_required or in_depends) and self._is_input(parameter, hint, way):
            return parameter
        if not is_required:
            return None
        if len(way) == 1:
            raise ServiceError(
                f"parameter {parameter!r} is neither a variable of the rule nor a type that create_app(provide=…) has; "
                f"put <{parameter}> into the rule, provide {name_of(kind)}, write "
                f"Annotated[{name_of(kind)}, Depends(function)], or give it a default to make it a query parameter"
            )
        raise ServiceError(
            f"{describe_way(way)}: nothing provides {name_of(kind)} for parameter {parameter!r}; add it to "
            f"create_app(provide=…), or put <{parameter}> into the rule"
        )

    def _is_input(self, parameter: str, hint: Any, way: Way) -> bool:
        """Return True if a factory takes a parameter from the request, by its name.

        Raises:
            ServiceError: It is read as something else.
        """
        is_read = self._reads_request and (parameter in NAMED_INPUTS or named_mark_of(hint) is not None)
        if parameter not in self._given and not is_read:
            return False
        known = self._given.get(parameter)
        if known is None and self._reads_request:
            self._given[parameter] = known = hint
        if known is not None and not _is_read_as(known, hint):
            raise ServiceError(
                f"{describe_way(way)}: parameter {parameter!r} is read once for the request, as {name_of(known)} and "
                f"not as {name_of(hint)}; give it the same annotation everywhere, or another name"
            )
        self._named[parameter] = known
        return True

    def _visit(self, key: Any, factory: Factory, way: Way, *, in_depends: bool = False) -> Any:
        """Plan one service and what it needs.

        Raises:
            ServiceError: It needs itself, or something that is missing.
        """
        if key in way[1:]:
            raise ServiceError(describe_cycle(way, key))
        if key not in self._steps:
            way = (*way, key)
            needs = []
            for parameter, (hint, is_required) in parameters_of(factory, way).items():
                source = self._find(parameter, hint, way, is_required=is_required, in_depends=in_depends)
                if source is not None:
                    needs.append((parameter, source))
            self._steps[key] = Step(key, generator_function(factory), tuple(needs))
        return key


def _is_read_as(known: Any, hint: Any) -> bool:
    """Return True if what is read by one annotation is what another one asks for."""
    return without_none(known)[0] == without_none(hint)[0] and (known == hint or not metadata_of(hint))


async def _pass(_: Any) -> None:
    """Check nothing."""


def _is_instance(provided: Any, kind: Any) -> bool:
    """Return True if the service itself was provided rather than a factory."""
    try:
        return isinstance(provided, kind)
    except TypeError:  # a protocol that is not runtime_checkable, a generic alias
        return not callable(provided)


def init_services(
    app: Quart,
    provide: Mapping[type, Any],
    settings: Settings | None = None,
    find_functions: Callable[[], Iterable[Factory]] = tuple,
) -> Services:
    """Give an app its services; the factory starts and stops them among the rest."""
    return state_of(app).put(Services(provide, settings, find_functions))


def services_of(app: Quart) -> Services:
    """Return the services of an app.

    Raises:
        RuntimeError: The app was not made by `ligand_async.create_app`.
    """
    return service_of(app).get(Services)


def current_services() -> Services:
    """Return the services of the current app."""
    return services_of(this_app())
