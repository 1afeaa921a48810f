"""Entity tags for tables that cannot get a version: digests of all columns of a row.

A version is compared in the UPDATE itself. A digest cannot be, so the row is locked and compared before the first
statement that may change something: `SELECT … FOR UPDATE`, then the digest of what it returns.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, event, inspect, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, InstanceState, Mapper, Session, object_session
from sqlalchemy.orm.base import NO_VALUE
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.sql.selectable import SelectBase, TextualSelect

from ligand_async.context import service_of
from ligand_async.data.transactions import UndoList, session_of
from ligand_async.tasks import this_app

_OWN = "ligand_digest"  # the execution option of our own statements
_PURPOSE = b"ligand entity tag"


class Digested:
    """Mix into a model whose table cannot get a version: its entity tags are digests of all its columns.

    It adds no column. A read selects every column for the tag, also those that the response does not show. A change
    under a precondition locks the row and reads it again.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a class that has a version.

        Raises:
            TypeError: It has one, which is the better tag.
        """
        super().__init_subclass__(**options)
        mapper: Mapper[Any] | None = inspect(cls, raiseerr=False)
        if mapper is not None and mapper.version_id_col is not None:
            raise TypeError(f"{cls.__name__} has a version, of which its entity tags are made; leave out Digested")


def columns_of(mapper: Mapper[Any]) -> dict[str, Column[Any]]:
    """Return the columns of a mapped class by their attributes."""
    pairs = ((attribute.key, attribute.columns[0]) for attribute in mapper.column_attrs)
    return {name: column for name, column in pairs if isinstance(column, Column)}


def digest_row(mapper: Mapper[Any], read: Callable[[str], Any]) -> str:
    """Return 64 bits of a digest of a row, as hexadecimal text.

    It is keyed: from a plain digest, a column that is not shown and has few values could be guessed.

    Args:
        mapper: The mapper of the class.
        read: Returns the value of an attribute.

    Raises:
        TypeError: A value of a type of the service's own looks different each time.
    """
    values = [(name, _written(mapper, name, read(name))) for name in columns_of(mapper)]
    secret = service_of(this_app()).settings.secret_key.get_secret_value()
    key = hmac.digest(secret.encode(), _PURPOSE, "sha256")
    return hashlib.blake2b(repr(values).encode("utf-8", "surrogatepass"), digest_size=8, key=key).hexdigest()


def _written(mapper: Mapper[Any], name: str, value: Any) -> str:
    if isinstance(value, memoryview):
        value = bytes(value)
    kind: Any = type(value)
    if kind.__repr__ is object.__repr__:
        raise TypeError(
            f"{mapper.class_.__name__}.{name} cannot be in a digest: {kind.__name__} has no __repr__ of its own"
        )
    return repr(value)


def read_stored(state: InstanceState[Any]) -> Callable[[str], Any]:
    """Return the function that reads an attribute as it was loaded, also if it was changed since.

    The function raises a KeyError if that is not known.
    """

    def read(name: str) -> Any:
        value = state.committed_state.get(name, state.dict[name])
        if value is NO_VALUE:
            raise KeyError(name)
        return value

    return read


# -- preconditions


@dataclass(frozen=True, slots=True)
class _Expected:
    """A row and the digest that was checked."""

    mapper: Mapper[Any]
    identity: tuple[Any, ...]
    digest: str


class _Expectations:
    """The rows of one session that have to be locked and compared before anything is changed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._open: list[_Expected] = []
        self._locked = UndoList[_Expected](session, self._open.append)  # a savepoint that ends so gives up its locks

    def add(self, expected: _Expected) -> None:
        """Expect a row."""
        if expected not in self._open and expected not in self._locked:
            self._open.append(expected)

    def lock(self, connection: Connection) -> None:
        """Lock and compare what was not yet.

        Raises:
            StaleDataError: A row has been changed or is gone.
        """
        while self._open:
            expected = self._open[0]
            if not _is_unchanged(connection, expected):
                raise StaleDataError(f"{expected.mapper.class_.__name__} has other values than those that were checked")
            self._locked.append(self._open.pop(0))
            entity = self._session.identity_map.get(expected.mapper.identity_key_from_primary_key(expected.identity))
            if entity is not None:
                _note_change(expected.mapper, connection, entity)  # statements of Core change what it does not show


def _is_unchanged(connection: Connection, expected: _Expected) -> bool:
    if connection.dialect.name == "sqlite":
        return True  # this transaction has been the only writer since it began
    mapper = expected.mapper
    columns = columns_of(mapper)
    same_row = [column == value for column, value in zip(mapper.primary_key, expected.identity, strict=True)]
    statement = select(*columns.values()).select_from(mapper.selectable).where(*same_row).with_for_update()
    row = connection.execute(statement, execution_options={_OWN: True}).one_or_none()
    return row is not None and digest_row(mapper, dict(zip(columns, row, strict=True)).__getitem__) == expected.digest


_EXPECTED = "ligand_digests_expected"


def expect_digest(entity: object, digest: str) -> None:
    """Let the database compare the row of an entity before its session changes anything: the caller has seen this one.

    Args:
        entity: An entity of a `Digested` class.
        digest: The digest of its row, as the caller has seen it.
    """
    session = object_session(entity)
    state: InstanceState[Any] = inspect(entity)
    if session is not None and state.identity is not None:
        expectations = session.info.get(_EXPECTED) or session.info.setdefault(_EXPECTED, _Expectations(session))
        expectations.add(_Expected(state.mapper, tuple(state.identity), digest))


async def confirm_digests(session: AsyncSession) -> None:
    """Lock and compare what is expected and was not compared, because nothing was changed.

    Raises:
        StaleDataError: A row has been changed or is gone.
    """
    expectations: _Expectations | None = session.info.get(_EXPECTED)
    if expectations is not None:
        connection = await session.connection()
        await connection.run_sync(expectations.lock)


def has_digests(base: type[DeclarativeBase]) -> bool:
    """Return whether a model of a service is digested."""
    return any(issubclass(mapper.class_, Digested) for mapper in base.registry.mappers)


def listen(engine: AsyncEngine) -> None:
    """Lock and compare expected rows before the statements of an engine that may change something."""
    event.listen(engine.sync_engine, "before_cursor_execute", _lock_first)


def _lock_first(connection: Connection, _cursor: Any, _sql: str, _parameters: Any, context: Any, _many: bool) -> None:
    session = session_of(connection)
    expectations = None if session is None else session.info.get(_EXPECTED)
    if expectations is None or _OWN in context.execution_options:
        return
    statement = None if context.compiled is None else context.compiled.statement
    if not isinstance(statement, SelectBase) or isinstance(statement, TextualSelect):
        expectations.lock(connection)


# -- after a change

CHANGED = "ligand_digests_changed"
"""The key in `Session.info` of entities whose rows were flushed."""


@event.listens_for(Digested, "after_insert", propagate=True)
@event.listens_for(Digested, "after_update", propagate=True)
def _note_change(_mapper: Mapper[Any], _connection: Connection, entity: object) -> None:
    session = object_session(entity)
    if session is not None:
        session.info.setdefault(CHANGED, {})[inspect(entity)] = entity


async def read_changed(session: AsyncSession) -> None:
    """Read rows again that were flushed: the database may have rounded or changed what it was given."""
    changed: dict[InstanceState[Any], object] = session.info.pop(CHANGED, {})
    for state, entity in changed.items():
        if state.persistent and state.session is session.sync_session:
            await session.refresh(entity, list(columns_of(state.mapper)))
