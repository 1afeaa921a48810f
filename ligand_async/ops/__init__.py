"""Keeping a service running: server, health and logs."""

from ligand_async.ops.addresses import (
    SOCKET_MODE,
    Address,
    Listener,
    ServerError,
    open_listener,
    open_listeners,
    take_handed_over,
)
from ligand_async.ops.connections import Connections
from ligand_async.ops.health import HEALTH_PATHS, add_health_check, init_health
from ligand_async.ops.logs import init_logs
from ligand_async.ops.management import is_management, manage
from ligand_async.ops.reload import Reloader, ReloadRefused
from ligand_async.ops.server import run
from ligand_async.ops.streams import Limits
from ligand_async.ops.workers import run_workers

__all__ = [
    "HEALTH_PATHS",
    "SOCKET_MODE",
    "Address",
    "Connections",
    "Limits",
    "Listener",
    "ReloadRefused",
    "Reloader",
    "ServerError",
    "add_health_check",
    "init_health",
    "init_logs",
    "is_management",
    "manage",
    "open_listener",
    "open_listeners",
    "run",
    "run_workers",
    "take_handed_over",
]
