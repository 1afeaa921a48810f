"""The petstore's settings."""

from ligand_async import Settings


class PetstoreSettings(Settings, defaults={"local": {"database_url": "sqlite+aiosqlite:///petstore.db"}}):
    """The framework's settings, with the petstore's database file and roles."""

    allowed_roles: tuple[str, ...] = ("user", "admin")
