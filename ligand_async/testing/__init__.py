"""For the tests of a service: the pytest plugin with its throw-away databases, and access tokens."""

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
