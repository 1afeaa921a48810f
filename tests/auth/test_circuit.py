"""The circuit: who does not answer is left alone for a while."""

import pytest

from ligand_async.auth.tokens.introspection import Circuit, CircuitOpen


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fail(circuit: Circuit) -> None:
    with pytest.raises(OSError, match="nobody"), circuit.passing(OSError):
        raise OSError("nobody")


def is_open(circuit: Circuit) -> bool:
    try:
        with circuit.passing(OSError):
            return False
    except CircuitOpen:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    return Circuit(cool_down=1.0, clock=clock)


def test_failure_opens_it(circuit: Circuit) -> None:
    """After a failure nobody passes."""
    fail(circuit)
    assert is_open(circuit)


def test_other_errors_say_nothing(circuit: Circuit) -> None:
    """An error that is no failure of the other side leaves it as it was."""
    with pytest.raises(ValueError, match="odd"), circuit.passing(OSError):
        raise ValueError("odd")
    assert not is_open(circuit)


def test_one_tries_after_the_cool_down(circuit: Circuit, clock: Clock) -> None:
    """While one tries, the others are still turned away."""
    fail(circuit)
    clock.now += 1.0
    with circuit.passing(OSError):
        assert is_open(circuit)
    assert not is_open(circuit)


def test_failed_trial_opens_it_again(circuit: Circuit, clock: Clock) -> None:
    """After a trial that failed, the cool-down begins anew."""
    fail(circuit)
    clock.now += 1.0
    fail(circuit)
    clock.now += 0.9
    assert is_open(circuit)
    clock.now += 0.1
    assert not is_open(circuit)


def test_given_up_trial_lets_another_try(circuit: Circuit, clock: Clock) -> None:
    """A trial that ended in neither way is followed by another."""
    fail(circuit)
    clock.now += 1.0
    with pytest.raises(ValueError, match="odd"), circuit.passing(OSError):
        raise ValueError("odd")
    assert not is_open(circuit)


def test_retry_after_is_whole_seconds() -> None:
    """What clients are told is never zero."""
    assert [Circuit(cool_down=seconds).retry_after for seconds in (0.1, 1.0, 1.5)] == [1, 1, 2]
