"""Values that JSON or a database cannot hold, laws in the tests' docstrings."""

import math
import sys
from decimal import Decimal
from typing import Any

import pytest

from ligand_async.json_values import find_flaw, is_finite

BEYOND = int(sys.float_info.max) * 2


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("-Infinity"), BEYOND])
def test_a_number_that_is_not_finite_is_found_anywhere(number: Any) -> None:
    """NaN, Infinity and integers beyond a double are found in every container, with the path to them."""
    flaw = find_flaw({"a": [1, ({"b": number},)]})
    assert flaw is not None
    assert (flaw.path, flaw.code) == (("a", 1, 0, "b"), "finite_number")
    assert not is_finite(number)


def test_u0000_is_found_in_values_and_keys() -> None:
    """A key with U+0000 is reported at its mapping: its name would be part of the answer."""
    value, key = find_flaw(["ok", "a\0b"]), find_flaw({"a": {"b\0": 1}})
    assert value is not None
    assert (value.path, value.code) == ((1,), "nul_character")
    assert key is not None
    assert key.path == ("a",)


def test_text_is_left_alone_where_it_is_only_sent() -> None:
    """JSON can hold U+0000; with `in_text=False` only numbers are looked at."""
    assert find_flaw(["a\0b"], in_text=False) is None


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, Decimal(10) ** 400, "text", [], {"a": [1, "b", None]}, object()]
)
def test_what_can_be_held_has_no_flaw(value: Any) -> None:
    """Finite numbers of any kind, text and containers of these pass; other objects are ignored."""
    assert find_flaw(value) is None
