"""Which columns a broken constraint is about."""

import re
from typing import Any

from sqlalchemy import Constraint, ForeignKeyConstraint, Index, MetaData, Table

SQLITE_NAME = re.compile(r"(?:CHECK constraint failed: |UNIQUE constraint failed: index ')(\w+)")
SQLITE_REFERENCE = "FOREIGN KEY constraint failed"
WRITTEN_TABLE = re.compile(r'\s*(?:INSERT\s+INTO|UPDATE)\s+"?(\w+)"?(.*)', re.IGNORECASE | re.DOTALL)
SQLITE_COLUMNS = re.compile(r"(?:UNIQUE|NOT NULL) constraint failed: ([\w., ]+)")


def columns_of(driver_error: Any, words: str, metadata: MetaData, statement: str | None = None) -> list[str]:
    """Return the names of the columns, or nothing where neither the driver nor the metadata tells.

    Args:
        driver_error: asyncpg's own exception, which names table and constraint; None for SQLite.
        words: SQLite's message, which names columns or the constraint.
        metadata: The service's tables.
        statement: The SQL, for a broken reference on SQLite, of which the message tells nothing.
    """
    table_name = getattr(driver_error, "table_name", None)
    if table_name is not None:
        column = getattr(driver_error, "column_name", None)
        if column is not None:
            return [column]
        return columns_of_constraint(metadata, getattr(driver_error, "constraint_name", None), table_name)
    if match := SQLITE_NAME.search(words):
        return columns_of_constraint(metadata, match[1])
    if match := SQLITE_COLUMNS.search(words):
        return [name.strip().rpartition(".")[2] for name in match[1].split(",")]
    if SQLITE_REFERENCE in words and statement is not None:
        return columns_of_reference(metadata, statement)
    return []


def is_primary_key(driver_error: Any, words: str, metadata: MetaData) -> bool:
    """Tell whether a uniqueness that was broken is that of a primary key; the arguments are those of `columns_of`."""
    match = SQLITE_COLUMNS.search(words)
    name = getattr(driver_error, "table_name", None) or (match[1].partition(".")[0] if match else None)
    broken = set(columns_of(driver_error, words, metadata))
    return any(
        table.name == name and {key.name for key in table.primary_key} == broken for table in metadata.tables.values()
    )


def columns_of_reference(metadata: MetaData, statement: str) -> list[str]:
    """Name the columns of the only reference that a statement writes; of several, nobody knows which is broken."""
    match = WRITTEN_TABLE.match(statement)
    if match is None or match[1] not in metadata.tables:
        return []
    keys = [list(key.column_keys) for key in metadata.tables[match[1]].foreign_key_constraints]
    written = [columns for columns in keys if any(re.search(rf"\b{column}\b", match[2]) for column in columns)]
    return written[0] if len(written) == 1 else []


def columns_of_constraint(metadata: MetaData, constraint: str | None, table_name: str | None = None) -> list[str]:
    """Look a constraint or unique index up by its name."""
    for table in metadata.tables.values():
        if table_name in {None, table.name} and (columns := columns_in_table(table, constraint)):
            return columns
    return []


def columns_in_table(table: Table, name: str | None) -> list[str]:
    """Return the columns of a table's constraint or index of that name."""
    items: list[Constraint | Index] = [*table.constraints, *table.indexes]
    for item in items:
        if str(item.name) == name:
            if isinstance(item, ForeignKeyConstraint):
                return list(item.column_keys)
            columns = [column.name for column in getattr(item, "columns", ())]
            # A check written as text has no columns; its name ends with one where the naming was kept to.
            meant = [column.name for column in table.columns if str(item.name).endswith(f"_{column.name}")]
            return columns or sorted(meant, key=len)[-1:]
    return []
