"""Generating a client: in a temporary directory, from a copy of the document."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ligand_async.docs.clients.copy import copy_for_generators
from ligand_async.docs.clients.errors import ClientError
from ligand_async.docs.clients.generators import check_kind, command_for
from ligand_async.docs.clients.package import Package
from ligand_async.docs.clients.process import run_generator
from ligand_async.docs.clients.tidying import tidy

TIMEOUT = 120.0  # seconds


@contextmanager
def generated(
    kind: str, document: dict[str, Any], package: Package, *, server: str | None, timeout: float = TIMEOUT
) -> Iterator[Path]:
    """Generate a client, and yield the directory that holds it until the block ends. Nothing is asked of any network.

    Args:
        kind: `python`, `typescript` or the name of one of openapi-generator's own.
        document: The service's document, as it is served.
        package: What the client is called.
        server: The client's default address, if it has one.
        timeout: Seconds that the generator may take.

    Raises:
        ClientError: The generator is not installed, failed, or took too long.
    """
    check_kind(kind)
    with TemporaryDirectory(prefix="ligand-client-") as directory:
        work = Path(directory)
        source, target = work / "openapi.json", work / "client"
        source.write_text(json.dumps(copy_for_generators(document, server=server)))
        run_generator(kind, command_for(kind, package, source, target), work, timeout=timeout)
        if not target.is_dir():
            raise ClientError(f"{kind} made nothing")
        tidy(target)
        yield target
