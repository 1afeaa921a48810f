"""What pages are sorted by: a statement's own order, completed until no two rows are alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Label, Over, Select, TextClause
from sqlalchemy.sql import ColumnElement, visitors
from sqlalchemy.sql.elements import UnaryExpression, _label_reference, _textual_label_reference
from sqlalchemy.sql.operators import asc_op, desc_op, nulls_first_op, nulls_last_op

from ligand_async.web.pages.identity import Identity, identity_of


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
    identity = identity_of(statement.order_by(None))
    keys: list[Key] = []
    for clause in statement._order_by_clauses:  # no public accessor in SQLAlchemy 2.1
        key = read_clause(clause, identity, named)
        if not any(key.expression.compare(other.expression) for other in keys):
            keys.append(key)
    descending = keys[-1].descending if keys else False
    missing = list(identity.columns_beside([key.expression for key in keys]))
    keys += [make_key(column, identity, descending, None) for column in missing]
    return Order(tuple(keys), identity.unknown)


def read_clause(clause: Any, identity: Identity, named: Mapping[str, Any]) -> Key:
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
                clause = find_named(clause.element, named)
            case _label_reference() | Label():
                clause = clause.element
            case _:
                break
    if isinstance(clause, TextClause):
        raise PageNotPossible("order_by(text(…)) cannot be read; order by columns or expressions")
    if any(isinstance(part, Over) for part in visitors.iterate(clause)):
        raise PageNotPossible("pages cannot be sorted by a window function; select it in a subquery and sort by that")
    return make_key(clause, identity, descending, nulls_first)


def find_named(name: str, named: Mapping[str, Any]) -> Any:
    """Find what an order by name means.

    Raises:
        PageNotPossible: The statement selects nothing of that name.
    """
    if name not in named:
        raise PageNotPossible(f"order_by({name!r}) names no label that the statement selects; order by the column")
    found = named[name]
    return getattr(found, "__clause_element__", lambda: found)()


def make_key(expression: ColumnElement[Any], identity: Identity, descending: bool, nulls_first: bool | None) -> Key:
    """Make a key, with nulls where PostgreSQL has them unless it is said otherwise."""
    nullable = not (isinstance(expression, Column) and not expression.nullable and identity.is_present(expression))
    return Key(expression, descending, nullable, descending if nulls_first is None else nulls_first)
