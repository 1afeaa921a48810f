"""The view that hands out clients: only those that were built for the very API that is served."""

import asyncio
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from quart import Blueprint, Quart, Response
from quart_schema import hide

from ligand_async.context import state_of
from ligand_async.docs.clients.generate import KIND
from ligand_async.docs.clients.package import ClientError, Package, digest_of, directory_of, package_of, path_of
from ligand_async.docs.document import document_of
from ligand_async.docs.views import answer, kept_by_whom
from ligand_async.errors import NotFound
from ligand_async.tasks import this_app


@dataclass(frozen=True, slots=True)
class _Identity:
    """The package of an app's clients, and the digest of the API with the document's entity tag."""

    etag: str
    package: Package
    digest: str


def add_client_routes(blueprint: Blueprint) -> None:
    """Add `/openapi/clients/<kind>` to the blueprint of the docs; it has the access rule of the docs."""
    blueprint.add_url_rule("/openapi/clients/<kind>", "read_client", hide(_read_client))


async def _read_client(kind: str) -> Response:
    """Return the zip of a client.

    Raises:
        NotFound: None was built for this API.
    """
    app = this_app()
    try:
        package, digest = identity_of(app)
    except ClientError as error:
        raise NotFound(str(error)) from error
    content = await asyncio.to_thread(_read_zip, directory_of(app), kind, digest)
    if content is None:
        raise NotFound(_how_to_build(kind))
    response = await answer(content, "application/zip", hashlib.sha256(content).hexdigest()[:32], kept_by_whom())
    filename = f"{package.name}-{package.version}-{kind}.zip"
    response.headers.set("Content-Disposition", "attachment", filename=filename)
    return response


def identity_of(app: Quart) -> tuple[Package, str]:
    """Return the name and version of an app's clients, and the digest of the API that they must be built for.

    Raises:
        ClientError: No package can have the name.
    """
    document = document_of(app)
    state = state_of(app)
    known = state.find(_Identity)
    if known is None or known.etag != document.etag:
        package = package_of(app)
        known = state.put(_Identity(document.etag, package, digest_of(json.loads(document.content), package)))
    return known.package, known.digest


def _read_zip(directory: Path, kind: str, digest: str) -> bytes | None:
    """Return the zip that was built for an API, or None."""
    if KIND.fullmatch(kind) is None:
        return None
    try:
        return path_of(directory, kind, digest).read_bytes()
    except FileNotFoundError:
        return None


def _how_to_build(kind: str) -> str:
    """Return how such a client is built; a text that cannot be a kind is not repeated."""
    if KIND.fullmatch(kind) is None:
        return "there is no such client"
    return (
        f"no {kind} client was built for this version of the API; when its image is made, run "
        f"`ligand client build {kind}`, or generate one from /openapi.json with `ligand client generate {kind} -o DIR`"
    )
