"""A service that calls the petstore by its generated client: two services and an issuer, all of them real."""

import json
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from uuid import UUID

import pytest

from ligand_async.docs.clients import Package, generated
from tests.clients.making import HERE, check_python, ligand_client, run
from tests.provider.running import Provider
from tests.servers import ROOT, served

pytestmark = pytest.mark.extended


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The petstore's client beside the service that uses it."""
    directory = tmp_path_factory.mktemp("client") / "petstore-client"
    ligand_client("generate", "python", "-o", directory, directory=directory.parent)
    shutil.copy(HERE / "kennel.py", directory)
    return directory


@pytest.fixture(scope="module")
def petstore(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The petstore's address."""
    directory = tmp_path_factory.mktemp("petstore")
    variables = {"LIGAND_DATABASE_AUTO_UPGRADE": "1", **trust(provider)}
    with served("examples.petstore.app:create_app()", directory, variables) as address:
        yield address


def trust(provider: Provider) -> dict[str, str]:
    return {"LIGAND_OIDC_ISSUER": provider.issuer, "LIGAND_OIDC_AUDIENCE": provider.audience}


def ask(method: str, url: str, **headers: str) -> tuple[int, Any, dict[str, str]]:
    request = urllib.request.Request(url, method=method, headers={n.replace("_", "-"): v for n, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer), dict(answer.headers)
    except HTTPError as error:
        return error.code, json.load(error), dict(error.headers)


def test_a_service_calls_another_by_its_generated_client(
    source: Path, petstore: str, provider: Provider, tmp_path: Path
) -> None:
    """With a token of its own from the issuer, and the request's id; failures of the other service are its problems."""
    variables = {
        **trust(provider),
        "PYTHONPATH": f"{ROOT}:{source}",
        "LIGAND_OIDC_CLIENT_ID": "svc",
        "LIGAND_OIDC_CLIENT_SECRET": provider.secret,
        "LIGAND_PETSTORE_URL": petstore,
    }
    caller = {"Authorization": f"Bearer {provider.token('svc')}"}
    with served("kennel:create_app()", tmp_path, variables) as kennel:
        status, made, _ = ask("POST", f"{kennel}/dogs/Rex", X_Request_ID="kennel-1", **caller)
        assert (status, ask("GET", f"{kennel}/dogs/{made}")[:2]) == (201, (200, "Rex"))
        assert ask("GET", f"{kennel}/dogs/{UUID(int=0)}")[0] == 404
        assert ask("POST", f"{kennel}/dogs/Rex")[0] == 401
        assert ask("POST", f"{kennel}/dogs/{'x' * 300}", **caller)[1]["detail"] == "the petstore did not take the dog"
        provider.stop()  # the token is kept
        try:
            assert ask("POST", f"{kennel}/dogs/Ace", **caller)[0] == 201
        finally:
            provider.start()
        events = ask("GET", f"{petstore}/audit/", **caller)[1]["items"]
    assert [(event["request_id"], event["subject"]) for event in events if event["key"] == made] == [
        ("kennel-1", "svc")
    ]


def test_a_service_that_is_down_is_a_problem_of_its_caller(source: Path, provider: Provider, tmp_path: Path) -> None:
    """A 502 that names nobody, without a line of the handler for it."""
    variables = {
        **trust(provider),
        "PYTHONPATH": f"{ROOT}:{source}",
        "LIGAND_OIDC_CLIENT_ID": "svc",
        "LIGAND_OIDC_CLIENT_SECRET": provider.secret,
        "LIGAND_PETSTORE_URL": "http://127.0.0.1:9",
    }
    with served("kennel:create_app()", tmp_path, variables) as kennel:
        status, problem, headers = ask("GET", f"{kennel}/dogs/{UUID(int=0)}")

    assert (status, headers["content-type"]) == (502, "application/problem+json")
    assert problem["detail"] == "a service behind this one is not reachable"


def test_the_service_of_the_guide_is_checked(source: Path) -> None:
    """It is the one in the guide, and mypy finds no mistake in it."""
    check_python(source / "kennel.py", source=source)

    assert f"```python\n{(HERE / 'kennel.py').read_text()}```" in (ROOT / "docs" / "clients.md").read_text()


PROGRAM = """
import asyncio, io, httpx2
from files_client import Client
from files_client.api.default import read_part, send_image, send_upload
from files_client.models import SendUploadBody
from files_client.types import File

sent = []

def answer(request):
    sent.append((request.headers.get("content-type"), request.read()))
    return httpx2.Response(204)

async def main():
    client = Client("http://files", httpx_args={"transport": httpx2.MockTransport(answer)})
    await send_image.asyncio_detailed(client=client, body=File(io.BytesIO(b"png")))
    send_image.sync_detailed(client=client, body=File(io.BytesIO(b"png")))
    await send_upload.asyncio_detailed(client=client, body=SendUploadBody(File(io.BytesIO(b"--+++"), "a", "b/c")))
    for step in ("", ".", ".."):
        try:
            await read_part.asyncio_detailed(step, client=client)
        except ValueError as error:
            assert "another path" in str(error)
        else:
            raise SystemExit(f"{step!r} was sent")

asyncio.run(main())
assert sent[:2] == [("image/png", b"png")] * 2, sent
boundary = sent[2][0].partition("boundary=")[2].encode()
assert len(boundary) > 20 and sent[2][1].count(boundary) == 2, sent
"""


def test_a_generated_client_sends_what_it_is_given(tmp_path: Path) -> None:
    """A file by an async function, a form whose boundary is in no file, and no variable that is another path."""
    ligand_client("generate", "python", "-o", tmp_path / "probe", directory=tmp_path)  # skips where the extra is not
    binary = {"schema": {"type": "string", "format": "binary"}}
    form = {"type": "object", "required": ["file"], "properties": {"file": binary["schema"]}}
    done = {"204": {"description": "Done"}}
    variable = {"name": "part", "in": "path", "required": True, "schema": {"type": "string"}}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Files", "version": "1"},
        "paths": {
            "/image": {
                "put": {"operationId": "send_image", "requestBody": body_of("image/png", binary), "responses": done}
            },
            "/upload": {
                "post": {
                    "operationId": "send_upload",
                    "requestBody": body_of("multipart/form-data", {"schema": form}),
                    "responses": done,
                }
            },
            "/parts/{part}": {"get": {"operationId": "read_part", "parameters": [variable], "responses": done}},
        },
    }
    with generated("python", document, Package("files-client", "1.0.0"), server=None) as source:
        run(sys.executable, "-c", PROGRAM, directory=source, PYTHONPATH=str(source))


def body_of(media_type: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {media_type: content}}
