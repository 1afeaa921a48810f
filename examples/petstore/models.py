"""The petstore's tables."""

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ligand_async import AuditTrail, Database, Identified, Model, Timestamped, Versioned


class Base(Model, DeclarativeBase):
    """The petstore's own tables."""


class Pet(Identified, Timestamped, Versioned, Base):
    """A pet."""

    __tablename__ = "pet"
    __table_args__ = (Index(None, "created_at", "id"),)  # the default order of the list

    name: Mapped[str] = mapped_column(String(255), index=True)
    description: Mapped[str] = mapped_column(Text, default="")


audit = AuditTrail(attempts=True)
db = Database(Base, idempotency=True, audit=audit)
