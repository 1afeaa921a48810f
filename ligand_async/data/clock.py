"""The database's clock and the column type that keeps its readings: aware, in UTC, to the microsecond."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator


class UTCDateTime(TypeDecorator[datetime]):
    """A moment: `timestamptz` on PostgreSQL, text in SQLAlchemy's own format on SQLite, always aware and in UTC.

    Raises:
        ValueError: A naive datetime was bound; whose clock it was read from cannot be known.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive values and store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime; make it aware, such as datetime.now(UTC)")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  (its signature)
        """Read UTC back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class utc_now(FunctionElement[datetime]):  # noqa: N801  (an SQL function, written as one)
    """The database's current moment, for `server_default`, `onupdate` and queries.

    PostgreSQL: `now()`, the start of the transaction. SQLite: its millisecond clock, written with six digits like every
    other moment, because text compares character by character.
    """

    type = UTCDateTime()
    inherit_cache = True
    name = "utc_now"


@compiles(utc_now, "postgresql")
def _now_on_postgresql(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return "now()"


@compiles(utc_now, "sqlite")
def _now_on_sqlite(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"
