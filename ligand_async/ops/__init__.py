"""Keeping a service running: health and logs."""

from ligand_async.ops.health import init_health
from ligand_async.ops.logs import init_logs
from ligand_async.ops.server import ServerError, run

__all__ = [
    "ServerError",
    "init_health",
    "init_logs",
    "run",
]
