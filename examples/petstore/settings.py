"""What can be set about the petstore."""

from ligand_async import Settings


class PetstoreSettings(Settings, defaults={"local": {"database_url": "sqlite+aiosqlite:///petstore.db"}}):
    """The framework's settings, with a database file and roles of the petstore's own."""

    allowed_roles: tuple[str, ...] = ("user", "admin")
