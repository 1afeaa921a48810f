"""The order of a list: a statement's own, completed by primary keys until no two rows are alike."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CTE,
    Alias,
    BinaryExpression,
    BooleanClauseList,
    Column,
    Join,
    Label,
    Over,
    Select,
    Subquery,
    Table,
    TextClause,
    UniqueConstraint,
)
from sqlalchemy.sql import ColumnElement, FromClause, visitors
from sqlalchemy.sql.elements import UnaryExpression, _label_reference, _textual_label_reference
from sqlalchemy.sql.operators import and_, asc_op, desc_op, eq, nulls_first_op, nulls_last_op

_Columns = tuple[ColumnElement[Any], ...]


@dataclass(frozen=True, slots=True)
class _Source:
    """One table, or what stands for one, that rows come from.

    Attributes:
        table: The table.
        unique: Sets of columns that no two of its rows share, first its primary key; empty where nothing is known.
        present: Whether no row lacks it: an outer join fills it with nulls.
    """

    table: FromClause
    unique: tuple[_Columns, ...]
    present: bool


@dataclass(frozen=True, slots=True)
class _Identity:
    """The tables that make a row what it is."""

    sources: tuple[_Source, ...]

    @property
    def unknown(self) -> str | None:
        """The name of a source whose rows nothing tells apart, if there is one."""
        names = [getattr(source.table, "name", "a subquery") for source in self.sources if not source.unique]
        return names[0] if names else None

    def is_present(self, column: Column[Any]) -> bool:
        """Tell whether no row lacks the table of a column."""
        return any(source.present and _is_same(source.table, column.table) for source in self.sources)

    def columns_beside(self, sorted_by: Sequence[ColumnElement[Any]]) -> Iterator[ColumnElement[Any]]:
        """Yield the columns that an order lacks to leave no two rows alike."""
        for source in self.sources:
            if not any(all(_holds(sorted_by, column) for column in columns) for columns in source.unique):
                for column in source.unique[0] if source.unique else ():
                    if not _holds(sorted_by, column):
                        yield column


def _identity_of(statement: Select[Any]) -> _Identity:
    """Find what tells the rows of a statement apart.

    A table that is joined by its whole primary key has one row at most for each of the others': it adds nothing.
    """
    table = _only_table(statement)
    froms = statement.get_final_froms() if table is None else [table]
    return _Identity(tuple(source for part in froms for source in _sources_in(part, True)))


def _only_table(statement: Select[Any]) -> Table | None:
    """Return the table that a statement reads, if it is one and nothing else.

    SQLAlchemy 2.1 tells what a statement reads by compiling all of it, which takes longer than reading a page.
    """
    if statement._setup_joins or statement._from_obj:
        return None
    parts = [*statement.columns_clause_froms]
    if statement.whereclause is not None:
        parts += statement.whereclause._from_objects
    first = parts[0] if parts else None
    return first if isinstance(first, Table) and all(_is_same(part, first) for part in parts) else None


def _sources_in(part: FromClause, present: bool) -> Iterator[_Source]:
    """Yield the sources of one element of FROM."""
    if not isinstance(part, Join):
        yield _Source(part, tuple(_unique_sets(part)), present and isinstance(_table_of(part), Table))
        return
    yield from _sources_in(part.left, present and not part.full)
    for source in _sources_in(part.right, present and not (part.isouter or part.full)):
        joined = _columns_joined(part.onclause, source.table)
        is_determined = not part.full and any(set(columns) <= joined for columns in source.unique)
        # Its columns may be sorted by, and it is known then whether they can be null; it tells no rows apart.
        yield _Source(source.table, ((),), source.present) if is_determined else source


def _table_of(part: FromClause) -> Any:
    """Return what an alias stands for."""
    return part.element if isinstance(part, Alias) else part


def _unique_sets(part: FromClause) -> Iterator[_Columns]:
    """Yield sets of columns that no two rows of a table, or of a subquery that says so, share."""
    if isinstance(part, Subquery | CTE) and isinstance(part.element, Select):
        if part.element._distinct:
            yield tuple(part.c)
        clauses: Sequence[Any] = part.element._group_by_clauses  # no public accessor in SQLAlchemy 2.1
        groups = [part.corresponding_column(clause) for clause in clauses]
        if groups and all(column is not None for column in groups):
            yield tuple(column for column in groups if column is not None)
        return
    table = _table_of(part)
    if not isinstance(table, Table):
        return
    if table.primary_key:
        yield tuple(part.c[column.key] for column in table.primary_key)
    for constraint in _unique_constraints(table):
        if constraint and not any(column.nullable for column in constraint):
            yield tuple(part.c[column.key] for column in constraint)


def _unique_constraints(table: Table) -> Iterator[list[Column[Any]]]:
    """Yield the columns of each unique constraint and whole unique index."""
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield list(constraint.columns)
    for index in table.indexes:
        partial = any(index.dialect_options[name].get("where") is not None for name in ("postgresql", "sqlite"))
        if index.unique and not partial and all(isinstance(part, Column) for part in index.expressions):
            yield [part for part in index.expressions if isinstance(part, Column)]


def _columns_joined(onclause: ColumnElement[Any] | None, table: FromClause) -> set[ColumnElement[Any]]:
    """Return the columns of a table that a join sets equal to something outside of it."""
    joined: set[ColumnElement[Any]] = set()
    for condition in _conditions_in(onclause):
        if isinstance(condition, BinaryExpression) and condition.operator is eq:
            for one, other in ((condition.left, condition.right), (condition.right, condition.left)):
                if _is_column_of(one, table) and isinstance(other, Column) and not _is_column_of(other, table):
                    joined.add(one)
    return joined


def _conditions_in(clause: ColumnElement[Any] | None) -> Iterable[ColumnElement[Any]]:
    """Return the conditions that must all hold."""
    if isinstance(clause, BooleanClauseList) and clause.operator is and_:
        return tuple(part for each in clause.clauses for part in _conditions_in(each))
    return () if clause is None else (clause,)


def _is_column_of(column: Any, table: FromClause) -> bool:
    """Tell whether something is a column of a table."""
    return isinstance(column, Column) and _is_same(column.table, table)


def _is_same(one: Any, other: Any) -> bool:
    """Tell whether two mentions are of one table: the ORM's own bear notes, and are equal to what they note."""
    return hash(one) == hash(other)


def _holds(columns: Iterable[ColumnElement[Any]], column: ColumnElement[Any]) -> bool:
    """Tell whether a column is among others."""
    return any(isinstance(other, Column) and hash(other) == hash(column) for other in columns)


class PageNotPossible(TypeError):
    """A statement that cannot be read page by page; the message says why, and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """One thing that rows are sorted by.

    Attributes:
        expression: What is compared.
        descending: Whether the largest come first.
        nullable: Whether it may be null.
        nulls_first: Where nulls are. By default they are larger than everything, as PostgreSQL's indexes have them.
    """

    expression: ColumnElement[Any]
    descending: bool
    nullable: bool
    nulls_first: bool

    def reversed(self) -> "Key":
        """Return the same, the other way round."""
        return Key(self.expression, not self.descending, self.nullable, not self.nulls_first)

    @property
    def clause(self) -> ColumnElement[Any]:
        """What ORDER BY says: nulls are named, because each database has its own idea of where they belong."""
        directed = self.expression.desc() if self.descending else self.expression.asc()
        if not self.nullable:
            return directed
        return directed.nulls_first() if self.nulls_first else directed.nulls_last()


@dataclass(frozen=True, slots=True)
class Order:
    """What rows are sorted by.

    Attributes:
        keys: What is compared, in turn.
        unknown: A part of FROM whose rows nothing tells apart, so that the order may leave some alike; or None.
    """

    keys: tuple[Key, ...]
    unknown: str | None

    def check_is_total(self) -> None:
        """Refuse an order that may leave rows alike: a cursor would lose some of them.

        Raises:
            PageNotPossible: It may.
        """
        if self.unknown is not None:
            raise PageNotPossible(
                f"a cursor needs an order that leaves no two rows alike, and nothing tells those of {self.unknown} "
                "apart; read tables with a primary key, or subqueries with GROUP BY or DISTINCT"
            )


def order_of(statement: Select[Any], named: Mapping[str, Any]) -> Order:
    """Return what a statement's rows are sorted by.

    Where the statement's own order leaves rows of a table alike, the table's primary key is appended, in the direction
    of what comes before it: an index over both then serves both ways.

    Args:
        statement: What selects the rows.
        named: What it selects by name, for an order that is given by name.

    Raises:
        PageNotPossible: The order is text, or by a window function.
    """
    identity = _identity_of(statement.order_by(None))
    keys: list[Key] = []
    for clause in statement._order_by_clauses:  # no public accessor in SQLAlchemy 2.1
        key = _read_clause(clause, identity, named)
        if not any(key.expression.compare(other.expression) for other in keys):
            keys.append(key)
    descending = keys[-1].descending if keys else False
    missing = list(identity.columns_beside([key.expression for key in keys]))
    keys += [_make_key(column, identity, descending, None) for column in missing]
    return Order(tuple(keys), identity.unknown)


def _read_clause(clause: Any, identity: _Identity, named: Mapping[str, Any]) -> Key:
    """Take one element of ORDER BY apart."""
    descending, nulls_first = False, None
    while True:
        match clause:
            case UnaryExpression(modifier=modifier) if modifier in {asc_op, desc_op}:
                descending = modifier is desc_op
                clause = clause.element
            case UnaryExpression(modifier=modifier) if modifier in {nulls_first_op, nulls_last_op}:
                nulls_first = modifier is nulls_first_op
                clause = clause.element
            case _textual_label_reference():
                clause = _find_named(clause.element, named)
            case _label_reference() | Label():
                clause = clause.element
            case _:
                break
    if isinstance(clause, TextClause):
        raise PageNotPossible("order_by(text(…)) cannot be read; order by columns or expressions")
    if any(isinstance(part, Over) for part in visitors.iterate(clause)):
        raise PageNotPossible("pages cannot be sorted by a window function; select it in a subquery and sort by that")
    return _make_key(clause, identity, descending, nulls_first)


def _find_named(name: str, named: Mapping[str, Any]) -> Any:
    """Find what an order by name means.

    Raises:
        PageNotPossible: The statement selects nothing of that name.
    """
    if name not in named:
        raise PageNotPossible(f"order_by({name!r}) names no label that the statement selects; order by the column")
    found = named[name]
    return getattr(found, "__clause_element__", lambda: found)()


def _make_key(expression: ColumnElement[Any], identity: _Identity, descending: bool, nulls_first: bool | None) -> Key:
    """Make a key, with nulls where PostgreSQL has them unless it is said otherwise."""
    nullable = not (isinstance(expression, Column) and not expression.nullable and identity.is_present(expression))
    return Key(expression, descending, nullable, descending if nulls_first is None else nulls_first)
