"""Putting a schema's values on an entity."""

from typing import Any

from ligand_async.data.schemas.derived import DerivedSchema
from ligand_async.errors import InvalidPart, ValidationFailed


def check_entity(schema: DerivedSchema, entity: Any) -> None:
    """Refuse an entity that a schema is not of.

    Raises:
        TypeError: It is of another class, or lacks what the schema would set.
    """
    kind = type(schema)
    model = kind.__ligand_model__
    if model is None or not isinstance(entity, model):
        wanted = "no model=" if model is None else model.__name__
        raise TypeError(f"{kind.__name__} is a schema of {wanted}, and was given a {type(entity).__name__}")
    lacking = [name for name, field in kind.model_fields.items() if not (field.exclude or hasattr(model, name))]
    if lacking:
        raise TypeError(
            f"{kind.__name__} has fields that {model.__name__} lacks: {', '.join(lacking)}; "
            "give them Field(exclude=True) and use them by hand"
        )


def refuse_another_key(schema: DerivedSchema, entity: Any, values: dict[str, Any]) -> None:
    """Refuse a key that is not the entity's: what is replaced stays where it is.

    Raises:
        ValidationFailed: It is not.
    """
    columns = type(schema).__ligand_columns__
    moved = [
        name
        for name, value in values.items()
        if name in columns and columns[name].is_key and value != getattr(entity, name)
    ]
    if moved:
        parts = [
            InvalidPart("Input should be the key of what is replaced", "key", pointer=f"/{name}") for name in moved
        ]
        raise ValidationFailed("the request does not fit its schema", errors=parts)


def put(entity: Any, values: dict[str, Any]) -> None:
    """Set attributes."""
    for name, value in values.items():
        setattr(entity, name, value)


def merge(target: Any, patch: Any) -> Any:
    """Merge a JSON value into another (RFC 7396 section 2): objects by their members, of which null takes one away."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged
