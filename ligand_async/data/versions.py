"""The version of a response: the stored row that a value was read from."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState, Mapper

from ligand_async.data.digests import Digested, columns_of, digest_row, read_stored
from ligand_async.data.models import Timestamped

_ATTRIBUTE = "_ligand_origin"


@dataclass(frozen=True, slots=True)
class Origin:
    """One stored row at one version.

    Attributes:
        identity: Differs from that of every other row of any table. With `Timestamped`, a row that is stored under the
            key of a deleted one has another.
        version: The version, or the digest of a `Digested` row, as characters that an entity tag can hold.
        changed_at: The time of the last change, if the model is `Timestamped`.
    """

    identity: str
    version: str
    changed_at: datetime | None = None


def origin_names(mapper: Mapper[Any]) -> tuple[str, ...]:
    """Return the attributes that an origin is made of: none if the model has neither version nor digest."""
    if issubclass(mapper.class_, Digested):
        return tuple(columns_of(mapper))
    if mapper.version_id_col is None:
        return ()
    columns = [*mapper.primary_key, mapper.version_id_col]
    times = ("created_at", "updated_at") if issubclass(mapper.class_, Timestamped) else ()
    return (*(mapper.get_property_by_column(column).key for column in columns), *times)


def origin_of_row(mapper: Mapper[Any], row: Any) -> Origin | None:
    """Return the origin of a row that has the attributes of `origin_names`, or None without a version."""
    return _make_origin(mapper, lambda name: getattr(row, name))


def origin_of_entity(entity: Any) -> Origin | None:
    """Return the origin of an entity as it is stored now.

    None if the model has neither version nor digest, what it is made of was not loaded, or nothing is stored.
    """
    state: InstanceState[Any] | None = inspect(entity, raiseerr=False)
    if not isinstance(state, InstanceState) or state.key is None or state.deleted or state.was_deleted:
        return None
    try:
        is_digested = isinstance(entity, Digested)
        return _make_origin(state.mapper, read_stored(state) if is_digested else state.dict.__getitem__)
    except KeyError:
        return None


def _make_origin(mapper: Mapper[Any], read: Callable[[str], Any]) -> Origin | None:
    if issubclass(mapper.class_, Digested):
        return _make_digested_origin(mapper, read)
    names = list(origin_names(mapper))
    if not names:
        return None
    updated_at = read(names.pop()) if issubclass(mapper.class_, Timestamped) else None
    created_at = read(names.pop()) if issubclass(mapper.class_, Timestamped) else None
    version = read(names.pop())
    table = str(mapper.base_mapper.local_table)
    identity = digest(repr([table, *(str(read(name)) for name in names), str(created_at)]).encode())
    return Origin(identity, str(version) if isinstance(version, int) else digest(str(version).encode()), updated_at)


def _make_digested_origin(mapper: Mapper[Any], read: Callable[[str], Any]) -> Origin:
    key = [str(read(mapper.get_property_by_column(column).key)) for column in mapper.primary_key]
    is_timed = issubclass(mapper.class_, Timestamped)
    moments = [read("created_at"), read("updated_at")] if is_timed else [None, None]
    identity = digest(repr([str(mapper.base_mapper.local_table), *key, str(moments[0])]).encode())
    return Origin(identity, digest_row(mapper, read), moments[1])


def remember_origin(value: BaseModel, source: Any, origin: Origin | None = None) -> None:
    """Note the origin on a schema's instance.

    Args:
        value: The instance; what it equals and how it is written do not change.
        source: The entity, whose version is asked for when the answer is made; or a mapper, together with `origin`.
        origin: What a row was.
    """
    # pydantic leaves what it does not know in an instance's dictionary alone, as it must for cached properties.
    value.__dict__[_ATTRIBUTE] = (source, origin)


def remember_entity(value: BaseModel, source: Any) -> None:
    """Note on a schema's instance the entity that it was made of, where that is one."""
    if hasattr(type(source), "__mapper__"):
        remember_origin(value, source)


def origin_of(value: Any) -> Origin | None:
    """Return the origin of a schema's instance, as it is stored now, or None if that is not known.

    `changed_at` is there only if nothing but the entity's own columns is in the instance: what else it shows may
    change at other times.
    """
    noted: tuple[Any, Origin | None] | None = getattr(value, "__dict__", {}).get(_ATTRIBUTE)
    if noted is None:
        return None
    source, origin = noted
    mapper: Mapper[Any] = source if isinstance(source, Mapper) else inspect(source).mapper
    origin = origin or origin_of_entity(source)
    return origin if origin is None or is_flat(type(value), mapper) else replace(origin, changed_at=None)


def is_flat(schema: type[BaseModel], mapper: Mapper[Any]) -> bool:
    """Return whether every field of a schema is a column of its entity."""
    names = {
        field.validation_alias if isinstance(field.validation_alias, str) else name
        for name, field in schema.model_fields.items()
    }
    return not schema.model_computed_fields and names <= set(mapper.column_attrs.keys())


def digest(content: bytes) -> str:
    """Return 64 bits of a digest, as hexadecimal text."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()
