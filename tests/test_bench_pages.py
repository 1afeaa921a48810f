"""The benchmark of pages."""

import pytest

from bench.pages import measure


@pytest.mark.extended
async def test_every_kind_of_page_is_measured(postgres_url: str) -> None:
    """It runs, over fewer rows; that an index is used at every depth is for tests/web/test_cursor.py to hold."""
    figures = await measure(postgres_url, rows=3_000, repeat=3)

    assert figures.keys() >= {"cursor, first", "cursor, last", "number, first", "number, last"}
    assert all(milliseconds > 0 for milliseconds in figures.values())
