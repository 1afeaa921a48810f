"""Reading straight into a schema: only the columns and relationships that it has."""

from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import BaseModel
from sqlalchemy import Select
from sqlalchemy.orm import ColumnProperty, InstrumentedAttribute, Mapper, RelationshipProperty, load_only, selectinload
from sqlalchemy.orm.strategy_options import _AbstractLoad  # what Load.options() takes; it has no public name

from ligand_async.data.origins import origin_names

S = TypeVar("S", bound=BaseModel)


class IntoNotPossible(TypeError):
    """A statement or schema that `into=` cannot serve; the message says why."""


@dataclass(frozen=True, slots=True)
class Projection:
    """What a statement selects for a schema: columns as rows, or entities with what they need and no more."""

    statement: Select[Any]
    entities: bool


def project(
    statement: Select[Any], schema: type[BaseModel], *, with_origin: bool = False, besides: Collection[str] = ()
) -> Projection:
    """Narrow a `select(Entity)` to the fields of a schema.

    A flat schema selects columns and makes no entity. One with nested schemas loads entities by `load_only` and
    `selectinload`.

    Args:
        statement: What selects the entity.
        schema: What is made of it.
        with_origin: Read the version, too, of which its entity tag is made.
        besides: What the schema finds elsewhere.

    Raises:
        IntoNotPossible: The statement is not a plain select of one entity, or the entity lacks a field of the schema.
    """
    mapper = entity_of(statement, schema)
    names = attributes_of(mapper, schema, besides)
    more = origin_names(mapper) if with_origin else ()
    if any(isinstance(mapper.attrs.get(name), RelationshipProperty) for name in names):
        return Projection(statement.options(*loader_options(mapper, schema, more, besides)), entities=True)
    columns = [getattr(mapper.class_, name) for name in sorted({*names, *more})]
    return Projection(statement.with_only_columns(*columns, maintain_column_froms=True), entities=False)


def check_shape(statement: Select[Any], schema: type[BaseModel]) -> None:
    """Refuse a statement whose meaning its columns are part of.

    Raises:
        IntoNotPossible: It is one.
    """
    if not isinstance(statement, Select):
        raise IntoNotPossible(f"into={schema.__name__} needs a select(); from_statement() has columns of its own")
    if statement._distinct or statement._group_by_clauses:  # no public accessor in SQLAlchemy 2.1
        raise IntoNotPossible(
            f"into={schema.__name__} changes the selected columns, which changes what DISTINCT and GROUP BY mean; "
            "select what you need and build the schema by hand"
        )


def entity_of(statement: Select[Any], schema: type[BaseModel]) -> Mapper[Any]:
    """Return the mapper of the one entity that a statement selects."""
    check_shape(statement, schema)
    descriptions = statement.column_descriptions
    entity = descriptions[0].get("entity") if len(descriptions) == 1 else None
    if entity is None or descriptions[0]["expr"] is not entity or descriptions[0]["aliased"]:
        raise IntoNotPossible(f"into={schema.__name__} needs a select() of exactly one entity, not aliased")
    mapper: Mapper[Any] = entity.__mapper__
    return mapper


def attributes_of(mapper: Mapper[Any], schema: type[BaseModel], besides: Collection[str] = ()) -> dict[str, Any]:
    """Return the annotations of a schema's fields by the attribute that each is read from; those found elsewhere aside.

    Raises:
        IntoNotPossible: The entity lacks some of them.
    """
    attributes, missing = names_read({*mapper.all_orm_descriptors.keys(), *besides}, schema)
    if missing:
        raise IntoNotPossible(
            f"{schema.__name__} has fields that {mapper.class_.__name__} lacks: {', '.join(sorted(missing))}; "
            "read the entity and build the schema from it by hand"
        )
    return {name: annotation for name, annotation in attributes.items() if name not in besides}


def names_read(known: Container[str], schema: type[BaseModel]) -> tuple[dict[str, Any], list[str]]:
    """Return the annotations of a schema's fields by the name that each is read from, and what is not known."""
    if not schema.__pydantic_complete__:
        schema.model_rebuild()  # it names a schema that was defined later
    by_name = schema.model_config.get("populate_by_name") or schema.model_config.get("validate_by_name")
    attributes, missing = {}, []
    for name, field in schema.model_fields.items():
        alias = field.validation_alias
        candidates = [alias] if isinstance(alias, str) else []
        if alias is None or by_name:
            candidates.append(name)
        found = next((candidate for candidate in candidates if candidate in known), None)
        if found is None:
            missing.append(candidates[0] if candidates else name)
        else:
            attributes[found] = field.annotation
    return attributes, missing


def loader_options(
    mapper: Mapper[Any],
    schema: type[BaseModel],
    more: Iterable[str] = (),
    besides: Collection[str] = (),
    within: tuple[type[BaseModel], ...] = (),
) -> list[_AbstractLoad]:
    """Return options that load a schema's columns and more, and its nested schemas by one more query each.

    Raises:
        IntoNotPossible: The entity lacks a field of the schema, or a schema holds itself.
    """
    if schema in within:
        raise IntoNotPossible(
            f"{schema.__name__} holds itself, and into= cannot know how deep; "
            "load with selectinload(…, recursion_depth=…) and build the schema by hand"
        )
    options: list[_AbstractLoad] = []
    columns: list[InstrumentedAttribute[Any]] = [getattr(mapper.class_, name) for name in more]
    for name, annotation in attributes_of(mapper, schema, besides).items():
        attribute = getattr(mapper.class_, name)
        match mapper.attrs.get(name):
            case RelationshipProperty() as relationship:
                nested = schema_within(annotation)
                option = selectinload(attribute)
                if nested is not None:
                    option = option.options(*loader_options(relationship.mapper, nested, within=(*within, schema)))
                options.append(option)
            case ColumnProperty():
                columns.append(attribute)
    if columns:
        # Not raiseload: a later reader of the same entity gets our own error, with its remedy.
        options.append(load_only(*columns))
    return options


def schema_within(annotation: Any) -> type[BaseModel] | None:
    """Find the schema in an annotation such as `list[Owner]` or `Owner | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := schema_within(part))), None)


def build(schema: type[S], row: Any) -> S:
    """Make a schema of a row or an entity, by its attributes."""
    return schema.model_validate(row, from_attributes=True)
