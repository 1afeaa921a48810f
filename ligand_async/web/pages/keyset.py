"""From a position in an order to the rows behind it: conditions that an index can serve at any depth."""

from collections.abc import Sequence
from operator import ge, gt, le, lt
from typing import Any

from sqlalchemy import Dialect, and_, false, literal, or_, tuple_, type_coerce
from sqlalchemy.sql import ColumnElement

from ligand_async.web.pages.order import Key
from ligand_async.web.pages.values import comparable

Condition = ColumnElement[bool]


def conditions_after(keys: Sequence[Key], values: Sequence[Any], dialect: Dialect) -> list[Condition]:
    """Return conditions that together hold for every row behind a position, in the order in which rows follow.

    There are two where the first key may be null: rows with a value and rows without one are apart in every index, and
    a condition over both could only be tried on each row from the first.

    Args:
        keys: What rows are sorted by, as they are walked.
        values: The position: one value of each key.
        dialect: Of the database that will read them.
    """
    first, value = keys[0], values[0]
    if not first.nullable:
        return [behind(keys, values, dialect)]
    present, rest = first.expression.is_not(None), behind(keys[1:], values[1:], dialect)
    if value is not None:
        known = Key(first.expression, first.descending, False, False)
        after = [behind([known, *keys[1:]], values, dialect)]
        return after if first.nulls_first else [*after, first.expression.is_(None)]
    among = [and_(first.expression.is_(None), rest)] if len(keys) > 1 else []
    return [*among, present] if first.nulls_first else among


def behind(keys: Sequence[Key], values: Sequence[Any], dialect: Dialect) -> Condition:
    """Return what holds for the rows behind a position."""
    if not keys:
        return false()
    if not any(key.nullable for key in keys) and len({key.descending for key in keys}) == 1:
        return behind_as_row(keys, values, dialect)
    branches: list[Condition] = []
    for depth, (key, value) in enumerate(zip(keys, values, strict=True)):
        step = beyond(key, value, dialect)
        if step is not None:
            same = (equal(*pair, dialect) for pair in zip(keys[:depth], values[:depth], strict=True))
            branches.append(and_(*same, step))
    if keys[0].nullable:
        return or_(false(), *branches)
    # Follows from the rest, and is all of it that an index can begin at.
    return and_(bound(keys[0], values[0], dialect), or_(*branches))


def behind_as_row(keys: Sequence[Key], values: Sequence[Any], dialect: Dialect) -> Condition:
    """Compare rows: one comparison, which an index over the same columns serves as a whole."""
    pairs = [sides(key, value, dialect) for key, value in zip(keys, values, strict=True)]
    compare = lt if keys[0].descending else gt
    if len(pairs) == 1:
        return compare(*pairs[0])  # type: ignore[no-any-return]  # operator knows no columns
    whole: Condition = compare(tuple_(*(one for one, _ in pairs)), tuple_(*(other for _, other in pairs)))
    tables = {getattr(key.expression, "table", None) for key in keys}
    # A comparison across tables is decided after their join; the bound is decided before it.
    return whole if len(tables) == 1 else and_(bound(keys[0], values[0], dialect), whole)


def bound(key: Key, value: Any, dialect: Dialect) -> Condition:
    """Return where the rows from a position on begin."""
    compare = le if key.descending else ge
    return compare(*sides(key, value, dialect))  # type: ignore[no-any-return]  # operator knows no columns


def beyond(key: Key, value: Any, dialect: Dialect) -> Condition | None:
    """Return what holds for rows that are behind a value by this key, or None where there can be none."""
    if value is None:
        return key.expression.is_not(None) if key.nulls_first else None
    compare = lt if key.descending else gt
    after: Condition = compare(*sides(key, value, dialect))
    return or_(after, key.expression.is_(None)) if key.nullable and not key.nulls_first else after


def equal(key: Key, value: Any, dialect: Dialect) -> Condition:
    """Return what holds for rows that have this value."""
    if value is None:
        return key.expression.is_(None)
    one, other = sides(key, value, dialect)
    return one == other


def sides(key: Key, value: Any, dialect: Dialect) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return both sides of a comparison with a value that was read from the same expression."""
    type_ = comparable(key.expression.type, dialect)
    return type_coerce(key.expression, type_), literal(value, type_)
