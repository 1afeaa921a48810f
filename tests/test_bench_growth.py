"""The benchmark of growth."""

import pytest

from bench.growth import SERVE, _with_workers, format_rows, measure_tables
from bench.suite import STACKS


@pytest.mark.extended
async def test_writes_are_measured_with_full_tables(postgres_url: str) -> None:
    """A write is measured with each feature and without, before and after their tables are filled."""
    found = await measure_tables(postgres_url, rows=1000, rounds=2)

    assert found.keys() == {"without", "audit trail", "idempotency key"}
    assert all(len(took) == 2 and min(took) > 0 for took in found.values())


def test_workers_are_an_option_of_the_same_server() -> None:
    """What differs between one worker and two is the number alone."""
    one, two = (_with_workers(STACKS[SERVE], workers).command(8000) for workers in (1, 2))

    assert [pair for pair in zip(one, two, strict=True) if pair[0] != pair[1]] == [("1", "2")]


def test_rows_have_their_figures() -> None:
    """A table has a line for each row, with two decimals."""
    assert format_rows(["ms", "a", "b"], {"x": [1, 2000.5]}).split() == ["ms", "a", "b", "x", "1.00", "2,000.50"]
