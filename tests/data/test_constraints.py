"""Which columns a broken constraint is about."""

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    func,
)

from ligand_async.data.errors import columns_of
from ligand_async.data.models import NAMING_CONVENTION

metadata = MetaData(naming_convention=NAMING_CONVENTION)
Table(
    "house",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("street", String(50)),
    Column("number", Integer),
    Column("price", Integer),
    Column("asking_price", Integer),
    Column("owner_id", ForeignKey("owner.id")),
    UniqueConstraint("street", "number"),
    CheckConstraint("asking_price > 0", name="asking_price"),
    CheckConstraint("price > 0 AND number > 0", name="sane"),
)
owner = Table("owner", metadata, Column("id", Integer, primary_key=True), Column("name", String(50), unique=True))
Table(
    "visit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("house_id", ForeignKey("house.id")),
    Column("guest_id", ForeignKey("owner.id")),
)
Index("ix_owner_lower_name", func.lower(owner.c.name), unique=True)


def of_asyncpg(table: str | None, constraint: str | None, column: str | None = None) -> Any:
    """What asyncpg's errors have: the names of table, constraint and column."""
    return SimpleNamespace(table_name=table, constraint_name=constraint, column_name=column)


@pytest.mark.parametrize(
    ("error", "columns"),
    [
        (of_asyncpg("house", "uq_house_street_number"), ["street", "number"]),
        (of_asyncpg("house", "fk_house_owner_id_owner"), ["owner_id"]),
        (of_asyncpg("house", "pk_house"), ["id"]),
        (of_asyncpg("house", "ck_house_asking_price"), ["asking_price"]),
        (of_asyncpg("house", None, "street"), ["street"]),
        (of_asyncpg("house", "ck_house_sane"), []),
        (of_asyncpg("garage", "uq_garage_street"), []),
        (of_asyncpg("owner", "ix_owner_lower_name"), ["name"]),
    ],
)
def test_names_of_postgresql(error: Any, columns: list[str]) -> None:
    """PostgreSQL names the constraint; the metadata knows its columns."""
    assert columns_of(error, "", metadata) == columns


@pytest.mark.parametrize(
    ("words", "columns"),
    [
        ("UNIQUE constraint failed: house.street, house.number", ["street", "number"]),
        ("UNIQUE constraint failed: index 'ix_owner_lower_name'", ["name"]),
        ("NOT NULL constraint failed: house.street", ["street"]),
        ("CHECK constraint failed: ck_house_asking_price", ["asking_price"]),
        ("CHECK constraint failed: price > 0", []),
        ("FOREIGN KEY constraint failed", []),
        ("something else", []),
    ],
)
def test_words_of_sqlite(words: str, columns: list[str]) -> None:
    """SQLite names columns, or the constraint; of a foreign key it says nothing."""
    assert columns_of(None, words, metadata) == columns


@pytest.mark.parametrize(
    ("statement", "columns"),
    [
        ("INSERT INTO house (id, owner_id) VALUES (?, ?)", ["owner_id"]),
        ("UPDATE house SET owner_id=? WHERE house.id = ?", ["owner_id"]),
        ("UPDATE house SET price=? WHERE house.id = ?", []),
        ("DELETE FROM owner WHERE owner.id = ?", []),
        ("INSERT INTO garage (house_id) VALUES (?)", []),
        ("INSERT INTO visit (house_id, guest_id) VALUES (?, ?)", []),
        ("UPDATE visit SET guest_id=? WHERE visit.id = ?", ["guest_id"]),
    ],
)
def test_the_only_reference_that_a_statement_writes(statement: str, columns: list[str]) -> None:
    """SQLite does not say which reference is broken; where only one was written, it is that one."""
    assert columns_of(None, "FOREIGN KEY constraint failed", metadata, statement) == columns
