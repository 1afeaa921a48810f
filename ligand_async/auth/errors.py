"""The problems of RFC 6750 section 3.1, and their challenges."""

from typing import Any

from ligand_async.errors import BadRequest, Forbidden, Unauthorized


class InvalidToken(Unauthorized):
    """The access token is not valid. The response does not say why; the log has the reason.

    Args:
        reason: A short word for the log, such as `expired`.
        detail: The detail of the response; never a part of the token.
    """

    error = "invalid_token"

    def __init__(self, reason: str, detail: str = "the access token is not valid here", **options: Any) -> None:
        super().__init__(detail, **options)
        self.reason = reason


class InvalidRequest(BadRequest):
    """The credentials of the request are malformed."""

    error = "invalid_request"


class InsufficientScope(Forbidden):
    """The caller is authenticated, and may not do this."""

    error = "insufficient_scope"


def bearer_challenge(realm: str, *, error: str | None = None, scope: str | None = None) -> str:
    """Return a challenge for `WWW-Authenticate` (RFC 6750 section 3).

    Args:
        realm: The service's title.
        error: `invalid_request`, `invalid_token` or `insufficient_scope`; None if no token was sent.
        scope: The scopes that are needed, separated by spaces.
    """
    parts = {"realm": realm, "error": error, "scope": scope}
    return "Bearer " + ", ".join(f'{name}="{quoted(value)}"' for name, value in parts.items() if value is not None)


def quoted(text: str) -> str:
    """Escape a text for a quoted string of a header (RFC 9110 section 5.6.4); characters outside ASCII become `?`."""
    plain = "".join(character if " " <= character <= "~" else "?" for character in text)
    return plain.replace("\\", "\\\\").replace('"', '\\"')
