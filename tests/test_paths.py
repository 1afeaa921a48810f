"""Paths that lead out of an address, in every form that some server understands."""

import itertools
from urllib.parse import quote

import pytest

from ligand_async.paths import is_below, leads_down

DOTS = ["..", ".", "%2e%2e", ".%2E", "..;", "..;a=1", "%2e%2e%3b", "..%20"]
SLASHES = ["/", "%2f", "\\", "%5c", "%252F"]


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_no_spelling_leads_up(layers: int) -> None:
    """Each form of dots between each pair of slashes, quoted again and again."""
    for before, dots, after in itertools.product(SLASHES, DOTS, SLASHES):
        path = f"a{before}{dots}{after}b"
        for _ in range(layers):
            path = quote(path, safe="")
        assert not leads_down(f"/{path}"), path


def test_quoted_values_lead_down() -> None:
    """Values of variables, quoted once, but for those that are steps themselves."""
    for value in ("a/b", "100%", "a.b", "..a", "a..", "...", "é", "a;b", "%41", "a?b#c", "tea time"):
        assert leads_down(f"/items/{quote(value, safe='')}"), value
    for value in ("..", ".", "../x", "x/..", "..;x", "a\\b", "%2e%2e", "a\0b", "a\nb"):
        assert not leads_down(f"/items/{quote(value, safe='')}"), value


def test_long_towers_of_escapes_end_soon() -> None:
    """They are refused after some layers, however long they are."""
    assert not leads_down("/%" + "25" * 4000 + "41")


def test_a_path_is_below_by_whole_steps() -> None:
    """A longer name is another name."""
    below = [("/api", "/api"), ("/api/", "/api"), ("/api/a", "/api/"), ("/a", "/"), ("/", "/"), ("/api/a%2Fb", "/api")]
    beside = [("/apix", "/api"), ("/", "/api"), ("/api/../x", "/api"), ("/API/a", "/api"), ("/a/..", "/"), ("", "/api")]

    assert all(is_below(path, base) for path, base in below)
    assert not any(is_below(path, base) for path, base in beside)
