"""TLS of the server: the certificate of the settings, and its renewal without a restart."""

import logging
import ssl

from ligand_async.ops.addresses import ServerError
from ligand_async.settings import Settings

logger = logging.getLogger(__name__)

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# Of TLS 1.2: those with forward secrecy that HTTP/2 does not forbid (RFC 9113 appendix A).
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_PROTOCOLS = ["h2", "http/1.1"]


class Certificate:
    """The certificate with which the server proves who it is.

    Args:
        settings: With `tls_certificate`.

    Attributes:
        context: For new connections.

    Raises:
        ServerError: The certificate or its key cannot be used; the text names the setting and the file.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.context = _make_context(settings)

    def renew(self) -> None:
        """Read the files anew, for the connections from now on. If they cannot be used the old certificate stays."""
        try:
            self.context = _make_context(self._settings)
        except ServerError as error:
            logger.error("the old certificate stays in use: %s", error)
        else:
            logger.info("the certificate was read anew")


def certificate_of(settings: Settings) -> Certificate | None:
    """Return the certificate of the settings, or None if they have none.

    Raises:
        ServerError: It cannot be used.
    """
    return None if settings.tls_certificate is None else Certificate(settings)


def _make_context(settings: Settings) -> ssl.SSLContext:
    certificate, key = settings.tls_certificate or "", settings.tls_key
    vocabulary = settings.vocabulary()
    _check_readable(vocabulary.variable("tls_certificate"), certificate)
    if key is not None:
        _check_readable(vocabulary.variable("tls_key"), key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.tls_minimum_version]
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION  # RFC 9113 section 9.2.1
    context.set_alpn_protocols(_PROTOCOLS)
    named = f"{vocabulary.variable('tls_certificate')} ({certificate})"
    if key is not None:
        named += f" and {vocabulary.variable('tls_key')} ({key})"
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except _Encrypted as error:
        raise ServerError(f"{named}: the key is encrypted; write it without a password") from error
    except (ssl.SSLError, OSError) as error:
        raise ServerError(f"{named}: {_reason_of(error)}") from error
    return context


class _Encrypted(Exception):
    pass


def _refuse_password() -> str:
    raise _Encrypted  # OpenSSL would ask on the terminal


def _check_readable(variable: str, path: str) -> None:
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        raise ServerError(f"{variable} names {path}, which cannot be read: {error.strerror}") from error


def _reason_of(error: OSError) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate; give the two that were made together"
    if reason in {"EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"}:
        return "OpenSSL refuses the certificate as too weak; make a new one"
    return "there is no certificate with its key in PEM; give the certificate, its issuers' below it, and the key"
