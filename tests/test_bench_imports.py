"""The benchmark of imports."""

from bench import imports


async def test_the_service_and_the_script_write_the_same_rows(database_url: str) -> None:
    """Each round counts the rows of both, so what is compared is the same work."""
    assert await imports.measure(database_url, rounds=1, invoices=3) > 0
