"""Patch schemas: absent is not null (RFC 7396)."""

from typing import Annotated, Any, ClassVar

import pytest
from pydantic import MISSING, BaseModel, Field, ValidationError

from ligand_async import PatchSchema
from ligand_async.data.schemas.writing import merge
from tests.data.library_models import Card, Everyday, Film, Loan, Reader, Ticket


class ReaderPatch(PatchSchema, model=Reader):
    """What changes about a reader."""

    name: Annotated[str, Field(min_length=1)]


def fields_of(model: type[Any]) -> list[str]:
    class Changed(PatchSchema, model=model): ...

    assert not any(field.is_required() for field in Changed.model_fields.values())
    return list(Changed.model_fields)


def test_nothing_is_required_and_no_key_is_there() -> None:
    """A patch has what a client may set, all of it optional, and no key, not even a natural one."""
    assert fields_of(Reader) == ["name", "email", "password_hash", "settings", "notes"]
    assert fields_of(Loan) == ["reader_id", "due"]
    assert fields_of(Film) == ["title", "minutes"]
    assert fields_of(Card) == ["holder", "color", "stamps", "remark", "points"]
    assert "created_at" not in fields_of(Everyday)


def test_what_the_body_declares_is_optional_too() -> None:
    """A declared column without a default may be absent: plain, by `Field`, as a string, or in a base."""

    class Rules(BaseModel):
        password_hash: Annotated[str, Field(min_length=3)]
        notes: str = "kept"

    class Declared(Rules, PatchSchema, model=Reader):
        name: "Annotated[str, Field(max_length=2)]"
        email: str = Field(max_length=3)
        settings: dict[str, int] = {"a": 1}  # noqa: RUF012  (pydantic copies it)

    patch = Declared.model_validate({})

    absent: set[Any] = {patch.name, patch.email, patch.password_hash}
    assert absent == {MISSING}
    assert (patch.settings, patch.notes) == ({"a": 1}, "kept")
    for wrong in ({"name": "abc"}, {"email": "abcd"}, {"password_hash": "ab"}):
        with pytest.raises(ValidationError, match="String should have at"):
            Declared.model_validate(wrong)
    assert Declared.model_json_schema().get("required") is None


def test_absent_is_not_null() -> None:
    """What was not sent is left alone, null is stored, and what is equal to a default is sent all the same."""
    reader = Reader(name="Ann", email="a@b.org", settings={})
    ReaderPatch.model_validate_json('{"email": null}', strict=True).apply(reader)
    assert (reader.name, reader.email) == ("Ann", None)

    ReaderPatch.model_validate_json('{"name": "Bea"}', strict=True).apply(reader)
    assert (reader.name, reader.email) == ("Bea", None)

    ReaderPatch.model_validate_json("{}", strict=True).apply(reader)
    assert (reader.name, reader.email) == ("Bea", None)


@pytest.mark.parametrize("body", ['{"name": null}', '{"password_hash": null}', '{"settings": null}'])
def test_null_is_refused_where_the_column_cannot_be_null(body: str) -> None:
    """Null is refused for each column that is not nullable, declared or derived, JSON too."""
    with pytest.raises(ValidationError):
        ReaderPatch.model_validate_json(body, strict=True)


@pytest.mark.parametrize("body", ['{"id": "x"}', '{"version": 2}', '{"colour": 1}'])
def test_unknown_keys_are_refused(body: str) -> None:
    """A key that is no field is refused, and so is a column that no client sets."""
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        ReaderPatch.model_validate_json(body, strict=True)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_objects_are_merged_as_the_rfc_shows(target: Any, patch: Any, result: Any) -> None:
    """The test cases of RFC 7396 appendix A hold."""
    assert merge(target, patch) == result


def test_a_json_column_is_merged_into_a_new_object() -> None:
    """A patch changes members of a stored object, and the object is another, so that the change is seen."""
    before = {"theme": "dark", "size": 1, "keys": {"a": 1}}
    reader = Reader(name="Ann", settings=before)
    ReaderPatch.model_validate_json('{"settings": {"size": null, "keys": {"b": 2}}}', strict=True).apply(reader)

    assert reader.settings == {"theme": "dark", "keys": {"a": 1, "b": 2}}
    assert before == {"theme": "dark", "size": 1, "keys": {"a": 1}}


def test_a_patch_is_for_its_own_class() -> None:
    """An entity of another class is refused with the remedy, and so is a schema without a class."""

    class Unbound(PatchSchema):
        name: str

    with pytest.raises(TypeError, match="ReaderPatch is a schema of Reader, and was given a Ticket"):
        ReaderPatch.model_validate({}).apply(Ticket())
    with pytest.raises(TypeError, match="Unbound is a schema of no model="):
        Unbound.model_validate({"name": "x"}).apply(Ticket())


def test_members_that_are_no_columns_are_optional() -> None:
    """What the handler uses by itself may be absent, too: declared here, in a base, or in a class below."""

    class Reasoned(BaseModel):
        reason: str = Field(exclude=True, min_length=3)

    class Marked(Reasoned, PatchSchema, model=Reader):
        confirmed: bool = Field(exclude=True)
        kind: ClassVar[str] = "patch"

    class Below(Marked):
        also: Annotated[int, Field(exclude=True, ge=1)]

    patch = Below.model_validate({"name": "Ann"})

    absent: set[Any] = {patch.reason, patch.confirmed, patch.also}
    assert absent == {MISSING}
    assert Below.model_json_schema().get("required") is None
    with pytest.raises(ValidationError, match="3 validation errors"):
        Below.model_validate({"reason": "x", "confirmed": 7, "also": 0})
    reader = Reader(name="Bea")
    patch.apply(reader)
    assert reader.name == "Ann"


def test_what_is_said_of_a_field_holds() -> None:
    """An alias, a description and bounds hold in a patch: in `Annotated`, in `Field`, in a text, and in a base."""

    class Named(BaseModel):
        password_hash: str = Field(alias="passwordHash", min_length=3)

    class Renamed(Named, PatchSchema, model=Reader):
        name: Annotated[str, Field(alias="fullName", description="As on the card.", max_length=5)]
        email: str = Field(alias="eMail")
        notes: "Annotated[str, Field(alias='remarks')]"

    sent = {"fullName": "Ann", "eMail": "a@b.org", "passwordHash": "xyz", "remarks": "r"}
    assert Renamed.model_validate(sent).model_dump() == {
        "name": "Ann", "email": "a@b.org", "password_hash": "xyz", "notes": "r"
    }  # fmt: skip
    properties = Renamed.model_json_schema()["properties"]
    assert properties["fullName"] == {
        "description": "As on the card.", "maxLength": 5, "title": "Fullname", "type": "string"
    }  # fmt: skip
    for wrong in ({"name": "Ann"}, {"fullName": "123456"}, {"passwordHash": "x"}):
        with pytest.raises(ValidationError, match="1 validation error"):
            Renamed.model_validate(wrong)


def test_a_field_of_a_later_class_is_optional() -> None:
    """A text that names what is not defined yet is optional, and what `Field` says of it holds."""

    class Waiting(PatchSchema, model=Reader):
        settings: "Later" = Field(alias="set")
        notes: "Later"

    class Later(BaseModel):
        size: int

    Waiting.model_rebuild(_types_namespace={"Later": Later})
    assert Waiting.model_validate({}).model_dump() == {}
    assert Waiting.model_validate({"set": {"size": 1}}).model_dump() == {"settings": {"size": 1}}
