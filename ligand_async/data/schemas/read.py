"""The schema of what is read."""

from typing import Any, Self

from pydantic import AliasChoices, AliasPath, ConfigDict, Field
from pydantic.fields import FieldInfo

from ligand_async.data.origins import remember_entity
from ligand_async.data.schemas.columns import MappedColumn
from ligand_async.data.schemas.derived import DerivedSchema, wire_of_column


class ReadSchema(DerivedSchema):
    """How rows look from outside: `class PetRead(ReadSchema, model=Pet): ...` has every column of `Pet`.

    It is made from entities and rows, by `model_validate` or `into=`. Relationships are declared in the body, as other
    read schemas: `owner: OwnerRead | None`, `toys: list[ToyRead]`. A column marked `info={"private": True}` is in no
    read schema. Lengths and ranges are documented and not checked: what is stored can be read.

    Args:
        model: A mapped class.
        include: The columns to take, instead of all.
        exclude: The columns to leave out.

    Raises:
        TypeError: `model` is not mapped, it has no such column, or a private one is asked for or declared.
        UnknownColumnType: A column's type has no form in JSON that we know.
    """

    model_config = ConfigDict(from_attributes=True, validate_by_name=True, validate_by_alias=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Refuse private columns, whichever way they came in.

        Raises:
            TypeError: There is one.
        """
        super().__pydantic_init_subclass__(**options)
        private = {name for name, column in cls.__ligand_columns__.items() if column.is_private}
        shown = sorted(
            {source for name, field in cls.model_fields.items() for source in sources(name, field)} & private
        )
        if shown:
            raise TypeError(
                f"{cls.__name__} shows {', '.join(shown)}, which the model marks private; "
                "leave it out, or take the mark away"
            )

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Make it of an entity, a row or a mapping, with pydantic's options.

        Made of an entity, it knows the version that an entity tag is made of.

        Raises:
            ValidationError: It does not fit.
        """
        value = super().model_validate(obj, **options)
        remember_entity(value, obj)
        return value

    @classmethod
    def _takes(cls, column: MappedColumn) -> bool:
        return not column.is_private

    @classmethod
    def _derive(cls, column: MappedColumn) -> tuple[Any, FieldInfo]:
        field: FieldInfo = Field(description=column.description)
        return wire_of_column(column).given, field


def sources(name: str, field: FieldInfo) -> set[str]:
    """Return the attributes that a field may be read from."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    heads = {choice.path[0] if isinstance(choice, AliasPath) else choice for choice in choices}
    return {name, *(head for head in heads if isinstance(head, str))}
