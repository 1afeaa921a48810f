"""Attributes of mapped classes beside columns: relationships, synonyms, association proxies, hybrids, properties."""

import inspect
from functools import cached_property
from typing import Any

from sqlalchemy.ext.associationproxy import AssociationProxy, AssociationProxyInstance
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapper, RelationshipProperty, SynonymProperty
from sqlalchemy.orm.interfaces import MapperProperty


def property_of(mapper: Mapper[Any], name: str) -> MapperProperty[Any] | None:
    """Return the mapped property of an attribute, that of a synonym's target too; None if it has none of its own."""
    found = mapper.attrs.get(name)
    while isinstance(found, SynonymProperty):
        found = mapper.attrs.get(found.name)
    return found


def proxy_of(mapper: Mapper[Any], name: str) -> AssociationProxyInstance[Any] | None:
    """Return the association proxy that an attribute is, or None."""
    if not isinstance(mapper.all_orm_descriptors.get(name), AssociationProxy):
        return None
    proxy: AssociationProxyInstance[Any] = getattr(mapper.class_, name)
    return proxy


def is_computed(mapper: Mapper[Any], name: str) -> bool:
    """Return whether an attribute is computed in Python: a hybrid or a property."""
    found = inspect.getattr_static(mapper.class_, name, None)
    return isinstance(found, hybrid_property | property | cached_property)


def expression_of(mapper: Mapper[Any], name: str) -> Any:
    """Return the SQL expression of a hybrid, or None if it can be computed in Python only."""
    if not isinstance(mapper.all_orm_descriptors.get(name), hybrid_property):
        return None
    try:
        found = getattr(mapper.class_, name)
    except Exception:  # noqa: BLE001  (the code of a hybrid that was not written for the class raises anything)
        return None
    return found if hasattr(found, "__clause_element__") or hasattr(found, "label") else None


def relationships_to(mapper: Mapper[Any], name: str) -> tuple[str, ...]:
    """Return the relationships that lead to the values of an attribute, the first one first; none for a column."""
    mapped = property_of(mapper, name)
    if isinstance(mapped, RelationshipProperty):
        return (mapped.key,)
    proxy = proxy_of(mapper, name)
    relationship = None if proxy is None else mapper.relationships.get(proxy.target_collection)
    if proxy is None or relationship is None:
        return ()
    return (relationship.key, *relationships_to(relationship.mapper, proxy.value_attr))
