"""The parameters of operations."""

from typing import Any

import pytest
from quart import Blueprint

from tests.docs.describing import describe, make_app, operations, parameters


@pytest.mark.parametrize(
    ("converter", "schema"),
    [
        ("uuid", {"type": "string", "format": "uuid"}),
        ("int", {"type": "integer", "minimum": 0}),
        ("int(signed=True, max=9)", {"type": "integer", "maximum": 9}),
        ("float(min=0.5)", {"type": "number", "minimum": 0.5}),
        ("any(up, down)", {"type": "string", "enum": ["down", "up"]}),
        ("path", {"type": "string"}),
        ("string", {"type": "string"}),
    ],
)
def test_a_path_variable_is_what_its_converter_reads(converter: str, schema: dict[str, Any]) -> None:
    """A path variable is required and has the bounds of its converter."""
    things = Blueprint("things", __name__)

    @things.get(f"/<{converter}:key>")
    async def read_thing(key: Any) -> str:
        return str(key)

    told = operations(describe(make_app(things)))["read_thing"]
    assert told["parameters"] == [{"name": "key", "in": "path", "required": True, "schema": schema}]


def test_query_parameters_are_the_model_s_fields_and_single_ones(documented: dict[str, Any]) -> None:
    """The query string's model and the handler's own scalars are described together."""
    told = parameters(documented["list_toys"])
    assert {name: parameter["in"] for name, parameter in told.items()} == dict.fromkeys(
        ("colours", "since", "limit", "verbose"), "query"
    )
    assert told["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 10}


def test_an_absent_parameter_is_not_null(documented: dict[str, Any]) -> None:
    """A parameter that may be absent is never null, and its description is its own."""
    assert parameters(documented["list_toys"])["since"] == {
        "name": "since",
        "in": "query",
        "required": False,
        "description": "Made at this time or later.",
        "schema": {"type": "string", "format": "date-time"},
    }


def test_headers_have_hyphens_unless_they_are_named(documented: dict[str, Any]) -> None:
    """A header is described by the name that is read: hyphens for underscores, an alias as it is."""
    told = parameters(documented["read_toy"])
    assert (told["x-reason"]["in"], told["x-reason"]["required"]) == ("header", True)
    assert (told["X_Trace"]["in"], told["X_Trace"]["required"]) == ("header", False)


def test_cookies_are_parameters(documented: dict[str, Any]) -> None:
    """What is read from cookies is described."""
    assert parameters(documented["read_toy"])["theme"]["in"] == "cookie"
