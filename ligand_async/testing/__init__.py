"""For the tests of a service: the pytest plugin with its throw-away databases, and access tokens."""

from ligand_async.testing.conformance import Contradiction, watch
from ligand_async.testing.postgres import ThrowawayPostgres
from ligand_async.testing.tokens import authorization

__all__ = [
    "Contradiction",
    "ThrowawayPostgres",
    "authorization",
    "watch",
]
