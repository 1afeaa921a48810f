"""Refusals of callers: the problems of RFC 6750 section 3.1 with their challenges."""

from typing import Any

from ligand_async.errors import BadRequest, Forbidden, Unauthorized


class InvalidToken(Unauthorized):
    """The credentials that were sent are not to be trusted.

    Args:
        reason: A short word for the log, such as `expired`; it is not answered.
        detail: What the caller is told; never a part of the token.
    """

    error = "invalid_token"

    def __init__(self, reason: str, detail: str = "the access token is not valid here", **options: Any) -> None:
        super().__init__(detail, **options)
        self.reason = reason


class InvalidRequest(BadRequest):
    """The request cannot be read as one that carries credentials."""

    error = "invalid_request"


class InsufficientScope(Forbidden):
    """The caller is known, and is not who may do this."""

    error = "insufficient_scope"


def bearer_challenge(realm: str, *, error: str | None = None, scope: str | None = None) -> str:
    """Return a challenge for `WWW-Authenticate` (RFC 6750 section 3).

    Args:
        realm: The service's title.
        error: `invalid_request`, `invalid_token` or `insufficient_scope`; None where no token was sent.
        scope: The scopes that would do, separated by spaces.
    """
    parts = {"realm": realm, "error": error, "scope": scope}
    return "Bearer " + ", ".join(f'{name}="{quoted(value)}"' for name, value in parts.items() if value is not None)


def quoted(text: str) -> str:
    """Return a text for a quoted string of a header (RFC 9110 section 5.6.4): ASCII, nothing that ends it."""
    plain = "".join(character if " " <= character <= "~" else "?" for character in text)
    return plain.replace("\\", "\\\\").replace('"', '\\"')
