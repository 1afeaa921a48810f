"""FAULTS 155: database URLs as hosting platforms print them, on a server that speaks TLS."""

import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from quart import Quart
from sqlalchemy import text

from ligand_async import Settings
from ligand_async.data import migrations
from ligand_async.data.migrations import MigrationError
from ligand_async.settings import SettingsError
from tests.database_proxies import proxied
from tests.services import db, make_service, post, running
from tests.tls import Authority, TLSServer, tls_server

IS_ENCRYPTED = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
VERSION = text("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TLSServer]:
    """A PostgreSQL with TLS, for the module."""
    with tls_server(tmp_path_factory.mktemp("tls")) as server:
        yield server


@pytest.fixture(autouse=True)
def bare_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without `.postgresql`, and no variable of libpq."""
    for name in ("PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL", "PGPASSFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


async def ask_both(app: Quart, question: object) -> set[object]:
    """Return what a read and a write session answer."""
    async with running(app, tables=False), db.read() as reader, db.transaction() as writer:
        return {await reader.scalar(question), await writer.scalar(question)}  # type: ignore[call-overload]  # a statement


@pytest.mark.parametrize(
    ("parameters", "encrypted"),
    [
        ("sslmode=disable", False),
        ("sslmode=allow", False),
        ("sslmode=prefer", True),
        ("", True),
        ("sslmode=require", True),
        ("ssl=true", True),
        ("ssl=require", True),
        ("sslmode=require&channel_binding=prefer&gssencmode=disable", True),
    ],
)
async def test_modes_without_a_root_certificate(server: TLSServer, parameters: str, encrypted: bool) -> None:
    """Each mode of libpq encrypts, or does not, as libpq would."""
    assert await ask_both(make_service(server.url(parameters)), IS_ENCRYPTED) == {encrypted}


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_right_root_certificate(server: TLSServer, mode: str) -> None:
    """With the root of the server's authority each of the modes that verify connects."""
    app = make_service(server.url(f"sslmode={mode}&sslrootcert={quote(str(server.authority.root))}"))

    assert await ask_both(app, IS_ENCRYPTED) == {True}


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_wrong_root_certificate(
    server: TLSServer, mode: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A server of another authority is not spoken to: reads and writes are 503, and the log says why."""
    other = Authority(tmp_path, "Root of others").root
    app = make_service(server.url(f"sslmode={mode}&sslrootcert={quote(str(other))}"))
    async with running(app, tables=False) as client:
        with caplog.at_level(logging.WARNING):
            assert (await client.get("/items")).status_code == 503
            assert (await post(client, "/items", name="cup"))[0] == 503

    assert "(no connection to the postgresql database: SSLCertVerificationError (" in caplog.text
    assert "certificate in certificate chain" in caplog.text


@pytest.mark.parametrize(("mode", "status"), [("verify-ca", 200), ("verify-full", 503)])
async def test_name_counts_for_verify_full_only(server: TLSServer, mode: str, status: int) -> None:
    """`verify-ca` takes any name that the authority signed, `verify-full` the host's only."""
    root = quote(str(server.authority.root))
    async with running(make_service(server.url())):
        pass
    app = make_service(server.url(f"sslmode={mode}&sslrootcert={root}", host="127.0.0.1"))
    async with running(app, tables=False) as client:
        assert (await client.get("/items")).status_code == status


async def test_system_roots(server: TLSServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sslrootcert=system` verifies by the machine's roots, which SSL_CERT_FILE replaces, and means `verify-full`."""
    app = make_service(server.url("sslrootcert=system"))
    async with running(app, tables=False) as client:
        assert (await client.get("/items")).status_code == 503
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority.root))

    assert await ask_both(make_service(server.url("sslrootcert=system")), IS_ENCRYPTED) == {True}


async def test_client_certificate(server: TLSServer) -> None:
    """A certificate with an encrypted key lets its role in; without it the role stays outside, as a 503."""
    files = server.authority.issue("wren", password="feather")
    whole = f"sslmode=require&user=wren&sslcert={quote(str(files.certificate))}&sslkey={quote(str(files.key))}"

    assert await ask_both(make_service(server.url(f"{whole}&sslpassword=feather")), text("SELECT current_user")) == {
        "wren"
    }
    for parameters in ("sslmode=require&user=wren", f"{whole}&sslpassword=feather&sslcertmode=disable"):
        async with running(make_service(server.url(parameters)), tables=False) as client:
            assert (await client.get("/items")).status_code == 503


async def test_revoked_server(server: TLSServer) -> None:
    """A server whose certificate is on the list is not spoken to; one that is not on it is."""
    root = f"sslmode=verify-full&sslrootcert={quote(str(server.authority.root))}"
    empty, full = server.authority.revoke(), server.authority.revoke(server.certificate.serial)

    assert await ask_both(make_service(server.url(f"{root}&sslcrl={quote(str(empty))}")), IS_ENCRYPTED) == {True}
    async with running(make_service(server.url(f"{root}&sslcrl={quote(str(full))}")), tables=False) as client:
        assert (await client.get("/items")).status_code == 503


async def test_protocol_version(server: TLSServer) -> None:
    """The range of TLS versions is kept."""
    app = make_service(server.url("sslmode=require&ssl_max_protocol_version=TLSv1.2"))

    assert await ask_both(app, VERSION) == {"TLSv1.2"}


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ("sslmode=verify-full", "sslmode=verify-full, which needs root certificates: add sslrootcert=FILE"),
        ("sslmode=require&sslrootcert=/nowhere/root.pem", "a file in sslrootcert that cannot be read"),
        ("sslmode=require&sslcert=/nowhere/c.pem", "a file in sslcert, sslkey or sslpassword that cannot be read"),
        ("sslmode=verify-ca&sslrootcert=/dev/null", "a file in sslrootcert that does not hold certificates"),
        ("sslmode=require&sslcrldir=/nowhere&sslrootcert={root}", "a directory in sslcrldir that does not exist"),
        ("passfile=/nowhere/pgpass", "a file in passfile that is missing or that others may read"),
    ],
)
@pytest.mark.parametrize("setting", ["database_url", "database_replica_urls"])
async def test_file_that_cannot_be_used_stops_the_start(
    server: TLSServer, setting: str, parameters: str, problem: str
) -> None:
    """The app does not start, and says which parameter of which setting names the file."""
    url = server.url(parameters.format(root=server.authority.root))
    app = make_service(url) if setting == "database_url" else make_service(server.url(), database_replica_urls=(url,))
    with pytest.raises(SettingsError) as caught:
        await app.startup()

    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"LIGAND_{setting.upper()}: the database URL")
    assert "/nowhere" not in str(caught.value)


async def test_wrong_sslpassword_is_not_repeated(server: TLSServer) -> None:
    """A key that the password does not open stops the start, and the password is in no text."""
    files = server.authority.issue("robin", password="feather")
    certificate = f"sslcert={quote(str(files.certificate))}&sslkey={quote(str(files.key))}"
    app = make_service(server.url(f"sslmode=require&{certificate}&sslpassword=wr0ng"))
    with pytest.raises(SettingsError, match="does not hold a certificate with its key") as caught:
        await app.startup()

    assert "wr0ng" not in str(caught.value)
    assert caught.value.__suppress_context__


async def test_settings_of_the_server(server: TLSServer) -> None:
    """`options` and `application_name` reach read and write sessions; what is ours stays."""
    url = server.url("options=-c%20search_path%3Dbirds%20-cwork_mem=7MB&application_name=nest")
    for name, value in (("search_path", "birds"), ("work_mem", "7MB"), ("application_name", "nest")):
        assert await ask_both(make_service(url), text(f"SELECT current_setting('{name}')")) == {value}
    for parameters, name in (("fallback_application_name=twig", "twig"), ("", "ligand_async")):
        app = make_service(server.url(parameters))
        assert await ask_both(app, text("SELECT current_setting('application_name')")) == {name}


@pytest.mark.parametrize(
    "parameters",
    ["user=crow&password=wrong", "user=nobody_here", "dbname=nowhere", "options=-c%20no_such%20=x", "user=crow"],
)
async def test_server_that_lets_nobody_in_is_503(
    server: TLSServer, parameters: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A role, password, database or option that the server refuses is a 503 with its SQLSTATE in the log, not a 500."""
    app = make_service(server.url(parameters))
    async with running(app, tables=False) as client:
        with caplog.at_level(logging.WARNING):
            assert (await client.get("/items")).status_code == 503
            assert (await post(client, "/items", name="cup"))[0] == 503

    assert "database cannot be reached" in caplog.text
    assert "wrong" not in caplog.text


async def test_passfile(server: TLSServer, tmp_path: Path) -> None:
    """The password comes from the file."""
    file = tmp_path / "pgpass"
    file.write_text("localhost:*:*:crow:carrion\n")
    file.chmod(0o600)
    app = make_service(server.url(f"user=crow&passfile={quote(str(file))}"))

    assert await ask_both(app, text("SELECT current_user")) == {"crow"}


async def test_second_host_serves_when_the_first_is_silent(server: TLSServer) -> None:
    """Each host has the whole connect timeout: one that swallows every byte, or is down, does not cost the others."""
    async with proxied(f"postgresql+asyncpg://postgres@127.0.0.1:{server.port}/postgres") as proxy:
        proxy.silent = True
        silent = proxy.url.rpartition(":")[2].partition("/")[0]
        hosts = f"127.0.0.1:{silent},127.0.0.1:1,localhost:{server.port}"
        url = f"postgresql://postgres@{hosts}/postgres?sslmode=require&connect_timeout=1"

        assert await ask_both(make_service(url), IS_ENCRYPTED) == {True}


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("any", 200),
        ("read-write", 200),
        ("primary", 200),
        ("prefer-standby", 200),
        ("standby", 503),
        ("read-only", 503),
    ],
)
@pytest.mark.parametrize("hosts", [1, 2])
async def test_target_session_attrs(server: TLSServer, target: str, status: int, hosts: int) -> None:
    """A primary is `read-write` for reads, too, although their sessions are read-only; a missing standby is a 503."""
    async with running(make_service(server.url())):
        pass
    hosts_with_ports = ",".join([f"localhost:{server.port}"] * hosts)
    url = f"postgresql://postgres@{hosts_with_ports}/postgres?target_session_attrs={target}&load_balance_hosts=random"
    async with running(make_service(url), tables=False) as client:
        assert (await client.get("/items")).status_code == status
        assert (await post(client, "/items", name=f"{target}{hosts}"))[0] == (201 if status == 200 else 503)


async def test_migrations_connect_in_the_same_way(server: TLSServer, tmp_path: Path) -> None:
    """The direct URL is translated, too, and the file that it names is checked."""
    root = quote(str(server.authority.root))
    direct = server.url(f"sslmode=verify-full&sslrootcert={root}", scheme="postgres")
    settings = Settings.load("testing", database_url=server.url(), database_direct_url=direct)
    engine = db.migration_engine(settings)
    async with engine.connect() as connection:
        assert await connection.scalar(IS_ENCRYPTED) is True
    await engine.dispose()

    wrong = Settings.load("testing", database_direct_url=server.url("sslmode=verify-full&sslrootcert=/nowhere"))
    with pytest.raises(SettingsError, match=r"LIGAND_DATABASE_DIRECT_URL: .*sslrootcert"):
        db.migration_engine(wrong)


async def test_command_says_why_a_certificate_was_refused(server: TLSServer, tmp_path: Path) -> None:
    """`ligand db` prints OpenSSL's reason, not the number that it has in the operating system's list."""
    other = Authority(tmp_path, "Root of others").root
    url = server.url(f"sslmode=verify-ca&sslrootcert={quote(str(other))}")
    settings = Settings.load("testing", database_url=url)
    with pytest.raises(MigrationError, match=r"cannot reach the database .*: self-signed certificate in certificate"):
        await migrations.current(db, settings, tmp_path)


async def test_socket_is_not_encrypted(postgres_url: str) -> None:
    """On the socket of this machine no mode asks for TLS, as in libpq."""
    app = make_service(f"{postgres_url.replace('postgresql+asyncpg', 'postgres')}&sslmode=verify-full")

    assert await ask_both(app, IS_ENCRYPTED) == {False}


async def test_pooler_mode_takes_the_same_urls(server: TLSServer) -> None:
    """Behind a transaction pooler the URL means the same."""
    app = make_service(server.url("sslmode=require&connect_timeout=10"), database_pooler="transaction")

    assert await ask_both(app, IS_ENCRYPTED) == {True}
