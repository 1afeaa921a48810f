"""The secret key that local makes and keeps."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ligand_async.settings import Settings, SettingsError
from tests.machine import leave_bare

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_bare(monkeypatch, tmp_path)


def test_key_is_made_once() -> None:
    """The second start finds the key of the first, which is long enough for prod."""
    one, two = Settings.load("local"), Settings.load("local")

    assert one.secret_key == two.secret_key
    assert len(one.secret_key.get_secret_value()) >= 32
    assert one.sources["secret_key"] == "ligand.db.secret_key"


@pytest.mark.parametrize(
    ("url", "file"),
    [
        (None, "ligand.db.secret_key"),
        ("sqlite+aiosqlite:///data/pets.db", "data/pets.db.secret_key"),
        ("sqlite:///data/pets.db?timeout=3", "data/pets.db.secret_key"),
        ("sqlite:///file:data/pets.db?uri=true", "data/pets.db.secret_key"),
        ("postgresql://pets@db/pets", "ligand.secret_key"),
    ],
)
def test_key_is_kept_beside_the_database(url: str | None, file: str) -> None:
    """The file stands beside the SQLite database, or in the working directory where there is none."""
    Path("data").mkdir()

    settings = Settings.load("local", **{"database_url": url} if url else {})

    assert Path(file).read_text().strip() == settings.secret_key.get_secret_value()


def test_key_of_an_absolute_database_is_beside_it(tmp_path: Path) -> None:
    """The database may be anywhere."""
    (tmp_path / "far").mkdir()
    settings = Settings.load("local", database_url=f"sqlite+aiosqlite:///{tmp_path / 'far' / 'pets.db'}")

    assert (tmp_path / "far" / "pets.db.secret_key").read_text().strip() == settings.secret_key.get_secret_value()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_file_is_the_owner_s_only(umask: int) -> None:
    """Whatever the umask, the file has mode 0600."""
    before = os.umask(umask)
    try:
        Settings.load("local")
    finally:
        os.umask(before)

    assert stat.S_IMODE(Path("ligand.db.secret_key").stat().st_mode) == 0o600


def test_open_file_is_closed_to_others() -> None:
    """A file that others could read is the owner's again after a start."""
    Settings.load("local")
    Path("ligand.db.secret_key").chmod(0o644)

    Settings.load("local")

    assert stat.S_IMODE(Path("ligand.db.secret_key").stat().st_mode) == 0o600


@pytest.mark.extended
def test_workers_that_start_at_once_agree() -> None:
    """Of several processes that start together one makes the key, and all have it."""
    program = (
        "import sys\nfrom ligand_async.settings import Settings\nsys.stdin.read()\n"
        "print(Settings.load('local').secret_key.get_secret_value())"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()
        worker.stdin = None
    keys = {worker.communicate(timeout=60)[0] for worker in workers}

    assert keys == {Path("ligand.db.secret_key").read_text()}


def test_empty_file_of_a_start_that_died_is_filled() -> None:
    """A process that died between making the file and writing to it does no harm."""
    Path("ligand.db.secret_key").touch()

    assert len(Settings.load("local").secret_key.get_secret_value()) >= 32


@pytest.mark.parametrize("content", [b"short\n", "schl\u00fcssel".encode() * 9])
def test_other_content_is_a_mistake(content: bytes) -> None:
    """A file that holds no key stops the start and is left as it is."""
    Path("ligand.db.secret_key").write_bytes(content)

    with pytest.raises(SettingsError, match=r"secret_key .* cannot be kept in ligand\.db\.secret_key"):
        Settings.load("local")

    assert Path("ligand.db.secret_key").read_bytes() == content


@pytest.mark.parametrize("obstacle", ["no directory", "a directory", "a link", "a second name", "a pipe", "another's"])
def test_key_that_cannot_be_kept_is_a_mistake(obstacle: str) -> None:
    """Where no file can be made, the remedy names the variable; a link is not followed."""
    url = "sqlite+aiosqlite:///pets.db"
    if obstacle == "no directory":
        url = "sqlite+aiosqlite:///missing/pets.db"
    elif obstacle == "a directory":
        Path("pets.db.secret_key").mkdir()
    elif obstacle == "a link":
        Path("pets.db.secret_key").symlink_to("elsewhere")
    elif obstacle == "a second name":
        Path("pets.db.secret_key").write_text(f"{'0123456789abcdef' * 2}\n")
        Path("other").hardlink_to("pets.db.secret_key")
    elif obstacle == "a pipe":
        os.mkfifo("pets.db.secret_key")
    else:
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        Path("pets.db.secret_key").touch()
        os.chown("pets.db.secret_key", 12345, -1)

    with pytest.raises(SettingsError, match="set LIGAND_SECRET_KEY"):
        Settings.load("local", database_url=url)

    assert not Path("elsewhere").exists()


def test_given_key_leaves_no_file(tmp_path: Path) -> None:
    """A key that was given is not kept."""
    Settings.load("local", secret_key="given")

    assert list(tmp_path.iterdir()) == []


def test_failed_start_leaves_no_file(tmp_path: Path) -> None:
    """No key is made for settings that are wrong anyway."""
    with pytest.raises(SettingsError):
        Settings.load("local", port="x")

    assert list(tmp_path.iterdir()) == []


def test_given_key_may_be_short_on_one_s_own_machine() -> None:
    """The length of a key is a rule of prod and stage."""
    assert Settings.load("local", secret_key="short").secret_key.get_secret_value() == "short"
