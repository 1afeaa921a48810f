"""The list of features, laws in the tests' docstrings."""

import importlib
import pkgutil

from ligand_async import web
from ligand_async.web import FEATURES


def test_every_feature_is_listed() -> None:
    """A `Feature` that a module of web/ defines is in `FEATURES`, so that the checks and the document know it."""
    names = [found.name for found in pkgutil.walk_packages(web.__path__, f"{web.__name__}.")]
    defined = {
        id(value)
        for name in names
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, web.Feature)
    }
    assert defined == {id(feature) for feature in FEATURES}
