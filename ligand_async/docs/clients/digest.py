"""Which API a client is of: the digest of what the document says about it."""

import hashlib
import json
from typing import Any

from ligand_async.docs.clients.package import Package

FORMAT = 1  # of the zips: a new one makes those of earlier releases unknown


def digest_of(document: dict[str, Any], package: Package) -> str:
    """Return the digest of a document, but for what the settings of a deployment put in.

    Those are the servers and how callers show who they are, with the addresses of the issuer: an image has its clients
    built before anybody knows where it will run.

    Args:
        document: As it is served.
        package: The client's name and version.
    """
    components = {key: part for key, part in document.get("components", {}).items() if key != "securitySchemes"}
    paths: dict[str, Any] = {path: dict(item) for path, item in document["paths"].items()}
    told = {**document, "paths": paths, "components": components}
    told.pop("servers", None)
    told.pop("security", None)
    for item in paths.values():
        for method, operation in item.items():
            if isinstance(operation, dict):
                item[method] = {key: value for key, value in operation.items() if key != "security"}
    text = json.dumps([FORMAT, package.name, package.version, told], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
