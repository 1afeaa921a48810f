"""The benchmark of bodies that are refused. `make bench-refusals` runs it in full."""

import pytest

from bench.refusals import SHAPES, Shape, measure_apart


@pytest.mark.extended
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_refusal_costs_twice_the_memory_at_most(shape: Shape) -> None:
    """Of a process, for a body of 1 MiB; times are measured, too, but a busy machine says nothing by them."""
    taken, needed = measure_apart(shape, wrong=False)
    refused, needed_to_refuse = measure_apart(shape, wrong=True)

    assert taken > 0
    assert refused > 0
    assert needed_to_refuse <= 2 * needed
