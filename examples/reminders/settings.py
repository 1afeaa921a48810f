"""The settings of the reminding service."""

from pydantic import SecretStr

from ligand_async import Settings


class RemindersSettings(Settings):
    """The framework's settings, with the address of the invoices and an API key for them."""

    allowed_roles: tuple[str, ...] = ("clerk",)
    invoices_url: str = "http://127.0.0.1:8000"
    invoices_key: SecretStr = SecretStr("")
