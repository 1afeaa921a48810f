"""The version of a response: the stored row that a value was read from."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache, partial
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
    names = _origin_names(mapper)
    if names is None:
        return ()
    return (*names.key, names.version, *(("created_at", "updated_at") if names.is_timestamped else ()))


def origin_of_row(mapper: Mapper[Any], row: Any) -> Origin | None:
    """Return the origin of a row that has the attributes of `origin_names`, or None without a version."""
    return _make_origin(mapper, partial(getattr, row))


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
    names = _origin_names(mapper)
    if names is None:
        return _make_digested_origin(mapper, read) if issubclass(mapper.class_, Digested) else None
    version = read(names.version)
    created_at, updated_at = (read("created_at"), read("updated_at")) if names.is_timestamped else (None, None)
    identity = digest(repr([names.table, *[str(read(name)) for name in names.key], str(created_at)]).encode())
    written = str(version) if isinstance(version, int) else digest(str(version).encode())
    return Origin(identity, written, updated_at)


@dataclass(frozen=True, slots=True)
class _OriginNames:
    """The table of a versioned class, and the attributes that its origins are made of."""

    table: str
    key: tuple[str, ...]
    version: str
    is_timestamped: bool


@lru_cache(maxsize=1_000)
def _origin_names(mapper: Mapper[Any]) -> _OriginNames | None:
    """Return the names for a class that counts its versions; None for another."""
    if issubclass(mapper.class_, Digested) or mapper.version_id_col is None:
        return None
    *key, version = (mapper.get_property_by_column(one).key for one in (*mapper.primary_key, mapper.version_id_col))
    return _OriginNames(
        str(mapper.base_mapper.local_table), tuple(key), version, issubclass(mapper.class_, Timestamped)
    )


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
    is_whole = origin is None or is_flat(type(value), mapper)  # type: ignore[arg-type]  # classes are hashable
    return origin if origin is None or is_whole else replace(origin, changed_at=None)


@lru_cache(maxsize=1_000)
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
