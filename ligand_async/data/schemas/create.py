"""The schema of what is made or replaced."""

from typing import Any

from pydantic import ConfigDict
from pydantic.fields import FieldInfo

from ligand_async.data.schemas.columns import MappedColumn
from ligand_async.data.schemas.defaults import default_of, documented_default
from ligand_async.data.schemas.derived import DerivedSchema, wire_of_column
from ligand_async.data.schemas.putting import check_entity, put, refuse_another_key
from ligand_async.data.schemas.write import absent_allowed, described


class CreateSchema(DerivedSchema):
    """What a client says of a new row: `class PetCreate(CreateSchema, model=Pet): ...`.

    It has the columns that a client may set: no key that is made for it, no timestamps, no version, nothing that the
    database computes or sets. A key that nobody makes (a code, a pair of numbers) is the client's. Foreign keys stay.
    What is nullable or has a default may be absent, and is then `pydantic.MISSING`: `Pet(**data.model_dump())` leaves
    it to the column. Unknown keys are refused.

    Args:
        model: A mapped class.
        include: The columns to take, whoever sets them.
        exclude: The columns to leave out.

    Raises:
        TypeError: `model` is not mapped, or it has no such column.
        UnknownColumnType: A column's type has no form in JSON that we know.
    """

    model_config = ConfigDict(extra="forbid")

    def replace(self, entity: Any) -> None:
        """Put these values in the place of an entity's, as PUT does: what is absent goes back to its default.

        Columns that the schema does not have stay as they are.

        Raises:
            ValidationFailed: A key is not the entity's: a PUT does not move what it replaces.
            TypeError: The entity is of another class, lacks a field of the schema, or a default cannot be known.
        """
        check_entity(self, entity)
        values = self.model_dump()
        for name, column in type(self).__ligand_columns__.items():
            field = type(self).model_fields.get(name)
            if field is not None and not field.exclude and name not in values:
                values[name] = default_of(column)
        refuse_another_key(self, entity, values)
        put(entity, values)

    @classmethod
    def _takes(cls, column: MappedColumn) -> bool:
        return not column.is_made

    @classmethod
    def _derive(cls, column: MappedColumn) -> tuple[Any, FieldInfo]:
        if not column.is_optional:
            return wire_of_column(column).taken, described(column)
        if column.is_demanded:
            return wire_of_column(column).taken, described(column, default_factory=lambda: default_of(column))
        default = documented_default(column)
        return absent_allowed(column, json_schema_extra={} if default is None else {"default": default})
