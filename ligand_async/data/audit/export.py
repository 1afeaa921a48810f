"""The trail as JSON Lines, and the signature that shows later that it is whole and unchanged."""

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key, import_key
from sqlalchemy import Select, Table, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.data.audit.events import AuditEvent

READ_AT_ONCE = 1000  # events
_SIGNATURE = "signature"
_TYPE = "ligand-audit+json"
_ALGORITHMS = {
    "oct": "HS256",
    "RSA": "PS256",
    "P-256": "ES256",
    "P-384": "ES384",
    "P-521": "ES512",
    "Ed25519": "Ed25519",
}


class KeyNotUsable(ValueError):
    """A key cannot sign, or cannot be read."""


class NotAuthentic(ValueError):
    """An export is not what was signed; the message says how it differs."""


@dataclass(slots=True)
class Tally:
    """The counts and the digest of the lines of an export, which are signed at its end.

    Attributes:
        events: How many there are.
    """

    events: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    def add(self, line: bytes) -> None:
        """Count a line, which ends with a newline."""
        self.events += 1
        self._digest.update(line)

    def document(self) -> dict[str, Any]:
        """Return what is signed."""
        return {"events": self.events, "sha256": self._digest.hexdigest()}


async def read_in_order(session: AsyncSession, table: Table, statement: Select[Any]) -> AsyncIterator[AuditEvent]:
    """Yield all events of a statement that sorts the oldest first, some at a time."""
    place = tuple_(table.c.at, table.c.id)
    following = statement.limit(READ_AT_ONCE)
    while True:
        found = [AuditEvent.of(row) for row in await session.execute(following)]
        for event in found:
            yield event
        if len(found) < READ_AT_ONCE:
            return
        last = tuple_(found[-1].at, found[-1].id, types=[table.c.at.type, table.c.id.type])
        following = statement.where(place > last).limit(READ_AT_ONCE)


def write_line(event: AuditEvent) -> bytes:
    """Return an event as a line."""
    return json.dumps(event.document(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def write_signature(tally: Tally, key: Key) -> bytes:
    """Return the last line of an export: a JSON Web Signature (RFC 7515) of the lines before it.

    Raises:
        KeyNotUsable: The key is public.
    """
    if not key.is_private and key.key_type != "oct":
        raise KeyNotUsable("a public key cannot sign; give the private one")
    algorithm = _algorithm_of(key)
    payload = json.dumps(tally.document(), separators=(",", ":"))
    header = {"alg": algorithm, "typ": _TYPE}
    signed = jws.serialize_compact(header, payload, key, algorithms=[algorithm])
    return _line_of(signed)


def _line_of(signature: str) -> bytes:
    return json.dumps({_SIGNATURE: signature}, separators=(",", ":")).encode() + b"\n"


def verify_export(lines: Iterator[bytes], key: Key) -> int:
    """Return how many events an export has, if it is what was signed with a key.

    Args:
        lines: The lines of the file, with their newlines.
        key: The key, or the public one that belongs to it.

    Raises:
        NotAuthentic: It is not.
    """
    tally, last = Tally(), b""
    for line in lines:
        if last:
            tally.add(last)
        last = line
    signature = _read_signature(last)
    if last != _line_of(signature):
        raise NotAuthentic("the last line holds more than the signature")
    algorithm = _algorithm_of(key)
    try:
        read = jws.deserialize_compact(signature, key, algorithms=[algorithm])
        signed = json.loads(read.payload)
    except (JoseError, ValueError) as error:
        raise NotAuthentic("the signature is not of this key") from error
    if read.protected != {"alg": algorithm, "typ": _TYPE} or not isinstance(signed, dict):
        raise NotAuthentic("the signature is not of an export")
    if signed.get("events") != tally.events:
        raise NotAuthentic(f"{signed.get('events')} events were signed, and there are {tally.events}")
    if signed != tally.document():
        raise NotAuthentic("an event is not what was signed, or not in its place")
    return tally.events


def _read_signature(line: bytes) -> str:
    """Return the signature of an export's last line.

    Raises:
        NotAuthentic: There is none.
    """
    try:
        document = json.loads(line)
    except ValueError:
        document = None
    signed = document.get(_SIGNATURE) if isinstance(document, dict) else None
    if not isinstance(signed, str):
        raise NotAuthentic("the last line is not a signature: the export was not signed, or its end is missing")
    return signed


def read_key(text: bytes) -> Key:
    """Read a key: a JSON Web Key (RFC 7517) or a PEM, private or public; else a secret of 32 bytes or more.

    Raises:
        KeyNotUsable: It is none of them.
    """
    stripped = text.strip()
    try:
        if stripped.startswith(b"{"):
            return import_key(json.loads(stripped))
        if stripped.startswith(b"-----BEGIN"):
            return _read_pem(stripped)
        if len(stripped) >= 32:
            return import_key(stripped, "oct")
    except (JoseError, ValueError, TypeError) as error:
        raise KeyNotUsable(f"the key cannot be read: {type(error).__name__}") from error
    raise KeyNotUsable("the key is neither a JSON Web Key nor a PEM; a secret needs 32 bytes or more")


def _read_pem(text: bytes) -> Key:
    """Read a PEM with a key of any kind.

    Raises:
        JoseError: It holds none that signs.
    """
    for kind in ("OKP", "EC"):
        with contextlib.suppress(JoseError):
            return import_key(text, kind)
    return import_key(text, "RSA")


def _algorithm_of(key: Key) -> str:
    """Return what a key signs with.

    Raises:
        KeyNotUsable: Nothing.
    """
    kind = getattr(key, "curve_name", None) or key.key_type
    algorithm = _ALGORITHMS.get(str(kind))
    if algorithm is None:
        raise KeyNotUsable(f"a key of {kind} does not sign here; use one of {', '.join(_ALGORITHMS)}")
    return algorithm
