"""The settings of the invoicing service."""

from ligand_async import Settings


class InvoicesSettings(Settings, defaults={"local": {"database_url": "sqlite+aiosqlite:///invoices.db"}}):
    """The framework's settings, with the roles of this service and the address of the exchange rates."""

    allowed_roles: tuple[str, ...] = ("clerk", "accountant", "admin")
    rates_url: str = "http://127.0.0.1:8001"
