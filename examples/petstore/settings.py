"""What can be set about the petstore."""

from ligand_async import Settings


class PetstoreSettings(Settings, defaults={"local": {"database_url": "sqlite+aiosqlite:///petstore.db"}}):
    """The framework's settings, with a database file of the petstore's own."""
