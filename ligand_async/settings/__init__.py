"""Every setting of a service, read once."""

from ligand_async.settings.environments import ENVIRONMENTS, without_choice
from ligand_async.settings.fields import DEFAULT_ALGORITHMS, IssuerOptions
from ligand_async.settings.libpq import SYSTEM_ROOTS, TLS, PostgresURL, RefusedParameter, Target, read_postgres_url
from ligand_async.settings.mistakes import Mistake, SettingsError
from ligand_async.settings.model import (
    Settings,
    check_config,
    check_cookie,
    check_production,
    check_serving,
    check_settings,
    cookie_config,
)
from ligand_async.settings.sources import DOTENV_FILES, parts
from ligand_async.settings.types import (
    ANY_ORIGIN,
    MASK,
    DatabaseAddress,
    Quota,
    is_base_url,
    is_field_name,
    is_issuer,
    is_origin,
    is_postgresql,
    masked,
    metadata_path_of,
    read_database_url,
    read_quotas,
    read_url,
    sqlite_file,
    without_passwords,
)

__all__ = [
    "ANY_ORIGIN",
    "DEFAULT_ALGORITHMS",
    "DOTENV_FILES",
    "ENVIRONMENTS",
    "MASK",
    "SYSTEM_ROOTS",
    "TLS",
    "DatabaseAddress",
    "IssuerOptions",
    "Mistake",
    "PostgresURL",
    "Quota",
    "RefusedParameter",
    "Settings",
    "SettingsError",
    "Target",
    "check_config",
    "check_cookie",
    "check_production",
    "check_serving",
    "check_settings",
    "cookie_config",
    "is_base_url",
    "is_field_name",
    "is_issuer",
    "is_origin",
    "is_postgresql",
    "masked",
    "metadata_path_of",
    "parts",
    "read_database_url",
    "read_postgres_url",
    "read_quotas",
    "read_url",
    "sqlite_file",
    "without_choice",
    "without_passwords",
]
