"""For the tests of a service: the pytest plugin with its throw-away databases, and access tokens."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ligand_async.testing.conformance import Conformance, Contradiction, watch
    from ligand_async.testing.databases import PostgresServer
    from ligand_async.testing.postgres import ThrowawayPostgres
    from ligand_async.testing.tokens import access_token, authorization

__all__ = [
    "Conformance",
    "Contradiction",
    "PostgresServer",
    "ThrowawayPostgres",
    "access_token",
    "authorization",
    "watch",
]

# Every pytest run of an environment imports this package for its plugin, whether or not the run tests a service,
# and what checks responses needs packages that not every such environment has.
_MODULES = {
    "Conformance": "conformance",
    "Contradiction": "conformance",
    "PostgresServer": "databases",
    "ThrowawayPostgres": "postgres",
    "access_token": "tokens",
    "authorization": "tokens",
    "watch": "conformance",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
