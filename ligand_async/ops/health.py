"""Liveness and readiness: `/livez` and `/readyz`."""

import asyncio
import logging
import math
import time
from collections.abc import Sequence

from quart import Blueprint, Quart, Response, current_app
from quart_schema import hide

from ligand_async.draining import draining_of
from ligand_async.errors import ServiceUnavailable
from ligand_async.marks import limit, public
from ligand_async.protocols import HealthCheck
from ligand_async.tasks import SingleFlight

logger = logging.getLogger(__name__)

CHECK_TIMEOUT = 1.0  # seconds, for all checks together
FRESH_SECONDS = 1.0  # in which the result of the checks is shared: readiness is asked without credentials
_NO_STORE = {"Cache-Control": "no-store"}


def init_health(app: Quart, checks: Sequence[HealthCheck]) -> None:
    """Serve liveness, which runs no check, and readiness, which runs all checks at once, at most once a second.

    `/livez` is 200 as long as the process answers. `/readyz` is 200 when all checks pass within a second, else a 503
    problem, which names the checks that failed but not the reasons. It is also 503 from the moment when the service is
    told to stop.
    """
    flight: SingleFlight[tuple[bool, ...]] = SingleFlight()
    last: tuple[tuple[bool, ...], float] = ((), -math.inf)

    async def look() -> tuple[bool, ...]:
        nonlocal last
        async with app.app_context():
            well = tuple(await asyncio.gather(*(_passes(check) for check in checks)))
        last = (well, time.monotonic())
        return well

    async def forget() -> None:
        nonlocal last
        await flight.stop()
        last = ((), -math.inf)

    app.after_serving(forget)
    health = limit(None)(public(Blueprint("ligand_health", __name__)))  # probes must not be refused

    @health.get("/livez")
    @hide
    async def livez() -> Response:
        return _answer_ok()

    @health.get("/readyz")
    @hide
    async def readyz() -> Response:
        if draining_of(app).begun:
            raise ServiceUnavailable("the service is stopping", headers={"Retry-After": "1", **_NO_STORE})
        well, checked_at = last
        if time.monotonic() >= checked_at + FRESH_SECONDS:
            well = await flight.share(None, look)
        results = {check.name: "ok" if passed else "failed" for check, passed in zip(checks, well, strict=True)}
        if not all(well):
            headers = {"Retry-After": "1", **_NO_STORE}
            raise ServiceUnavailable("the service is not ready", headers=headers, checks=results)
        return _answer_ok(checks=results)

    app.register_blueprint(health)


def _answer_ok(**members: dict[str, str]) -> Response:
    response: Response = current_app.json.response(status="ok", **members)  # type: ignore[assignment]  # Quart's own class
    response.headers.update(_NO_STORE)
    return response


async def _passes(check: HealthCheck) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            await check.check()
    except Exception as error:  # noqa: BLE001  (any error of a check is a failed check)
        logger.warning("health check %s failed: %s", check.name, type(error).__name__)
        return False
    return True
