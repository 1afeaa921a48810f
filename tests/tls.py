"""Certificates for tests, and a PostgreSQL server with TLS switched on."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ligand_async.testing import ThrowawayPostgres
from tests.machine import do_without
from tests.servers import free_port

_DAY = timedelta(days=1)
_DEBIAN = Path("/usr/lib/postgresql")


class Authority:
    """A certificate authority of a test.

    Args:
        directory: Takes its files: the root certificate is `root.pem`.
        name: Its common name.
    """

    def __init__(self, directory: Path, name: str = "Root of the tests") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, None), critical=True)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        # From Python 3.13 on a client asks for the identifiers (RFC 5280 sections 4.2.1.1 and 4.2.1.2).
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        self._root = builder.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        self.root = directory / "root.pem"
        self.root.write_bytes(self._root.public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
        )

    def issue(self, name: str, *, password: str | None = None) -> "Certificate":
        """Issue a certificate for a DNS name or a role.

        Args:
            name: Its common name and its DNS name.
            password: The password of the key's file.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        encryption = (
            serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        )
        files = Certificate(self._directory / f"{name}.crt", self._directory / f"{name}.key", certificate.serial_number)
        files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files.key.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
        files.key.chmod(0o600)
        return files

    def revoke(self, *serials: int) -> Path:
        """Write a revocation list of certificates and return its file."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(now - _DAY).next_update(now + _DAY)
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - _DAY).build()
            builder = builder.add_revoked_certificate(revoked)
        file = self._directory / f"{len(serials)}.crl"
        file.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return file


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate (PEM).

    Attributes:
        certificate: The certificate.
        key: Its key.
        serial: Its serial number.
    """

    certificate: Path
    key: Path
    serial: int


@dataclass(frozen=True)
class TLSServer:
    """A PostgreSQL server that speaks TLS on a TCP port.

    Attributes:
        port: Its port on 127.0.0.1.
        authority: Issued its certificate for `localhost`, and those of clients.
        certificate: That certificate.
    """

    port: int
    authority: Authority
    certificate: Certificate

    def url(self, parameters: str = "", *, host: str = "localhost", scheme: str = "postgresql") -> str:
        """Return a libpq URL of the server's database `postgres`."""
        return f"{scheme}://postgres@{host}:{self.port}/postgres{'?' if parameters else ''}{parameters}"


@contextmanager
def tls_server(directory: Path) -> Iterator[TLSServer]:
    """Start a PostgreSQL with TLS; skip the test where no server with TLS is installed.

    It lets `postgres` in from everywhere, and `wren` by TLS with a certificate of the authority only.
    """
    programs = sorted(_DEBIAN.glob("*/bin/postgres"))
    if not programs:
        do_without("postgresql", "no PostgreSQL with TLS is installed (the wheel's has none)")
    authority = Authority(directory / "authority")
    certificate = authority.issue("localhost")
    port = free_port()
    options = {"listen_addresses": "127.0.0.1", "port": str(port)}
    with ThrowawayPostgres(programs[-1].parent, options=options) as server:
        data = server.socket_directory / "data"
        owner = data.stat()
        for source, name in (
            (certificate.certificate, "server.crt"),
            (certificate.key, "server.key"),
            (authority.root, "root.crt"),
        ):
            file = data / name
            file.write_bytes(source.read_bytes())
            file.chmod(0o600)
            os.chown(file, owner.st_uid, owner.st_gid)
        rules = (data / "pg_hba.conf").read_text()
        (data / "pg_hba.conf").write_text(
            f"hostssl all wren all cert\nhost all wren all reject\nhost all crow all scram-sha-256\n{rules}"
        )
        statements = (
            "ALTER SYSTEM SET ssl_ca_file = 'root.crt'",
            "ALTER SYSTEM SET ssl = on",
            "CREATE ROLE wren LOGIN",
            "CREATE ROLE crow LOGIN PASSWORD 'carrion'",
            "SELECT pg_reload_conf()",
        )
        psql = [
            str(programs[-1].with_name("psql")),
            "-h",
            str(server.socket_directory),
            "-p",
            str(port),
            "-U",
            "postgres",
        ]
        subprocess.run([*psql, *(part for one in statements for part in ("-c", one))], check=True, capture_output=True)
        yield TLSServer(port, authority, certificate)
