"""Replies that are kept, so that a request that is sent again is answered again and not served again."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.data.models import UTCDateTime

_NAME = "idempotency_key"
PRUNED_AT_ONCE = 10_000  # rows of one transaction


@dataclass(frozen=True, slots=True)
class Reply:
    """The stored response to a request.

    Attributes:
        request: A digest of the request.
        status: The status.
        headers: The headers, in order.
        body: The body.
    """

    request: str
    status: int
    headers: list[tuple[str, str]]
    body: bytes


def make_idempotency_table(metadata: MetaData) -> Table:
    """Return the table of replies; a service that has it in its metadata has it in its migrations."""
    if _NAME in metadata.tables:
        return metadata.tables[_NAME]
    return Table(
        _NAME,
        metadata,
        # Digests: neither who asked for what nor the keys are stored.
        Column("key", String(64), primary_key=True),
        Column("request", String(64), nullable=False),
        Column("status", Integer, nullable=False),
        Column("headers", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("expires_at", UTCDateTime, nullable=False, index=True),
    )


async def try_lock(session: AsyncSession, key: str) -> bool:
    """Lock a key until the transaction ends, unless another transaction holds it; do not wait.

    SQLite has one writer, and this transaction is it: there is nothing to lock.
    """
    if session.get_bind().dialect.name == "sqlite":
        return True
    number = int.from_bytes(bytes.fromhex(key)[:8], "big", signed=True)
    return bool(await session.scalar(select(func.pg_try_advisory_xact_lock(cast(literal(number), BigInteger)))))


async def find_reply(session: AsyncSession, table: Table, key: str) -> Reply | None:
    """Return the reply that is kept under a key, unless it has expired."""
    columns = (table.c.request, table.c.status, table.c.headers, table.c.body)
    found = await session.execute(select(*columns).where(table.c.key == key, table.c.expires_at > datetime.now(UTC)))
    row = found.one_or_none()
    if row is None:
        return None
    headers = [(str(name), str(value)) for name, value in json.loads(row.headers)]
    return Reply(row.request, row.status, headers, row.body)


async def store_reply(session: AsyncSession, table: Table, key: str, reply: Reply, *, expires: timedelta) -> None:
    """Keep a reply, in the place of one that has expired."""
    await session.execute(delete(table).where(table.c.key == key))
    await session.execute(
        insert(table).values(
            key=key,
            request=reply.request,
            status=reply.status,
            headers=json.dumps(reply.headers),
            body=reply.body,
            expires_at=datetime.now(UTC) + expires,
        )
    )


async def prune_replies(session: AsyncSession, table: Table) -> int:
    """Delete replies that have expired, up to 10,000 of them, and return how many there were."""
    expired = select(table.c.key).where(table.c.expires_at <= datetime.now(UTC)).limit(PRUNED_AT_ONCE)
    pruned = await session.execute(delete(table).where(table.c.key.in_(expired)).returning(table.c.key))
    return len(pruned.all())
