"""The functions and files of the package that a request to the petstore visits, in the order of their first call."""

import gc
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from quart import Response

from examples.petstore.app import create_app
from examples.petstore.models import db
from ligand_async.testing import authorization

PACKAGE = Path(__file__).parents[1] / "ligand_async"
WARM_UPS = 2


class Visit(NamedTuple):
    """A function that was called."""

    file: str  # below the package
    function: str  # the qualified name


class Trace(NamedTuple):
    """What one request visited."""

    status: int
    visits: list[Visit]

    @property
    def files(self) -> list[str]:
        """Each file once, in the order of the first call into it."""
        return list(dict.fromkeys(visit.file for visit in self.visits))


async def trace_requests(database_url: str) -> dict[str, Trace]:
    """Trace a few requests to a petstore that has answered such requests before."""
    app = create_app("testing", database_url=database_url)
    async with app.test_app(), app.app_context():
        await db.create_tables()
        client = app.test_client()
        ada, bob = (authorization(app, roles=["user"], subject=name) for name in ("ada", "bob"))
        for _ in range(WARM_UPS):
            response = await client.post("/pets/", json={"name": "Rex"}, headers=ada)
            path = f"/pets/{(await response.get_json())['id']}"
            await client.get(path)
            await client.get("/pets/")
            await client.get("/pets/00000000-0000-7000-8000-000000000000")
        return {
            "GET /pets/<id>": await _trace(lambda: client.get(path)),
            "POST /pets/": await _trace(lambda: client.post("/pets/", json={"name": "Rex"}, headers=ada)),
            "POST /pets/ with a key": await _trace(
                lambda: client.post("/pets/", json={"name": "Rex"}, headers=ada | {"Idempotency-Key": '"one"'})
            ),
            "POST /pets/ with a new token": await _trace(
                lambda: client.post("/pets/", json={"name": "Rex"}, headers=bob)
            ),
            "GET /pets/": await _trace(lambda: client.get("/pets/")),
            "404": await _trace(lambda: client.get("/pets/00000000-0000-7000-8000-000000000000")),
        }


async def _trace(call: Callable[[], Awaitable[Response]]) -> Trace:
    visits: dict[Visit, None] = {}
    names: dict[str, str | None] = {}

    def see(frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code.co_filename not in names:
            path = Path(code.co_filename)
            names[code.co_filename] = str(path.relative_to(PACKAGE)) if path.is_relative_to(PACKAGE) else None
        file = names[code.co_filename]
        if file is not None and not file.startswith(("testing/", "web/client.py")):  # which send the requests
            visits[Visit(file, code.co_qualname)] = None

    gc.collect()  # what earlier tests have left would run its finalizers in the midst of the request
    gc.disable()
    sys.setprofile(see)
    try:
        response = await call()
    finally:
        sys.setprofile(None)
        gc.enable()
    return Trace(response.status_code, list(visits))
