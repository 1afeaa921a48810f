"""The order of a list: the statement's own, completed so that no two rows are equal in it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from sqlalchemy import Column, Label, Over, Select, Table, TextClause, inspect
from sqlalchemy.orm import Mapper, QueryableAttribute, RelationshipDirection, RelationshipProperty
from sqlalchemy.sql import ColumnElement, FromClause, visitors
from sqlalchemy.sql.elements import UnaryExpression, _label_reference, _textual_label_reference
from sqlalchemy.sql.operators import asc_op, desc_op, nulls_first_op, nulls_last_op

Sortable = ColumnElement[Any] | QueryableAttribute[Any]


class PageNotPossible(TypeError):
    """The statement cannot be read page by page; the message says why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """One expression that rows are sorted by.

    Attributes:
        expression: The expression that is compared.
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
        """The ORDER BY clause, with the place of nulls, which differs between databases."""
        directed = self.expression.desc() if self.descending else self.expression.asc()
        if not self.nullable:
            return directed
        return directed.nulls_first() if self.nulls_first else directed.nulls_last()


def order_of(statement: Select[Any], named: Mapping[str, Any], unique: Sequence[Sortable] = ()) -> tuple[Key, ...]:
    """Return the keys that a statement's rows are sorted by.

    The columns that tell rows apart are appended where the statement's own order lacks them, in the direction of the
    last key before them: an index over all of them then serves both directions.

    Args:
        statement: The statement that selects the rows.
        named: The columns that it selects by name, for an order that is given by name.
        unique: Columns that together differ in every row. Without them they are the primary key of what is selected.

    Raises:
        PageNotPossible: The order is text or uses a window function, or nothing is known to tell the rows apart.
    """
    source = _Source.of(statement)
    keys: list[Key] = []
    for clause in statement._order_by_clauses:  # no public accessor in SQLAlchemy 2.1
        key = _read_clause(clause, source, named)
        if not any(key.expression.compare(other.expression) for other in keys):
            keys.append(key)
    named_columns = [*(key.expression for key in keys), *map(_expression_of, unique)]
    missing = find_unread(statement, (table for column in named_columns for table in column._from_objects))
    if missing is not None:
        raise PageNotPossible(
            f"the rows are sorted by a column of {missing}, which the statement does not select from; join it, as in "
            "select(Pet).join(Pet.owner).order_by(Owner.name), or sort by a label with a subquery"
        )
    descending = keys[-1].descending if keys else False
    for column in [_expression_of(column) for column in unique] or source.primary_key():
        if not _holds([key.expression for key in keys], column):
            keys.append(_make_key(column, source, descending, None))
    return tuple(keys)


def find_unread(statement: Select[Any], tables: Iterable[FromClause]) -> str | None:
    """Return the name of a table that a statement does not select from, or None.

    A condition on such a table, or a column of it, would repeat every row of the statement for each of its rows.

    Args:
        statement: The statement, before the condition or the column is added.
        tables: What they are about.
    """
    wanted = {hash(table): table for table in tables}  # by hash, as in `_is_among`
    if not wanted:
        return None
    targets = [target for target, *_ in statement._setup_joins]
    joined = [target.entity.selectable if isinstance(target, QueryableAttribute) else target for target in targets]
    parts = [*statement._raw_columns, *joined, *statement._from_obj, *(statement._correlate or ())]
    parts += [] if statement.whereclause is None else [statement.whereclause]
    unread = wanted.keys() - {hash(table) for part in parts for table in part._from_objects}
    if unread:  # SQLAlchemy has the last word. It compiles the statement, which takes longer than to read a page.
        unread -= {hash(table) for part in statement.get_final_froms() for table in part._from_objects}
    return next((str(getattr(wanted[one], "name", "a subquery")) for one in wanted if one in unread), None)


@dataclass(frozen=True, slots=True)
class _Source:
    """The tables that a statement reads, as far as they matter for its order.

    Attributes:
        key: The primary key of the entity, or of the only table, that is selected.
        always: The tables of which every row has one: those of the entity, and of inner joins.
        repeats: The part of the statement because of which the key may repeat; None if it does not.
    """

    key: tuple[ColumnElement[Any], ...]
    always: tuple[FromClause, ...]
    repeats: str | None

    @classmethod
    def of(cls, statement: Select[Any]) -> "_Source":
        """Read a statement's entity and its joins.

        `get_final_froms()` would say it all, but it compiles the statement, which takes longer than to read a page.
        """
        parts: list[FromClause] = [*statement.columns_clause_froms, *statement._from_obj]
        if statement.whereclause is not None:
            parts += statement.whereclause._from_objects
        entities = (column.get("entity") for column in statement.column_descriptions)  # Core has none
        mapper = inspect(next((entity for entity in entities if entity is not None), None), raiseerr=False)
        if isinstance(mapper, Mapper):
            key, tables, name = mapper.primary_key, [mapper.selectable, *mapper.tables], mapper.class_.__name__
        elif parts and isinstance(parts[0], Table):
            key, tables, name = tuple(parts[0].primary_key), [parts[0]], parts[0].name
        else:
            return cls((), (), "the rows of a subquery or an alias have no primary key")
        if statement._from_obj and not all(_is_among(part, tables) for part in statement._from_obj):
            return cls(key, (), f"select_from() names something other than {name}")
        joined: list[FromClause] = []
        for target, onclause, _, how in statement._setup_joins:
            relationship: Any = target if onclause is None else onclause
            if how["full"] or not _leads_to_one(relationship):
                return cls(key, (), f"join({_describe_join(relationship, target)}) may repeat a row of {name}")
            right = relationship.entity.selectable
            (joined if how["isouter"] else tables).append(right)
        other = next((part for part in parts if not _is_among(part, [*tables, *joined])), None)
        if other is not None:
            return cls(key, (), f"it reads {getattr(other, 'name', 'something')} besides {name} without a join")
        return cls(key, tuple(tables), None if key else f"{name} has no primary key")

    def primary_key(self) -> tuple[ColumnElement[Any], ...]:
        """Return the columns that tell rows apart.

        Raises:
            PageNotPossible: They may repeat.
        """
        if self.repeats is None:
            return self.key
        raise PageNotPossible(
            f"paginate() needs columns that differ in every row, which the primary key is not: {self.repeats}. Pass "
            "paginate(…, unique=[…]) with columns that together differ in every row, or join along "
            "many-to-one relationships only, as in select(Pet).join(Pet.owner), and filter by others with any()"
        )


def _leads_to_one(relationship: Any) -> TypeGuard[QueryableAttribute[Any]]:
    """Return whether a join along this finds one row at most: along a relationship to a whole primary key."""
    if not isinstance(relationship, QueryableAttribute) or not isinstance(relationship.property, RelationshipProperty):
        return False
    found = relationship.property
    return found.direction is RelationshipDirection.MANYTOONE and found.remote_side >= {*found.mapper.primary_key}


def _describe_join(relationship: Any, target: Any) -> str:
    if isinstance(relationship, QueryableAttribute):
        return str(relationship)
    return str(getattr(target, "name", "a subquery"))


def _is_among(part: FromClause, tables: Iterable[FromClause]) -> bool:
    # By hash: what the ORM annotates is a copy, with the hash of the original.
    return any(hash(part) == hash(table) for table in tables)


def _holds(columns: Iterable[ColumnElement[Any]], column: ColumnElement[Any]) -> bool:
    return any(isinstance(other, Column) and hash(other) == hash(column) for other in columns)


def _read_clause(clause: Any, source: _Source, named: Mapping[str, Any]) -> Key:
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
        raise PageNotPossible("order_by(text(…)) cannot be compared; order by columns or expressions")
    if any(isinstance(part, Over) for part in visitors.iterate(clause)):
        raise PageNotPossible("pages cannot be sorted by a window function; select it in a subquery and sort by that")
    return _make_key(clause, source, descending, nulls_first)


def _find_named(name: str, named: Mapping[str, Any]) -> Any:
    if name not in named:
        raise PageNotPossible(f"order_by({name!r}) names no label that the statement selects; order by the column")
    return _expression_of(named[name])


def _expression_of(selected: Any) -> Any:
    return getattr(selected, "__clause_element__", lambda: selected)()


def _make_key(expression: ColumnElement[Any], source: _Source, descending: bool, nulls_first: bool | None) -> Key:
    is_filled = isinstance(expression, Column) and not expression.nullable
    nullable = not (is_filled and _is_among(expression.table, source.always))
    return Key(expression, descending, nullable, descending if nulls_first is None else nulls_first)
