"""Constants written in SQL, and what the database makes itself."""

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnClause, DefaultClause, FetchedValue, TextClause
from sqlalchemy.sql.elements import BindParameter, False_, Null, True_

QUOTED = re.compile(r"\s*'((?:[^']|'')*)'\s*(?:::[\w\s]+(?:\(\d+(?:,\s*\d+)?\))?(?:\[\])*)?\s*")
BARE = re.compile(r"\s*\(?\s*([+-]?\d+(?:\.\d+)?|true|false|null)\s*\)?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Constant:
    """A value written down in a `server_default`, as SQL text or in Python."""

    value: Any


def constant_of(server_default: FetchedValue) -> Constant | None:
    """Return the constant that a server default is, or None where it is the database's to make, such as `now()`."""
    if not isinstance(server_default, DefaultClause):
        return None
    match server_default.arg:
        case str() as text:
            return Constant(text)
        case TextClause(text=text) | ColumnClause(is_literal=True, name=text):
            quoted = QUOTED.fullmatch(text)
            if quoted:
                return Constant(quoted[1].replace("''", "'"))
            bare = BARE.fullmatch(text)
            return None if bare is None else Constant(None if bare[1].lower() == "null" else bare[1])
        case True_() | False_() as boolean:
            return Constant(isinstance(boolean, True_))
        case Null():
            return Constant(None)
        case BindParameter(value=value):
            return Constant(value)
    return None
