"""Services: objects that handlers get by annotation, made by factories (svcs)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import svcs
from quart import Quart, current_app

from ligand_async.context import service_of, state_of


@dataclass(frozen=True, slots=True)
class _AppScope:
    """A factory whose product lives as long as the app."""

    factory: Callable[..., Any]


def app_scope(factory: Callable[..., Any]) -> _AppScope:
    """Make a service once, when the app starts, and close it when it stops.

    Args:
        factory: A function, coroutine function or (async) generator function; what follows its `yield` closes the
            service.
    """
    return _AppScope(factory)


class Services:
    """The services of one app: a registry, and those that live as long as it does.

    A test replaces one before it starts the app, and the rest of the service stays as it is:

        app = create_app("testing")
        services_of(app).replace(Mailer, FakeMailer())
        async with app.test_app(): ...
    """

    def __init__(self, provide: Mapping[type, Any]) -> None:
        self.registry = svcs.Registry()
        self._singletons = svcs.Registry()
        self._container = svcs.Container(self._singletons)
        self._provided: dict[type, Any] = {}
        for kind, provided in provide.items():
            self._register(kind, provided)

    def replace(self, kind: type, provided: Any) -> None:
        """Provide something else for a type.

        Args:
            kind: A type that `create_app(provide=…)` knows.
            provided: A factory per request, `app_scope(factory)` or an instance.

        Raises:
            LookupError: The type was never provided.
            TypeError: `provided` is none of these.
        """
        if kind not in self._provided:
            raise LookupError(
                f"{kind.__name__} is not provided, so nothing can take its place; see create_app(provide=…)"
            )
        self._register(kind, provided)

    def _register(self, kind: type, provided: Any) -> None:
        if isinstance(provided, _AppScope):
            self._singletons.register_factory(kind, provided.factory)
        elif _is_instance(provided, kind):
            self.registry.register_value(kind, provided)
            self._singletons.register_value(kind, provided)  # what lives as long as the app may need it too
        elif callable(provided):
            self.registry.register_factory(kind, provided)
        else:
            raise TypeError(
                f"provide[{kind.__name__}]: a factory, app_scope(factory) or an instance of it was expected, "
                f"not a {type(provided).__name__}"
            )
        self._provided[kind] = provided

    def __contains__(self, kind: Any) -> bool:
        try:
            return kind in self._provided
        except TypeError:  # an annotation that cannot be hashed is not a service
            return False

    def container(self) -> svcs.Container:
        """Open a container: what it makes lives until it is closed."""
        return svcs.Container(self.registry)

    async def start(self) -> None:
        """Make what lives as long as the app; when one cannot be made, close the others again."""
        try:
            for kind, provided in self._provided.items():
                if isinstance(provided, _AppScope):
                    self.registry.register_value(kind, await self._container.aget(kind))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close it, newest first."""
        await self._container.aclose()


def _is_instance(provided: Any, kind: type) -> bool:
    try:
        return isinstance(provided, kind)
    except TypeError:  # a protocol that does not check at run time
        return not callable(provided)


def init_services(app: Quart, provide: Mapping[type, Any]) -> Services:
    """Give an app its services; the factory starts and stops them among the rest."""
    return state_of(app).put(Services(provide))


def services_of(app: Quart) -> Services:
    """Return the services of an app.

    Raises:
        RuntimeError: The app was not made by `ligand_async.create_app`.
    """
    return service_of(app).get(Services)


def current_services() -> Services:
    """Return the services of the current app."""
    return services_of(current_app._get_current_object())  # type: ignore[attr-defined]  # a LocalProxy
