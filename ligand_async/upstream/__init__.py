"""Calling other services."""

from ligand_async.upstream.client import ServiceClient, read_model
from ligand_async.upstream.credentials import ClientCredentials, ForwardToken

__all__ = [
    "ClientCredentials",
    "ForwardToken",
    "ServiceClient",
    "read_model",
]
