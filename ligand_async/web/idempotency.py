"""Requests that name a key, so that they are served once (draft-ietf-httpapi-idempotency-key-header)."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta

from quart import Response, current_app, request
from quart.wrappers.response import DataBody
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.context import current_principal, state_of
from ligand_async.data import Database, Reply, idempotency
from ligand_async.errors import BadRequest, IdempotencyKeyReused, InvalidPart, RequestInProgress
from ligand_async.marks import IdempotentMark
from ligand_async.web.body import read_bytes

HEADER = "Idempotency-Key"
_REPLAYED = "Idempotency-Replayed"
MAX_KEY = 255  # characters
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')  # a String of RFC 9651
_BARE = re.compile(r"[!#-+\--:<-~]+")
_NOT_KEPT = frozenset({"set-cookie"})  # credentials are not for storing


class _KeysInFlight(set[str]):
    """The keys of the requests that an app is serving."""


class _Attempt:
    """One request that names a key.

    Args:
        key: A digest of who asks for what under which key.
        digest: A digest of the request itself.
        expires: How long its reply is kept.
    """

    def __init__(self, key: str, digest: str, expires: timedelta) -> None:
        self.key = key
        self.digest = digest
        self.expires = expires

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Be the only one of this process with the key: the others need no connection to be told so.

        Raises:
            RequestInProgress: Another one is.
        """
        keys = state_of(current_app).get_or_make(_KeysInFlight)
        if self.key in keys:
            raise _in_progress()
        keys.add(self.key)
        try:
            yield
        finally:
            keys.discard(self.key)

    async def find_reply(self, session: AsyncSession, database: Database) -> Response | None:
        """Return the reply that is kept, or None where the work is to be done, by nobody else until the commit.

        Raises:
            RequestInProgress: Another process has the key.
            IdempotencyKeyReused: The reply is another request's.
        """
        if not await idempotency.try_lock(session, self.key):
            raise _in_progress()
        reply = await idempotency.find_reply(session, _table_of(database), self.key)
        if reply is None:
            return None
        if reply.request != self.digest:
            part = InvalidPart("another request had this key", "idempotency_key_reused", header=HEADER)
            raise IdempotencyKeyReused("a new request needs a new idempotency key", errors=[part])
        response = current_app.response_class(reply.body, reply.status)
        response.headers.clear()
        response.headers.extend([*reply.headers, (_REPLAYED, "true")])
        return response

    async def keep_reply(self, session: AsyncSession, database: Database, response: Response) -> None:
        """Keep the reply in the transaction of the work.

        Raises:
            RuntimeError: It is a stream, of which nobody knows yet what it will say.
        """
        if not isinstance(response.response, DataBody):
            raise RuntimeError("an @idempotent operation answered with a stream, which cannot be kept; return a value")
        headers = [(name, value) for name, value in response.headers if name.lower() not in _NOT_KEPT]
        reply = Reply(self.digest, response.status_code, headers, response.response.data)
        await idempotency.store_reply(session, _table_of(database), self.key, reply, expires=self.expires)


attempt_var: ContextVar[_Attempt | None] = ContextVar("ligand_attempt", default=None)


async def read_attempt(mark: IdempotentMark) -> _Attempt | None:
    """Return what the current request attempts, or None where it names no key.

    Raises:
        BadRequest: The key is malformed, or missing and required.
    """
    name = _read_key(mark)
    if name is None:
        return None
    principal = current_principal()
    caller = [principal.issuer, principal.subject] if principal is not None else None
    content = _digest_of([request.mimetype, hashlib.blake2b(await read_bytes()).hexdigest()])
    place = [request.method, request.endpoint, request.path]
    return _Attempt(
        _digest_of([caller, *place, name]), _digest_of([place, request.query_string.hex(), content]), mark.expires
    )


def _read_key(mark: IdempotentMark) -> str | None:
    """Read the header: a quoted string, or the same without its quotes."""
    field = request.headers.get(HEADER)
    if field is None:
        if mark.required:
            raise _refuse("is required", "missing")
        return None
    quoted = _QUOTED.fullmatch(field.strip())
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else field.strip()
    if not quoted and not _BARE.fullmatch(key):
        raise _refuse("is no quoted string", "malformed")
    if len(key) > MAX_KEY:
        raise _refuse(f"has more than {MAX_KEY} characters", "too_long")
    return key


def _refuse(words: str, code: str) -> BadRequest:
    """Make the 400 of a header that cannot be read."""
    return BadRequest(f"the {HEADER} {words}", errors=[InvalidPart(words, code, header=HEADER)])


def _in_progress() -> RequestInProgress:
    """Make the 409 that says when to ask again, in seconds."""
    return RequestInProgress("the same request is being served at the moment", headers={"Retry-After": "1"})


def _digest_of(parts: list[object]) -> str:
    """Return a digest of JSON values."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=32).hexdigest()


def _table_of(database: Database) -> Table:
    """Return the table of replies.

    Raises:
        RuntimeError: The database has none; a service that starts has.
    """
    if database.idempotency_key is None:
        raise RuntimeError("an @idempotent operation needs Database(Base, idempotency=True)")
    return database.idempotency_key
