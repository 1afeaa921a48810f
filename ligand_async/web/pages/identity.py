"""What tells the rows of a statement apart: the primary keys of the tables that it reads."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CTE,
    Alias,
    BinaryExpression,
    BooleanClauseList,
    Column,
    Join,
    Select,
    Subquery,
    Table,
    UniqueConstraint,
)
from sqlalchemy.sql import ColumnElement, FromClause
from sqlalchemy.sql.operators import and_, eq

Columns = tuple[ColumnElement[Any], ...]


@dataclass(frozen=True, slots=True)
class Source:
    """One table, or what stands for one, that rows come from.

    Attributes:
        table: The table.
        unique: Sets of columns that no two of its rows share, first its primary key; empty where nothing is known.
        present: Whether no row lacks it: an outer join fills it with nulls.
    """

    table: FromClause
    unique: tuple[Columns, ...]
    present: bool


@dataclass(frozen=True, slots=True)
class Identity:
    """The tables that make a row what it is."""

    sources: tuple[Source, ...]

    @property
    def unknown(self) -> str | None:
        """The name of a source whose rows nothing tells apart, if there is one."""
        names = [getattr(source.table, "name", "a subquery") for source in self.sources if not source.unique]
        return names[0] if names else None

    def is_present(self, column: Column[Any]) -> bool:
        """Tell whether no row lacks the table of a column."""
        return any(source.present and is_same(source.table, column.table) for source in self.sources)

    def columns_beside(self, sorted_by: Sequence[ColumnElement[Any]]) -> Iterator[ColumnElement[Any]]:
        """Yield the columns that an order lacks to leave no two rows alike."""
        for source in self.sources:
            if not any(all(holds(sorted_by, column) for column in columns) for columns in source.unique):
                for column in source.unique[0] if source.unique else ():
                    if not holds(sorted_by, column):
                        yield column


def identity_of(statement: Select[Any]) -> Identity:
    """Find what tells the rows of a statement apart.

    A table that is joined by its whole primary key has one row at most for each of the others': it adds nothing.
    """
    table = only_table(statement)
    froms = statement.get_final_froms() if table is None else [table]
    return Identity(tuple(source for part in froms for source in sources_in(part, True)))


def only_table(statement: Select[Any]) -> Table | None:
    """Return the table that a statement reads, if it is one and nothing else.

    SQLAlchemy 2.1 tells what a statement reads by compiling all of it, which takes longer than reading a page.
    """
    if statement._setup_joins or statement._from_obj:
        return None
    parts = [*statement.columns_clause_froms]
    if statement.whereclause is not None:
        parts += statement.whereclause._from_objects
    first = parts[0] if parts else None
    return first if isinstance(first, Table) and all(is_same(part, first) for part in parts) else None


def sources_in(part: FromClause, present: bool) -> Iterator[Source]:
    """Yield the sources of one element of FROM."""
    if not isinstance(part, Join):
        yield Source(part, tuple(unique_sets(part)), present and isinstance(table_of(part), Table))
        return
    yield from sources_in(part.left, present and not part.full)
    for source in sources_in(part.right, present and not (part.isouter or part.full)):
        joined = columns_joined(part.onclause, source.table)
        is_determined = not part.full and any(set(columns) <= joined for columns in source.unique)
        # Its columns may be sorted by, and it is known then whether they can be null; it tells no rows apart.
        yield Source(source.table, ((),), source.present) if is_determined else source


def table_of(part: FromClause) -> Any:
    """Return what an alias stands for."""
    return part.element if isinstance(part, Alias) else part


def unique_sets(part: FromClause) -> Iterator[Columns]:
    """Yield sets of columns that no two rows of a table, or of a subquery that says so, share."""
    if isinstance(part, Subquery | CTE) and isinstance(part.element, Select):
        if part.element._distinct:
            yield tuple(part.c)
        clauses: Sequence[Any] = part.element._group_by_clauses  # no public accessor in SQLAlchemy 2.1
        groups = [part.corresponding_column(clause) for clause in clauses]
        if groups and all(column is not None for column in groups):
            yield tuple(column for column in groups if column is not None)
        return
    table = table_of(part)
    if not isinstance(table, Table):
        return
    if table.primary_key:
        yield tuple(part.c[column.key] for column in table.primary_key)
    for constraint in unique_constraints(table):
        if constraint and not any(column.nullable for column in constraint):
            yield tuple(part.c[column.key] for column in constraint)


def unique_constraints(table: Table) -> Iterator[list[Column[Any]]]:
    """Yield the columns of each unique constraint and whole unique index."""
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield list(constraint.columns)
    for index in table.indexes:
        partial = any(index.dialect_options[name].get("where") is not None for name in ("postgresql", "sqlite"))
        if index.unique and not partial and all(isinstance(part, Column) for part in index.expressions):
            yield [part for part in index.expressions if isinstance(part, Column)]


def columns_joined(onclause: ColumnElement[Any] | None, table: FromClause) -> set[ColumnElement[Any]]:
    """Return the columns of a table that a join sets equal to something outside of it."""
    joined: set[ColumnElement[Any]] = set()
    for condition in conditions_in(onclause):
        if isinstance(condition, BinaryExpression) and condition.operator is eq:
            for one, other in ((condition.left, condition.right), (condition.right, condition.left)):
                if is_column_of(one, table) and isinstance(other, Column) and not is_column_of(other, table):
                    joined.add(one)
    return joined


def conditions_in(clause: ColumnElement[Any] | None) -> Iterable[ColumnElement[Any]]:
    """Return the conditions that must all hold."""
    if isinstance(clause, BooleanClauseList) and clause.operator is and_:
        return tuple(part for each in clause.clauses for part in conditions_in(each))
    return () if clause is None else (clause,)


def is_column_of(column: Any, table: FromClause) -> bool:
    """Tell whether something is a column of a table."""
    return isinstance(column, Column) and is_same(column.table, table)


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two mentions are of one table: the ORM's own bear notes, and are equal to what they note."""
    return hash(one) == hash(other)


def holds(columns: Iterable[ColumnElement[Any]], column: ColumnElement[Any]) -> bool:
    """Tell whether a column is among others."""
    return any(isinstance(other, Column) and hash(other) == hash(column) for other in columns)
