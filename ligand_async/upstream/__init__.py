"""Calling other services."""

from ligand_async.upstream.client import ServiceClient, read_model
from ligand_async.upstream.credentials import ClientCredentials, ForwardToken
from ligand_async.upstream.failures import UpstreamFailed

__all__ = [
    "ClientCredentials",
    "ForwardToken",
    "ServiceClient",
    "UpstreamFailed",
    "read_model",
]
