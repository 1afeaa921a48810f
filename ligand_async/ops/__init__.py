"""Keeping a service running: server, health and logs."""

from ligand_async.ops.connections import Connections
from ligand_async.ops.health import HEALTH_PATHS, add_health_check, init_health
from ligand_async.ops.logs import init_logs
from ligand_async.ops.server import ServerError, run
from ligand_async.ops.streams import Limits
from ligand_async.ops.workers import run_workers

__all__ = [
    "HEALTH_PATHS",
    "Connections",
    "Limits",
    "ServerError",
    "add_health_check",
    "init_health",
    "init_logs",
    "run",
    "run_workers",
]
