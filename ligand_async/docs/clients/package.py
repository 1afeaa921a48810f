"""What a client is called and which version it is: the service's own, in the forms that package managers want."""

import re
from dataclasses import dataclass

from quart import Quart

from ligand_async.context import EXTENSION, Service
from ligand_async.docs.clients.errors import ClientError
from ligand_async.docs.document import EXTENSION as DOCS

NAME = re.compile(r"[a-z][a-z0-9]*(?:[._-][a-z0-9]+)*")  # what both PyPI and npm take (PEP 508, package.json)
VERSION = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?([-+][0-9A-Za-z.+-]+)?")
PYTHON_VERSION = re.compile(r"\d+(?:\.\d+)*(?:[-._]?(?:a|b|rc|post|dev)[-._]?\d*)*(?:\+[a-z0-9]+(?:[-._][a-z0-9]+)*)?")


@dataclass(frozen=True, slots=True)
class Package:
    """One client package.

    Attributes:
        name: As in `pip install` and `npm install`.
        version: The service's own.
    """

    name: str
    version: str

    def __post_init__(self) -> None:
        """Refuse a name that no package can have.

        Raises:
            ClientError: It is none.
        """
        if NAME.fullmatch(self.name) is None:
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
            ClientError: It is none.
        """
        if PYTHON_VERSION.fullmatch(self.version) is None:
            raise unusable(self.version)
        return self.version

    @property
    def semantic_version(self) -> str:
        """The version with three numbers, as npm wants it: 1.0 is 1.0.0.

        Raises:
            ClientError: It is none.
        """
        found = VERSION.fullmatch(self.version)
        if found is None:
            raise unusable(self.version)
        major, minor, patch, rest = found.groups(default="")
        return f"{int(major)}.{int(minor or 0)}.{int(patch or 0)}{rest}"


def unusable(version: str) -> ClientError:
    """Return the error of a version that no package can have."""
    return ClientError(f"no package can have the version {version!r}; give create_app(version=...) one such as 1.2.3")


def package_of(app: Quart) -> Package:
    """Return what the clients of an app are called.

    Raises:
        ClientError: Its name is one that no package can have.
    """
    service = app.extensions.get(EXTENSION)
    if isinstance(service, Service):
        return Package(service.client_name, service.version)
    info = app.extensions[DOCS].info
    return Package(f"{info.title.lower().replace(' ', '-')}-client", info.version)
