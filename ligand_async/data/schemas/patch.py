"""The schema of what is changed."""

from typing import Annotated, Any

from pydantic import MISSING, BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from ligand_async.data.schemas.columns import MappedColumn
from ligand_async.data.schemas.derived import DerivedSchema, or_missing
from ligand_async.data.schemas.putting import check_entity, merge, put
from ligand_async.data.schemas.types import is_json
from ligand_async.data.schemas.write import absent_allowed


class PatchSchema(DerivedSchema):
    """What a client changes about a row: `class PetPatch(PatchSchema, model=Pet): ...`, a JSON merge patch (RFC 7396).

    It has the columns that a client may set when it makes a row, but no key. Each may be absent, and is then
    `pydantic.MISSING`; so are those that the body declares without a default. Null is a value of its own, and refused
    where the column is not nullable. Unknown keys are refused. An operation takes it as `application/merge-patch+json`
    and as `application/json`.

    Args:
        model: A mapped class.
        include: The columns to take, whoever sets them.
        exclude: The columns to leave out.

    Raises:
        TypeError: `model` is not mapped, or it has no such column.
        UnknownColumnType: A column's type has no form in JSON that we know.
    """

    model_config = ConfigDict(extra="forbid")

    def apply(self, entity: Any) -> None:
        """Put what was sent on an entity. A JSON column's object is merged member by member.

        Raises:
            TypeError: The entity is of another class, or lacks a field of the schema.
        """
        check_entity(self, entity)
        columns, values = type(self).__ligand_columns__, self.model_dump(exclude_unset=True)
        for name, value in values.items():
            column = columns.get(name)
            if isinstance(value, dict) and column is not None and is_json(column.type):
                values[name] = merge(getattr(entity, name), value)
        put(entity, values)

    @classmethod
    def _takes(cls, column: MappedColumn) -> bool:
        return not (column.is_made or column.is_key)

    @classmethod
    def _derive(cls, column: MappedColumn) -> tuple[Any, FieldInfo]:
        return absent_allowed(column)

    @classmethod
    def _adopt(cls, name: str, annotation: Any) -> Any:
        """Let a declared column be absent, too, unless the body gives it a default."""
        stated = vars(cls).get(name, MISSING)
        if annotation is None:
            bases = (base for base in cls.__mro__[1:] if issubclass(base, BaseModel) and name in base.model_fields)
            field = next(bases).model_fields[name]
            if not field.is_required():
                return None
            annotation = field.rebuild_annotation()
        elif isinstance(stated, FieldInfo) and stated.is_required():
            annotation = Annotated[annotation, stated]
        elif stated is not MISSING:
            return annotation
        setattr(cls, name, MISSING)
        return or_missing(annotation)
