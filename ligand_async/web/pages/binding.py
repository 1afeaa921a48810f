"""What a cursor is of: an operation, its filters and its order."""

import json
from collections.abc import Sequence
from typing import Any

from quart import has_request_context, request
from sqlalchemy import Column, Dialect, Table

from ligand_async.web.pages.order import Key
from ligand_async.web.pages.params import PLACE, CursorParams


def binding_of(params: CursorParams, keys: Sequence[Key], dialect: Dialect) -> bytes:
    """Return the same bytes for the same list, in every worker, and others for every other.

    Query parameters count by what they mean, so a default that is sent is no other list; how many items a page has
    does not count. Those that the model does not know, as in a plain view, count as they are.
    """
    known = params.model_dump(exclude=set(PLACE))
    operation: list[Any] = []
    if has_request_context():
        others = [pair for pair in request.args.items(multi=True) if pair[0] not in {*known, *PLACE}]
        operation = [request.endpoint, request.view_args, sorted(others)]
    told = [operation, known, dialect.name, [name_key(key, dialect) for key in keys]]
    return json.dumps(told, default=plain, sort_keys=True).encode()


def plain(value: Any) -> Any:
    """Return what JSON can hold of a value, the same in every process."""
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


def name_key(key: Key, dialect: Dialect) -> list[Any]:
    """Return what a key is."""
    expression = key.expression
    if isinstance(expression, Column) and isinstance(expression.table, Table):
        name = f"{expression.table.fullname}.{expression.name}"
    else:
        compiled = expression.compile(dialect=dialect)
        name = f"{compiled} {sorted(compiled.params.items())}"
    return [name, type(expression.type).__name__, key.descending, key.nullable and key.nulls_first]
