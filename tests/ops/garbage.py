"""A service that says how it searches for garbage."""

import gc
import os

from quart import Quart

import ligand_async
from ligand_async import Settings, public

frozen: list[int] = []
_freeze = gc.freeze


def freeze() -> None:
    """Freeze, and note which process did."""
    _freeze()
    frozen.append(os.getpid())


gc.freeze = freeze


def create_app() -> Quart:
    """Make the service."""
    app = ligand_async.create_app(__name__, title="Garbage", version="1.0.0", settings=Settings.load("local"))

    @app.get("/garbage")
    @public
    async def describe() -> dict[str, object]:
        return {"pid": os.getpid(), "frozen": frozen, "objects": gc.get_freeze_count(), "enabled": gc.isenabled()}

    return app
