"""Every setting of a service, read once."""

from ligand_async.settings.mistakes import Mistake, SettingsError
from ligand_async.settings.model import Settings

__all__ = ["Mistake", "Settings", "SettingsError"]
