"""The benchmark of services, entity tags and variables."""

import pytest

from bench.costs import CASES, measure


@pytest.mark.extended
async def test_costs_are_measured(postgres_url: str) -> None:
    """Each case is measured, and what is not used costs nothing: a plain service is a few calls."""
    calls, micros = await measure(postgres_url, rounds=1)

    assert set(calls) == set(micros) == {case.name for case in CASES}
    assert all(len(taken) == 1 and taken[0] > 0 for taken in micros.values())
    assert 0 < calls["read, repository"] - calls["read"] < 100
    assert 0 < calls["read, variables"] - calls["read"] < 100
