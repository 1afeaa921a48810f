"""The pets on bare ASGI and asyncpg: what Python can do at most, with no checks beyond the token's."""

import json
import os
import time
import uuid
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs

import asyncpg
import jwt

KEY = open(os.environ["BENCH_PUBLIC_KEY"]).read()
pool: Any = None
cache: dict[bytes, tuple[float, dict[str, Any]]] = {}
TEXTS = """
    id::text, name, description, version,
    to_json(created_at)#>>'{}' AS created_at, to_json(updated_at)#>>'{}' AS updated_at
"""


def claims_of(headers: dict[bytes, bytes]) -> dict[str, Any]:
    token = headers[b"authorization"].removeprefix(b"Bearer ")
    digest = sha256(token).digest()
    known = cache.get(digest)
    if known is not None and known[0] > time.time():
        return known[1]
    claims = jwt.decode(token, KEY, ["RS256"], audience=os.environ["BENCH_AUDIENCE"])
    cache[digest] = min(time.time() + 60, claims["exp"]), claims
    return claims


async def respond(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    global pool
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                pool = await asyncpg.create_pool(os.environ["BENCH_DATABASE_URL"], min_size=10, max_size=10)
            else:
                await pool.close()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path = scope["path"]
    if path == "/ping":
        await respond(send, 200, b'{"ping":"pong"}')
        return
    claims = claims_of(dict(scope["headers"]))
    if path == "/me":
        await respond(send, 200, json.dumps({"subject": claims["sub"], "roles": claims["roles"]}).encode())
        return
    if scope["method"] == "POST":
        data = json.loads((await receive())["body"])
        row = await pool.fetchrow(
            f"INSERT INTO pet (id, name, description, created_at, updated_at, version) "
            f"VALUES ($1, $2, $3, now(), now(), 1) RETURNING {TEXTS}",
            uuid.uuid4(),
            data["name"],
            data.get("description", ""),
        )
        await respond(send, 201, json.dumps(dict(row)).encode())
        return
    if path == "/pets/":
        query = parse_qs(scope["query_string"].decode())
        size = int(query["page_size"][0])
        skipped = (int(query["page"][0]) - 1) * size
        page = f"SELECT {TEXTS} FROM pet ORDER BY pet.created_at, pet.id LIMIT $1 OFFSET $2"
        rows = await pool.fetch(page, size, skipped)
        total = await pool.fetchval("SELECT count(*) FROM pet")
        await respond(send, 200, json.dumps({"items": [dict(row) for row in rows], "total": total}).encode())
        return
    row = await pool.fetchrow(f"SELECT {TEXTS} FROM pet WHERE id = $1", uuid.UUID(path[6:]))
    await respond(send, 200 if row else 404, json.dumps(dict(row) if row else None).encode())
