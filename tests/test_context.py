"""The state of an app: one object of each class, under one key of `app.extensions`."""

import pytest
from quart import Quart

import ligand_async
from ligand_async.context import Service, find_service, service_of, state_of
from ligand_async.settings import Settings


class Counter:
    """Something a room keeps."""

    def __init__(self) -> None:
        self.count = 0


def service() -> Quart:
    return ligand_async.create_app(__name__, title="Shop", version="1", settings=Settings.load("testing"))


def test_one_key() -> None:
    """Everything that the package keeps for an app is under one key of `app.extensions`, beside quart-schema's."""
    assert set(service().extensions) == {"ligand_async", "QUART_SCHEMA"}


def test_service_is_state() -> None:
    """The state of an app made by `create_app` is its `Service`."""
    app = service()
    assert isinstance(state_of(app), Service)
    assert state_of(app) is service_of(app) is find_service(app)


def test_bare_state() -> None:
    """A plain Quart has a state of its own from the first call on, and no service."""
    app, other = Quart(__name__), Quart(__name__)
    assert state_of(app) is state_of(app) is not state_of(other)
    assert find_service(app) is None
    with pytest.raises(RuntimeError, match=r"was not made by ligand_async\.create_app\(\)"):
        service_of(app)


def test_one_of_each_class() -> None:
    """A state holds one object of a class: the one that was put last."""
    state = state_of(Quart(__name__))
    assert state.find(Counter) is None
    with pytest.raises(LookupError, match="no Counter"):
        state.get(Counter)
    made = state.get_or_make(Counter)
    assert state.get_or_make(Counter) is state.get(Counter) is made
    other = state.put(Counter())
    assert state.find(Counter) is other is not made
