"""Clients of the service: generated from its document by programs of the extra `clients`, packed, served."""

from ligand_async.docs.clients.generate import KINDS, TIMEOUT, generated
from ligand_async.docs.clients.package import ClientError, Package, digest_of, directory_of, pack, package_of, path_of

__all__ = [
    "KINDS",
    "TIMEOUT",
    "ClientError",
    "Package",
    "digest_of",
    "directory_of",
    "generated",
    "pack",
    "package_of",
    "path_of",
]
