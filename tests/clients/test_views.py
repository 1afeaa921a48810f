"""Handing out clients: only what was built for this very API."""

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from quart import Blueprint, Quart
from quart.typing import TestClientProtocol as Client

from ligand_async import Settings, create_app, operation, public
from ligand_async.docs.clients import directory_of, pack, path_of
from ligand_async.docs.clients.views import identity_of
from ligand_async.testing import authorization
from tests.docs.documents import make_docs_app
from tests.services import NEVER_OPENED


def make_shop(*, answer: type = int, version: str = "1.2.0", **settings: Any) -> Quart:
    """Make a service whose API depends on the answer's type."""
    shop = Blueprint("shop", __name__)

    async def count() -> Any:
        """Count."""
        return 1

    count.__annotations__["return"] = answer
    shop.get("/count")(public(operation(count)))
    return create_app(
        __name__,
        title="Shop",
        version=version,
        client_name="shop-client",
        settings=Settings.load("testing", database_url=NEVER_OPENED, **settings),
        blueprints=[shop],
    )


def build(app: Quart, source: Path, kind: str = "python") -> Path:
    """Put a zip where the app looks for a client."""
    source.mkdir(exist_ok=True)
    (source / "client.py").write_text("# the client\n")
    _, digest = identity_of(app)
    archive = path_of(directory_of(app), kind, digest)
    pack(source, archive, top="shop-client-1.2.0")
    return archive


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path / "zips")


@pytest.fixture
def client(directory: str, tmp_path: Path) -> Client:
    """A client of a shop whose Python client was built."""
    app = make_shop(clients_directory=directory)
    build(app, tmp_path / "source")
    return app.test_client()


async def test_what_was_built_is_handed_out(client: Client, tmp_path: Path) -> None:
    """The zip as it is, with the service's name and version for a name."""
    response = await client.get("/openapi/clients/python")
    (tmp_path / "got.zip").write_bytes(await response.get_data(as_text=False))

    assert (response.status_code, response.content_type) == (200, "application/zip")
    assert response.headers["Content-Disposition"] == "attachment; filename=shop-client-1.2.0-python.zip"
    with ZipFile(tmp_path / "got.zip") as got:
        assert got.namelist() == ["shop-client-1.2.0/client.py"]


async def test_who_has_it_is_not_sent_it_again(client: Client) -> None:
    """It has an entity tag, and is asked for again each time."""
    first = await client.get("/openapi/clients/python")
    again = await client.get("/openapi/clients/python", headers={"If-None-Match": first.headers["ETag"]})

    assert (again.status_code, await again.get_data()) == (304, b"")
    assert first.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("typescript", "`ligand client build typescript`"),
        ("go", "`ligand client build go`"),
        ("Python", "no such client"),
        ("a" * 65, "no such client"),
    ],
)
async def test_without_one_a_problem_says_how(client: Client, kind: str, detail: str) -> None:
    """A 404, whatever is asked for; what cannot be the name of a generator is not looked for."""
    response = await client.get(f"/openapi/clients/{kind}")

    assert (response.status_code, response.mimetype) == (404, "application/problem+json")
    assert detail in (await response.get_json())["detail"]


async def test_a_name_that_leads_up_is_refused(client: Client) -> None:
    """Before it reaches anything that looks for files."""
    response = await client.get("/openapi/clients/..%2Fpython")

    assert (response.status_code, response.mimetype) == (400, "application/problem+json")


@pytest.mark.parametrize("change", [{"answer": str}, {"version": "1.2.1"}])
async def test_a_client_of_another_api_is_not_handed_out(
    client: Client, directory: str, change: dict[str, Any]
) -> None:
    """A zip beside it that was built for an older document does not count."""
    response = await make_shop(clients_directory=directory, **change).test_client().get("/openapi/clients/python")

    assert response.status_code == 404


async def test_settings_of_the_deployment_make_no_other_api(client: Client, directory: str) -> None:
    """What was built in an image is handed out wherever it runs: addresses and issuers do not count."""
    elsewhere = make_shop(
        clients_directory=directory,
        service_public_url="https://shop.example.org",
        oidc_issuer="https://issuer.example.org",
        oidc_audience="shop",
    )
    response = await elsewhere.test_client().get("/openapi/clients/python")

    assert response.status_code == 200


async def test_they_are_closed_as_the_docs_are(directory: str, tmp_path: Path) -> None:
    """Who may not read the document gets no client, and no cache keeps one for others."""
    app = make_shop(clients_directory=directory, docs_role="developer")
    build(app, tmp_path / "source")
    nobody = await app.test_client().get("/openapi/clients/python")
    somebody = await app.test_client().get("/openapi/clients/python", headers=authorization(app, roles=["developer"]))

    assert (nobody.status_code, somebody.status_code) == (401, 200)
    assert somebody.headers["Cache-Control"] == "private, no-cache"


async def test_the_document_does_not_speak_of_them(client: Client) -> None:
    """They are no operations of the service."""
    document = await (await client.get("/openapi.json")).get_json()

    assert list(document["paths"]) == ["/count"]


def test_by_default_they_are_beside_the_module() -> None:
    """An installed service finds those of its own package."""
    assert directory_of(make_shop()) == Path(__file__).parent / "clients"


async def test_an_app_that_is_not_ours_has_none() -> None:
    """Where only the docs were added to a Quart app, the answer is a 404 as well."""
    response = await make_docs_app().test_client().get("/openapi/clients/python")

    assert response.status_code == 404


def test_the_same_files_make_the_same_zip(directory: str, tmp_path: Path) -> None:
    """Whenever it is packed; others may read it, and nothing half-written stays."""
    app = make_shop(clients_directory=directory)
    archives = [build(app, tmp_path / "source") for _ in range(2)]
    first = archives[0].read_bytes()
    (tmp_path / "source" / "client.py").touch()

    assert build(app, tmp_path / "source").read_bytes() == first
    assert archives[0].stat().st_mode & 0o777 == 0o644
    assert [path.name for path in Path(directory).iterdir()] == [archives[0].name]
