"""A whole service on one screen: notes with unique titles."""

from pydantic import BaseModel, Field
from quart import Blueprint
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ligand_async import Database, Identified, Model, OffsetParams, Page, create_app, operation, paginate, public


class Base(Model, DeclarativeBase):
    """The service's own tables."""


class Note(Identified, Base):
    """A note in the database."""

    __tablename__ = "note"
    title: Mapped[str] = mapped_column(unique=True)


class NoteBody(BaseModel):
    """A note in requests and responses."""

    title: str = Field(min_length=1, max_length=200)


notes = Blueprint("notes", __name__, url_prefix="/notes")


@notes.get("/")
@public
@operation
async def list_notes(query_args: OffsetParams, session: AsyncSession) -> Page[NoteBody]:
    """List notes."""
    return await paginate(session, select(Note), query_args, into=NoteBody)


@notes.post("/")  # not public: closed to whoever has no access token
@operation(status=201)
async def create_note(data: NoteBody, session: AsyncSession) -> NoteBody:
    """Store a note."""
    session.add(Note(title=data.title))
    return data


db = Database(Base)
app = create_app(__name__, title="Notes", version="1.0.0", database=db, blueprints=[notes])
app.before_serving(db.create_tables)  # a service that lives longer has migrations
