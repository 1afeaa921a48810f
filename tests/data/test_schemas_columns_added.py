"""A column that is added to a model: which schemas make it readable or writable."""

from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ligand_async import CreateSchema, Identified, Model, PatchSchema, ReadSchema


def fields_of(*added: str, private: bool = False) -> dict[str, set[str]]:
    """Return the fields of the schemas of a model with some columns more than `id` and `name`."""

    class Base(Model, DeclarativeBase):
        metadata = MetaData()

    info = {"private": private}
    columns: dict[str, Any] = {name: mapped_column(info=info) for name in added}
    annotations = {"name": Mapped[str], **dict.fromkeys(added, Mapped[str | None])}
    model: Any = type("User", (Identified, Base), {"__tablename__": "user", "__annotations__": annotations, **columns})

    class Read(ReadSchema, model=model): ...

    class Create(CreateSchema, model=model): ...

    class Patch(PatchSchema, model=model): ...

    class NamedRead(ReadSchema, model=model, include={"id", "name"}): ...

    class NamedCreate(CreateSchema, model=model, include={"name"}): ...

    class NamedPatch(PatchSchema, model=model, include={"name"}): ...

    schemas: tuple[Any, ...] = (Read, Create, Patch, NamedRead, NamedCreate, NamedPatch)
    return {schema.__name__: set(schema.model_fields) for schema in schemas}


def test_new_columns_stay_private_with_include() -> None:
    """Schemas that name their columns do not change with the model; the others make a new column public."""
    before, after = fields_of(), fields_of("password_hash")
    assert {name: after[name] - before[name] for name in after} == {
        "Read": {"password_hash"},
        "Create": {"password_hash"},
        "Patch": {"password_hash"},
        "NamedRead": set(),
        "NamedCreate": set(),
        "NamedPatch": set(),
    }


def test_private_columns_are_never_readable() -> None:
    """A column that is marked private can be written by schemas that do not name their columns, and read by none."""
    before, after = fields_of(), fields_of("password_hash", private=True)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"Create", "Patch"}
