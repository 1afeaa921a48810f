"""Where the value of a column stood in the request, for errors that only the database has found.

The database names columns. The client knows members: an alias, a member of a nested object, an item of an array.
A column leads to the members that the schema of the body has for it. If there are several, as in a bulk import, the
values that the database names tell which one it is. What cannot be told is left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, get_args, get_origin, get_type_hints

import jiter
from pydantic import BaseModel, RootModel
from quart import Quart, request
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import is_typeddict

from ligand_async.annotations import members_of, plain
from ligand_async.context import service_of
from ligand_async.data import Database
from ligand_async.errors import InvalidPart, Problem
from ligand_async.web.body import read_bytes
from ligand_async.web.endpoint import binding_of, handler_of, operation_of
from ligand_async.web.fields import alias_of
from ligand_async.web.invalid import json_pointer


@dataclass(frozen=True, slots=True)
class _Member:
    """A member of the body that a field of a schema has taken."""

    path: tuple[str | int, ...]
    field: str
    value: Any


async def locate(problem: Problem, error: SQLAlchemyError, app: Quart) -> Problem:
    """Replace the columns in the parts of a problem by what was sent for them.

    Args:
        problem: Of the database; the pointer of each part is a column.
        error: As SQLAlchemy raised it.
        app: The app, whose current request is answered.
    """
    if not problem.errors:
        return problem
    columns = [(part.pointer or "").removeprefix("/") for part in problem.errors]
    row = _choose(_rows_of(app, columns, await _find_members(app)), columns, error)
    problem.errors = tuple(
        _place(part, _attributes_of(app, column), row.get(column))
        for part, column in zip(problem.errors, columns, strict=True)
    )
    return problem


def _place(part: InvalidPart, names: set[str], member: _Member | None) -> InvalidPart:
    if member is not None:
        return replace(part, pointer=json_pointer(member.path))
    parameters = sorted(names & {*(request.view_args or {}), *request.args})
    return replace(part, pointer=None, parameter=next(iter(parameters), None))


async def _find_members(app: Quart) -> list[_Member]:
    """Return the members of the current request's body, by the schema of its operation."""
    if request.url_rule is None:
        return []
    view = handler_of(app.view_functions[request.url_rule.endpoint], request.method)
    operation = operation_of(view)
    binding = None if operation is None else binding_of(app, operation, request.url_rule, request.view_args or {})
    body = None if binding is None else binding.body
    if request.is_json or request.mimetype.endswith("+json"):
        try:
            document = jiter.from_json(await read_bytes())
        except ValueError:
            return []
        if operation is None and isinstance(document, dict):  # a plain view has no schema
            return [_Member((name,), name, value) for name, value in document.items()]
    elif body is not None and body.reader.schema is not None:
        document = dict(await request.form)
    else:
        return []
    return [] if body is None else list(_walk(body.reader.schema, document, ()))


def _walk(schema: Any, document: Any, path: tuple[str | int, ...]) -> Iterator[_Member]:
    """Yield the members of a document that the fields of a schema take."""
    seen: set[tuple[str | int, ...]] = set()
    for kind in map(plain, members_of(schema)):
        for member in _walk_kind(kind, document, path):
            if member.path not in seen:  # several members of a union have the same field
                seen.add(member.path)
                yield member


def _walk_kind(kind: Any, document: Any, path: tuple[str | int, ...]) -> Iterator[_Member]:
    if isinstance(kind, type) and issubclass(kind, RootModel):
        yield from _walk(kind.model_fields["root"].annotation, document, path)
    elif isinstance(document, list) and (items := get_args(kind)):
        for index, item in enumerate(document):
            yield from _walk(items[0], item, (*path, index))
    elif isinstance(document, dict) and get_origin(kind) is dict:
        for key, value in document.items():
            yield from _walk(get_args(kind)[1], value, (*path, key))
    elif isinstance(document, dict):
        for field, keys, inside in _fields_of(kind):
            for key in keys & document.keys():
                yield _Member((*path, key), field, document[key])
                yield from _walk(inside, document[key], (*path, key))


def _fields_of(kind: Any) -> Iterator[tuple[str, set[str], Any]]:
    """Yield the fields of a class: the name, those by which it may be sent, and the annotation."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            alias = alias_of(field)
            yield name, {name} if alias is None else {name, alias}, field.annotation
    elif is_dataclass(kind) or is_typeddict(kind):
        for name, hint in get_type_hints(kind).items():
            yield name, {name}, hint


_Row = dict[str, _Member]  # the members of one object, by column


def _rows_of(app: Quart, columns: Sequence[str], members: Sequence[_Member]) -> list[_Row]:
    """Return the objects of the body that have members for the columns; those with the most of them."""
    names = {column: _attributes_of(app, column) for column in columns}
    rows: dict[tuple[str | int, ...], _Row] = {}
    for member in members:
        for column in columns:
            if member.field in names[column]:
                rows.setdefault(member.path[:-1], {})[column] = member
    most = max(map(len, rows.values()), default=0)
    return [row for row in rows.values() if len(row) == most]


def _attributes_of(app: Quart, column: str) -> set[str]:
    """Return the attributes that are mapped to columns of a name, and the name itself."""
    database = service_of(app).database
    mappers = database.base.registry.mappers if isinstance(database, Database) else ()
    mapped = {
        attribute.key
        for mapper in mappers
        for attribute in mapper.column_attrs
        if any(getattr(part, "name", None) == column for part in attribute.columns)
    }
    return mapped | {column}


def _choose(rows: Sequence[_Row], columns: Sequence[str], error: SQLAlchemyError) -> _Row:
    """Return the row that the database means; an empty one if it may mean several."""
    if len(rows) <= 1:
        return rows[0] if rows else {}
    detail = str(getattr(getattr(getattr(error, "orig", None), "__cause__", None), "detail", None) or "")
    meant = [row for row in rows if _key_of(row, columns) in detail]
    if not meant:  # SQLite names no value, but a statement has those of its rows
        written = set(map(str, _flat(getattr(error, "params", None))))
        meant = [row for row in rows if {str(member.value) for member in row.values()} <= written]
    keys = [_key_of(row, columns) for row in meant]
    if len(set(keys)) > 1:  # of several rows, one that was sent twice is refused
        meant = [row for row, key in zip(meant, keys, strict=True) if keys.count(key) > 1]
        keys = [_key_of(row, columns) for row in meant]
    return meant[-1] if len(set(keys)) == 1 else {}


def _key_of(row: _Row, columns: Sequence[str]) -> str:
    """Write the key of a row as PostgreSQL does in the detail of an error: `(name)=(cup)`."""
    known = [column for column in columns if column in row]
    return f"({', '.join(known)})=({', '.join(str(row[column].value) for column in known)})"


def _flat(parameters: Any) -> Iterator[Any]:
    """Yield the parameters of a statement, of all its rows."""
    if isinstance(parameters, list | tuple | dict):
        for part in parameters.values() if isinstance(parameters, dict) else parameters:
            yield from _flat(part)
    else:
        yield parameters
