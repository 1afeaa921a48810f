"""The access token of the request being served, for those who pass it on."""

from contextvars import ContextVar

from pydantic import SecretStr

from ligand_async.context import current_principal
from ligand_async.principal import Principal

# It stands apart from the principal, which is shown, logged and stored; and it is a secret in whatever shows it.
caller_token_var: ContextVar[tuple[Principal, SecretStr] | None] = ContextVar("ligand_caller_token", default=None)


def keep_caller_token(principal: Principal, token: str) -> None:
    """Remember a token that was verified.

    Args:
        principal: Whom it speaks for.
        token: As it was sent.
    """
    caller_token_var.set((principal, SecretStr(token)))


def current_caller_token() -> str | None:
    """Return the token by which the current principal is known; None where it is known by something else."""
    kept = caller_token_var.get()
    if kept is None or kept[0] is not current_principal():
        return None
    return kept[1].get_secret_value()
