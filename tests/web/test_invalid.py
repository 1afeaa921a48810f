"""What the sentences of a 422 hold: what a schema or a validator's author wrote, and nothing that was sent."""

from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from ligand_async.web.invalid import refuse

LIMIT = "at most three"
NEUTRAL = "Input is not valid"


def constant(value: Any) -> Any:
    raise ValueError("no such colour")


def named(value: Any) -> Any:
    raise ValueError(LIMIT)


def helped(value: Any) -> Any:
    complain("ask the zoo")


def complain(text: str) -> None:
    raise ValueError(text)


def echo(value: Any) -> Any:
    raise ValueError(value)


def formatted(value: Any) -> Any:
    raise ValueError(f"{value} is taken")


def part(value: Any) -> Any:
    raise ValueError("it begins with " + str(value)[:1])


def counted(value: Any) -> Any:
    raise ValueError(f"{len(str(value))} characters")


def asserted(value: Any) -> Any:
    if value != "x":
        raise AssertionError("only x")


def bare(value: Any) -> Any:
    if value != "x":
        raise AssertionError


def custom(value: Any) -> Any:
    raise PydanticCustomError("colour", "no such colour")


def custom_limit(value: Any) -> Any:
    raise PydanticCustomError("colour", "at most {limit} colours", {"limit": 77})


def custom_echo(value: Any) -> Any:
    raise PydanticCustomError("colour", "{sent} is no colour", {"sent": value})


@pytest.mark.parametrize(
    ("validator", "detail"),
    [
        (constant, "Value error, no such colour"),
        (named, "Value error, at most three"),
        (helped, "Value error, ask the zoo"),
        (echo, NEUTRAL),
        (formatted, NEUTRAL),
        (part, NEUTRAL),
        (counted, NEUTRAL),
        (asserted, "Assertion failed, only x"),
        (bare, "Assertion failed, "),
        (custom, "no such colour"),
        (custom_limit, "at most 77 colours"),
        (custom_echo, NEUTRAL),
    ],
)
@pytest.mark.parametrize("sent", ["a", "7", "é", "hunter2", "no such"])
def test_a_validators_text_is_shown_if_it_is_a_constant(validator: Any, detail: str, sent: str) -> None:
    """However short the value is, and whatever is made of it."""
    with pytest.raises(ValidationError) as refusal:
        TypeAdapter(Annotated[str, AfterValidator(validator)]).validate_python(sent)

    (found,) = refuse(refusal.value, place="pointer").errors
    assert found.detail == detail


@pytest.mark.parametrize("sent", ["a", "string", "valid", "3"])
def test_pydantics_own_sentences_are_shown(sent: str) -> None:
    """They say what the schema wants, also where the value is a word of them."""

    class Pet(BaseModel):
        age: int
        name: Annotated[str, Field(max_length=0)]

    with pytest.raises(ValidationError) as refusal:
        Pet.model_validate({"age": sent, "name": sent}, strict=True)

    found = [one.detail for one in refuse(refusal.value, place="pointer").errors]
    assert found == ["Input should be a valid integer", "String should have at most 0 characters"]
