"""Liveness, readiness and what is running: `/livez`, `/readyz` and `/info`."""

import asyncio
import logging
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from quart import Blueprint, Quart, Response, current_app, request
from quart_schema import hide

from ligand_async.context import Service, current_deadline, current_principal, find_service, state_of
from ligand_async.draining import draining_of
from ligand_async.errors import NotFound, ServiceUnavailable
from ligand_async.marks import limit, public
from ligand_async.ops.management import is_management, manage
from ligand_async.protocols import CheckFailed, HealthCheck
from ligand_async.settings import Settings
from ligand_async.tasks import ContainedExits, SingleFlight

logger = logging.getLogger(__name__)

HEALTH_PATHS = frozenset({"/livez", "/readyz", "/info"})
CHECK_TIMEOUT = 1.0  # seconds, of a check that has no timeout of its own
FRESH_SECONDS = 1.0  # in which the result of the checks is shared: readiness is asked without credentials
_TO_ANSWER = 0.1  # seconds before the deadline of the request
_NO_STORE = {"Cache-Control": "no-store"}
_OPEN = frozenset({"local", "testing"})  # environments in which anyone sees details


@dataclass(eq=False)
class _Watched:
    """A check and what came of it.

    Attributes:
        check: The check.
        timeout: Seconds.
        task: Its last run; one that swallows its cancellation is not started again before it has ended.
        fault: Why it failed the last time; None if it passed.
    """

    check: HealthCheck
    timeout: float
    task: "asyncio.Task[None] | None" = None
    fault: str | None = None

    async def passes(self) -> bool:
        """Run the check within its time, and log a change of its result."""
        fault = await self._find_fault()
        if fault is not None and fault != self.fault:
            logger.warning("health check %s failed: %s", self.check.name, fault)
        elif fault is None and self.fault is not None:
            logger.info("health check %s passes again", self.check.name)
        self.fault = fault
        return fault is None

    async def _find_fault(self) -> str | None:
        if self.task is None or self.task.done():
            self.task = asyncio.ensure_future(self._run())
        task = self.task
        done, _ = await asyncio.wait({task}, timeout=self.timeout)
        if not done:
            task.cancel()
            return f"no answer within {self.timeout:g} s"
        if task.cancelled():
            return "it was cancelled"
        error = task.exception()
        if error is None:
            return None
        return str(error) if isinstance(error, CheckFailed) else type(error).__name__

    async def _run(self) -> None:
        with ContainedExits():
            answer: Any = await self.check.check()  # type: ignore[func-returns-value]  # a service may return something
            if answer is not None and answer is not True:
                raise CheckFailed(f"check() returned {type(answer).__name__}; it returns None, or raises if it fails")

    async def stop(self) -> None:
        """Cancel a run that is under way."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait({self.task}, timeout=min(self.timeout, CHECK_TIMEOUT))
            self.task = None


class _Watches(list[_Watched]):
    """The checks of one app."""


def add_health_check(app: Quart, check: HealthCheck, *, timeout: float | None = None) -> None:
    """Let a service be ready only while a check of its own passes.

    The check runs at most once a second, and only while somebody asks `/readyz`, in the context of the app.

    Args:
        app: The app.
        check: Its `name` is shown; its `check()` raises if something is wrong. The log has the text of a `CheckFailed`,
            and the class of any other exception.
        timeout: Seconds after which it counts as failed; by default the check's own `timeout`, else one second.

    Raises:
        ValueError: The app has a check of this name already, or the timeout is not positive.
    """
    if timeout is None:
        timeout = getattr(check, "timeout", CHECK_TIMEOUT)
    watches = state_of(app).get_or_make(_Watches)
    if any(other.check.name == check.name for other in watches):
        raise ValueError(f"the app has a health check {check.name!r} already; give this one another name")
    if not timeout > 0:
        raise ValueError(f"health check {check.name!r}: timeout is {timeout!r}; it is a number of seconds above 0")
    watches.append(_Watched(check, timeout))


def init_health(app: Quart, checks: Sequence[HealthCheck]) -> None:
    """Serve liveness, which runs no check; readiness, which runs all at once, at most once a second; and information.

    `/livez` is 200 as long as the process answers. `/readyz` is 200 when all checks pass, each within its time, else a
    503 problem. It is also 503 from the moment when the service is told to stop. In `local` and `testing`, on the
    management port, and for callers with the role of `operations_role`, it names the checks, but not the reasons why
    they failed, and `/info` says which release is running; for others there is no `/info`.
    """
    watches = state_of(app).get_or_make(_Watches)
    for check in checks:
        add_health_check(app, check)
    flight: SingleFlight[dict[str, bool]] = SingleFlight()
    last: tuple[dict[str, bool], float] = ({}, -math.inf)
    started_at = datetime.now(UTC)

    async def look() -> dict[str, bool]:
        nonlocal last
        async with app.app_context():
            results = await asyncio.gather(*(watched.passes() for watched in watches))
        passed = {watched.check.name: result for watched, result in zip(watches, results, strict=True)}
        last = (passed, time.monotonic())
        return passed

    @app.before_serving
    async def note_start() -> None:
        nonlocal started_at
        started_at = datetime.now(UTC)

    @app.after_serving
    async def forget() -> None:
        nonlocal last
        await flight.stop()
        await asyncio.gather(*(watched.stop() for watched in watches))
        last = ({}, -math.inf)

    health = limit(None)(public(Blueprint("ligand_health", __name__)))  # probes must not be refused

    @health.get("/livez")
    @hide
    async def livez() -> Response:
        return _answer({"status": "ok"})

    @health.get("/readyz")
    @hide
    async def readyz() -> Response:
        if draining_of(app).begun:
            raise ServiceUnavailable("the service is stopping", headers={"Retry-After": "1", **_NO_STORE})
        passed, checked_at = last
        if time.monotonic() >= checked_at + FRESH_SECONDS:
            left = current_deadline().seconds_left
            looking = flight.begin(None, look)
            await asyncio.wait({looking}, timeout=None if left is None else max(0.0, left - _TO_ANSWER))
            passed = looking.result() if looking.done() else {watched.check.name: False for watched in watches}
        details: dict[str, Any] = {}
        if _shows_details(app):
            details = {"checks": {name: "ok" if result else "failed" for name, result in passed.items()}}
        if not all(passed.values()):
            headers = {"Retry-After": "1", **_NO_STORE}
            raise ServiceUnavailable("the service is not ready", headers=headers, **details)
        return _answer({"status": "ok", **details})

    @health.get("/info")
    @hide
    async def info() -> Response:
        service = find_service(app)
        if service is None or not _shows_details(app):
            raise NotFound(headers=_NO_STORE)
        return _answer(_describe(service, started_at))

    manage(app, health)
    app.register_blueprint(health)


def _shows_details(app: Quart) -> bool:
    service = find_service(app)
    if service is None:
        return True
    settings = service.settings
    principal = current_principal()
    if settings.environment in _OPEN or is_management(request.scope):
        return True
    return principal is not None and settings.operations_role in principal.roles


def _describe(service: Service, started_at: datetime) -> dict[str, str]:
    settings: Settings = service.settings
    try:
        framework = version("ligand-async")
    except PackageNotFoundError:  # a bare checkout
        framework = "unknown"
    described = {
        "title": service.title,
        "version": service.version,
        "commit": settings.commit,
        "environment": settings.environment,
        "started_at": started_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "python": platform.python_version(),
        "ligand_async": framework,
    }
    return {name: value for name, value in described.items() if value is not None}


def _answer(document: Mapping[str, object]) -> Response:
    response: Response = current_app.json.response(document)  # type: ignore[assignment]  # Quart's own class
    response.headers.update(_NO_STORE)
    return response
