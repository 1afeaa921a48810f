"""Single statements on a database, for tests that look at one from outside."""

import asyncio

from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine


async def fetch_scalar(url: str, statement: str) -> object:
    """Run one statement on a connection of its own and return the first value of its first row."""
    engine = create_async_engine(url, poolclass=NullPool)
    async with asyncio.timeout(20), engine.connect() as connection:
        return (await connection.execute(text(statement))).scalar()


async def execute(url: str, statement: str) -> None:
    """Run one statement on a connection of its own and commit it."""
    engine = create_async_engine(url, poolclass=NullPool)
    async with asyncio.timeout(20), engine.begin() as connection:
        await connection.execute(text(statement))
