"""The zip of a client: its name, its version, the digest of its API, and where it is kept."""

import hashlib
import json
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from quart import Quart

from ligand_async.context import find_service
from ligand_async.docs.document import EXTENSION


class ClientError(Exception):
    """A client cannot be made; the message has the reason and the remedy."""


_NAME = re.compile(r"[a-z][a-z0-9]*(?:[._-][a-z0-9]+)*")  # what both PyPI and npm take (PEP 508, package.json)
_VERSION = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?([-+][0-9A-Za-z.+-]+)?")
_PYTHON_VERSION = re.compile(r"\d+(?:\.\d+)*(?:[-._]?(?:a|b|rc|post|dev)[-._]?\d*)*(?:\+[a-z0-9]+(?:[-._][a-z0-9]+)*)?")


@dataclass(frozen=True, slots=True)
class Package:
    """One client package.

    Attributes:
        name: The name for `pip install` and `npm install`.
        version: The version of the service.
    """

    name: str
    version: str

    def __post_init__(self) -> None:
        """Check the name.

        Raises:
            ClientError: No package can have this name.
        """
        if _NAME.fullmatch(self.name) is None:
            raise ClientError(
                f"no package can be called {self.name!r}; give create_app(client_name=...) a name of lower-case "
                "letters and digits, with single hyphens, dots or underscores between them"
            )

    @property
    def module(self) -> str:
        """The name as an identifier, for `import`."""
        return re.sub(r"[^a-z0-9]+", "_", self.name)

    @property
    def python_version(self) -> str:
        """The version as Python's package managers want it (PEP 440).

        Raises:
            ClientError: No package can have this version.
        """
        if _PYTHON_VERSION.fullmatch(self.version) is None:
            raise _unusable(self.version)
        return self.version

    @property
    def semantic_version(self) -> str:
        """The version with three numbers, as npm wants it: 1.0 is 1.0.0.

        Raises:
            ClientError: No package can have this version.
        """
        found = _VERSION.fullmatch(self.version)
        if found is None:
            raise _unusable(self.version)
        major, minor, patch, rest = found.groups(default="")
        return f"{int(major)}.{int(minor or 0)}.{int(patch or 0)}{rest}"


def _unusable(version: str) -> ClientError:
    """Return the error of a version that no package can have."""
    return ClientError(f"no package can have the version {version!r}; give create_app(version=...) one such as 1.2.3")


def package_of(app: Quart) -> Package:
    """Return the name and version of the clients of an app.

    Raises:
        ClientError: No package can have the name.
    """
    service = find_service(app)
    if service is not None:
        return Package(service.client_name, service.version)
    info = app.extensions[EXTENSION].info
    return Package(f"{info.title.lower().replace(' ', '-')}-client", info.version)


_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time of a zip, so that the same files make the same bytes
_DEFAULT_NAME = "clients"


def directory_of(app: Quart) -> Path:
    """Return the directory of an app's zips: the setting, else `clients` beside the app's module."""
    service = find_service(app)
    chosen = None if service is None else service.settings.clients_directory
    return Path(app.root_path) / _DEFAULT_NAME if chosen is None else Path(chosen)


def path_of(directory: Path, kind: str, digest: str) -> Path:
    """Return where the zip of a client is kept."""
    return directory / f"{kind}-{digest}.zip"


def pack(source: Path, archive: Path, *, top: str) -> None:
    """Put a directory into a zip; readers see the whole file or none.

    Args:
        source: The directory.
        archive: The file to be made; its directory is made too.
        top: The directory that the zip has around everything, as package managers expect.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=archive.parent, prefix=".", suffix=".part", delete=False) as file:
        part = Path(file.name)
        try:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
                for path in sorted(path for path in source.rglob("*") if path.is_file()):
                    entry = zipfile.ZipInfo(f"{top}/{path.relative_to(source).as_posix()}", _EPOCH)
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    entry.external_attr = 0o644 << 16
                    target.writestr(entry, path.read_bytes())
            part.chmod(0o644)  # another user may serve it
            os.replace(part, archive)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


_FORMAT = 2  # of the zips: a new one makes those of earlier releases unknown


def digest_of(document: dict[str, Any], package: Package) -> str:
    """Return the digest of a document without the parts that depend on a deployment.

    Those are the servers and the security schemes with the addresses of the issuer: the clients of an image are built
    before its deployment is known.

    Args:
        document: As it is served.
        package: The client's name and version.
    """
    components = {key: part for key, part in document.get("components", {}).items() if key != "securitySchemes"}
    paths: dict[str, Any] = {path: dict(item) for path, item in document["paths"].items()}
    stable = {**document, "paths": paths, "components": components}
    stable.pop("servers", None)
    stable.pop("security", None)
    for item in paths.values():
        for method, operation in item.items():
            if isinstance(operation, dict):
                item[method] = {key: value for key, value in operation.items() if key != "security"}
    text = json.dumps([_FORMAT, package.name, package.version, stable], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
