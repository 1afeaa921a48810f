"""What can go wrong with a database that SQLAlchemy has no class for."""

from sqlalchemy.exc import SQLAlchemyError


class DatabaseUnreachable(SQLAlchemyError):
    """No connection could be made: refused, unresolved, or no answer within `database_connect_timeout`."""


class ConnectionLost(SQLAlchemyError):
    """An open connection broke under a statement."""


class StatementTimedOut(SQLAlchemyError):
    """The server did not answer a statement within `database_command_timeout`; the connection was given up."""


class ValueRefused(SQLAlchemyError):
    """The driver could not send a value: an integer too large, text that is no Unicode."""


class WriteOnReadSession(SQLAlchemyError):
    """Something wrote, or tried to change the session's own state, on a session that reads."""


class SessionMisused(SQLAlchemyError):
    """A session was used in a way that would lose or mix up work: by two tasks, or committed by hand."""


class LazyLoadRefused(SQLAlchemyError):
    """An attribute that was never loaded was read outside an await."""
