"""What the petstore keeps."""

from sqlalchemy import String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ligand_async import AuditTrail, Database, Identified, Model, Timestamped, Versioned


class Base(Model, DeclarativeBase):
    """The petstore's own tables."""


class Pet(Identified, Timestamped, Versioned, Base):
    """A pet."""

    __tablename__ = "pet"

    name: Mapped[str] = mapped_column(String(255), index=True)
    description: Mapped[str] = mapped_column(Text, default="")


audit = AuditTrail(attempts=True)
db = Database(Base, audit=audit)
