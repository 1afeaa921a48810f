"""A service whose notes belong to tenants, kept apart by policies of PostgreSQL."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

from quart import Blueprint, Quart, Response, current_app
from sqlalchemy import String, func, make_url, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import ligand_async
from ligand_async import (
    Database,
    Identified,
    Model,
    NotFound,
    Page,
    PageParams,
    Principal,
    ReadSchema,
    Settings,
    Versioned,
    check_preconditions,
    conditional,
    get_or_404,
    on_commit,
    operation,
    paginate,
    requires,
    scope,
)
from ligand_async.testing import authorization

ROLE = "ligand_test_tenant"


class Base(Model, DeclarativeBase):
    """The tables of the service."""


class Note(Identified, Versioned, Base):
    """What a tenant has written."""

    __tablename__ = "note"

    tenant: Mapped[str] = mapped_column(String(20))
    words: Mapped[str] = mapped_column(String(50))


def variables_of(principal: Principal | None) -> Mapping[str, str]:
    """Return the tenant of the caller: its subject. Nobody has none."""
    return {} if principal is None else {"app.tenant": principal.subject}


db = Database(Base, variables=variables_of)

POLICIES = (
    "ALTER TABLE note ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY tenant ON note USING (tenant = nullif((SELECT current_setting('app.tenant', true)), ''))",
)


async def prepare(url: str) -> str:
    """Make the tables and the policies as a superuser; return the URL of a role that policies hold."""
    make_role = f"""
        DO $$ BEGIN CREATE ROLE {ROLE} LOGIN PASSWORD 'tenant'; EXCEPTION
        WHEN duplicate_object OR unique_violation THEN NULL; END $$
    """
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        for statement in (make_role, *POLICIES, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}"):
            await connection.exec_driver_sql(statement)
        for tenant in ("ada", "bob"):
            notes = [
                {"id": UUID(int=number), "tenant": tenant, "words": f"{tenant} {number}", "version": 1}
                for number in (range(1, 4) if tenant == "ada" else range(11, 13))
            ]
            await connection.execute(Note.__table__.insert(), notes)  # type: ignore[attr-defined]  # a Table
    await engine.dispose()
    return make_url(url).set(username=ROLE, password="tenant").render_as_string(hide_password=False)


class NoteRead(ReadSchema, model=Note):
    """A note."""


class Words:
    """A service that reads in a transaction of its own."""

    def __init__(self, words: list[str]) -> None:
        self.words = words


async def read_words() -> Words:
    """Read the words of all notes, in a transaction of its own."""
    async with db.transaction() as session:
        return Words(sorted(await session.scalars(select(Note.words))))


notes = requires(scope("notes"))(Blueprint("notes", __name__, url_prefix="/notes"))


@notes.get("/")
@operation
async def list_notes(query_args: PageParams, session: AsyncSession) -> Page[NoteRead]:
    """List the notes."""
    return await paginate(session, select(Note), query_args, into=NoteRead, total="exact")


async def _count(session: AsyncSession) -> int:
    return await session.scalar(select(func.count()).select_from(Note)) or 0


@notes.get("/count")
@operation
async def count_notes(session: AsyncSession) -> int:
    """Count the notes."""
    return await _count(session)


@notes.get("/snapshot")
@operation(session="snapshot")
async def count_in_snapshot(session: AsyncSession) -> int:
    """Count the notes at one moment."""
    return await _count(session)


@notes.get("/replica")
@operation(session="replica")
async def count_on_replica(session: AsyncSession) -> int:
    """Count the notes on a replica."""
    return await _count(session)


@notes.post("/count")
@operation(retry_safe=True)
async def count_in_transaction(session: AsyncSession) -> list[int]:
    """Count the notes in a transaction: before, in, and after savepoints."""
    counts = [await _count(session)]
    async with session.begin_nested() as savepoint:
        await session.execute(text("SELECT set_config('app.tenant', 'nobody', true)"))
        counts.append(await _count(session))
        await savepoint.rollback()
    async with session.begin_nested():
        counts.append(await _count(session))
    counts.append(await _count(session))
    return counts


@notes.get("/<uuid:note_id>")
@operation(raises=[NotFound])
async def read_note(note_id: UUID, session: AsyncSession) -> NoteRead:
    """Read a note."""
    return await get_or_404(session, Note, note_id, into=NoteRead)


@notes.put("/<uuid:note_id>")
@conditional
@operation(raises=[NotFound])
async def put_note(note_id: UUID, data: dict[str, str], session: AsyncSession) -> NoteRead:
    """Change a note."""
    note = await get_or_404(session, Note, note_id)
    check_preconditions(note)
    note.words = data["words"]
    await session.flush()
    return NoteRead.model_validate(note)


@notes.delete("/<uuid:note_id>")
@operation(raises=[NotFound])
async def delete_note(note_id: UUID, session: AsyncSession) -> None:
    """Delete a note."""
    await session.delete(await get_or_404(session, Note, note_id))


@notes.post("/")
@operation(status=201)
async def create_note(data: dict[str, str], session: AsyncSession) -> NoteRead:
    """Store a note, for whatever tenant the body names."""
    note = Note(**data)
    session.add(note)
    await session.flush()
    return NoteRead.model_validate(note)


@notes.post("/all")
@operation
async def change_all(session: AsyncSession) -> int:
    """Change all notes, without a WHERE; return how many."""
    changed: Any = await session.execute(update(Note).values(words="changed"))
    return int(changed.rowcount)


@notes.get("/stream")
@operation
async def stream_notes() -> Response:
    """Stream the words of all notes."""

    async def lines() -> AsyncIterator[str]:
        async with db.read() as session:
            rows = await session.stream(select(Note.words).order_by(Note.words))
            async for batch in rows.partitions(2):
                yield "".join(f"{words}\n" for (words,) in batch)

    return Response(lines(), mimetype="text/plain")


@notes.get("/words")
@operation
async def words_of_service(words: Words) -> list[str]:
    """Return what a service has read in its own transaction."""
    return words.words


seen_in_background: list[list[str]] = []


@notes.post("/background")
@operation
async def count_in_background(session: AsyncSession) -> None:
    """Read all notes in a background task, after the commit."""

    async def read_all() -> None:
        async with db.read() as own:
            seen_in_background.append(sorted(await own.scalars(select(Note.words))))

    on_commit(lambda: current_app.add_background_task(read_all))


@notes.get("/slow")
@operation
async def read_slowly(session: AsyncSession) -> int:
    """Read for a second, and count."""
    await session.execute(text("SELECT pg_sleep(1)"))
    return await _count(session)


@notes.get("/smuggle")
@operation
async def smuggle(session: AsyncSession) -> int:
    """Set the variable of the session by hand to another tenant, and leave it."""
    await session.execute(text("SELECT set_config('app.tenant', 'ada', false)"))
    await session.execute(select(func.set_config("app.other", "left", False)))
    return 0


def make_tenants(url: str, *, database: Database = db, **settings: Any) -> Quart:
    """Make the service on a database that `prepare` has made."""
    return ligand_async.create_app(
        __name__,
        title="Notes",
        version="1.0.0",
        settings=Settings.load("testing", database_url=url, **settings),
        database=database,
        blueprints=[notes],
        provide={Words: read_words},
    )


def as_tenant(app: Quart, tenant: str) -> dict[str, str]:
    """Return the headers of a request by a tenant."""
    return authorization(app, subject=tenant, scopes=["notes"])
