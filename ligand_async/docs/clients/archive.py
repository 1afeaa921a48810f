"""The zips of clients: how one is made, where it is kept, and how it is found again."""

import os
import zipfile
from pathlib import Path
from tempfile import NamedTemporaryFile

from quart import Quart

from ligand_async.context import EXTENSION, Service

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say: the same files make the same bytes
DEFAULT_NAME = "clients"


def directory_of(app: Quart) -> Path:
    """Return where an app's zips are: what the settings say, else `clients` beside its module."""
    service = app.extensions.get(EXTENSION)
    chosen = service.settings.clients_directory if isinstance(service, Service) else None
    return Path(app.root_path) / DEFAULT_NAME if chosen is None else Path(chosen)


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
                    entry = zipfile.ZipInfo(f"{top}/{path.relative_to(source).as_posix()}", EPOCH)
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    entry.external_attr = 0o644 << 16
                    target.writestr(entry, path.read_bytes())
            part.chmod(0o644)  # whoever serves it may be another user
            os.replace(part, archive)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
