"""What a subclass of Settings may declare."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic.fields import FieldInfo

from ligand_async.settings.environments import ENVIRONMENTS, STRICT
from ligand_async.settings.vocabulary import CONFIG_FILE, PROTECTED

PREFIX = re.compile(r"[A-Z][A-Z0-9_]*_")

Rows = Mapping[str, Mapping[str, Any]]


def check_prefix(prefix: str) -> None:
    """Refuse a prefix that would not stand out among the variables of a process.

    Raises:
        TypeError: It is not upper-case with `_` at its end.
    """
    if PREFIX.fullmatch(prefix) is None:
        raise TypeError(f"prefix {prefix!r} of settings must be upper-case and end with '_', such as 'PETSTORE_'")


def merge_rows(inherited: Rows, added: Rows) -> Rows:
    """Lay a subclass's rows of defaults over those of its base."""
    environments = {**inherited, **added}
    return MappingProxyType({name: {**inherited.get(name, {}), **added.get(name, {})} for name in environments})


def check_rows(rows: Rows, keys: Iterable[str]) -> None:
    """Refuse rows of defaults that could never hold.

    Raises:
        TypeError: An environment or a key is unknown, or a secret key would stand in the code.
    """
    allowed = frozenset(keys) - {"environment"}
    for name, row in rows.items():
        if name not in ENVIRONMENTS:
            raise TypeError(f"defaults for {name!r}: the environments are {', '.join(ENVIRONMENTS)}")
        if unknown := sorted(set(row) - allowed):
            raise TypeError(f"defaults for {name!r} name no setting: {', '.join(unknown)}")
        if name in STRICT and "secret_key" in row:
            raise TypeError(f"defaults for {name!r} hold secret_key; a secret in the code is none")


def check_fields(bases: Iterable[type], fields: Mapping[str, FieldInfo]) -> None:
    """Refuse settings that could not be read or would hide something.

    Raises:
        TypeError: A name is reserved, taken or not lower-case, or a setting has an alias.
    """
    for key, info in fields.items():
        if key in PROTECTED or key == CONFIG_FILE:
            raise TypeError(f"setting {key!r} has a reserved name; choose another")
        if key != key.lower():
            raise TypeError(f"setting {key!r} must be lower-case; its variable is the upper-case one")
        if info.alias is not None or info.validation_alias is not None:
            raise TypeError(f"setting {key!r} has an alias; rename it, or choose the prefix")
        if any(hasattr(base, key) and key not in getattr(base, "model_fields", ()) for base in bases):
            raise TypeError(f"setting {key!r} hides an attribute of Settings; choose another name")
