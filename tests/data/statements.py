"""What was sent to the database, as SQLAlchemy saw it."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession


@contextmanager
def captured(session: AsyncSession) -> Iterator[list[str]]:
    """Collect the text of every statement that a session's engine sends."""
    engine = session.get_bind()
    sent: list[str] = []

    def keep(connection: object, cursor: object, statement: str, *rest: object) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", keep)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", keep)


def columns_of(statement: str) -> set[str]:
    """Return the columns between SELECT and FROM, without their table."""
    selected = statement.split("FROM")[0].removeprefix("SELECT ")
    return {part.strip().split(" AS ")[0].rpartition(".")[2] for part in selected.split(",")}
