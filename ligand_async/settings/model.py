"""Every setting: its type, its meaning, its default, and how all of them are read."""

from collections.abc import Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from ligand_async.settings.declaring import Rows, check_fields, check_prefix, check_rows, merge_rows
from ligand_async.settings.defaults import UNSET, resolve
from ligand_async.settings.environments import Environment
from ligand_async.settings.mistakes import Mistake, SettingsError, start_hint
from ligand_async.settings.network import FieldNames, Hosts, Origins, Proxies, Quotas, RedisURL
from ligand_async.settings.secret import keep_secret_key, not_kept
from ligand_async.settings.urls import DatabaseURL, ServiceURL
from ligand_async.settings.validation import invalid
from ligand_async.settings.vocabulary import Vocabulary

__all__ = ["Mistake", "Settings", "SettingsError"]

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """The settings of a service: read once by `Settings.load`, then fixed.

    The constructor takes every value as given and reads nothing. A service adds settings of its own, and chooses
    the prefix of its variables and what its environments have as defaults:

        class PetSettings(Settings, prefix="PETSTORE_", defaults={"local": {"mail_url": "smtp://127.0.0.1"}}):
            mail_url: str

    A setting without a default is required in every environment but `cli`, where reading it raises AttributeError.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="LIGAND_", hide_input_in_errors=True)

    environment_rows: ClassVar[Rows] = MappingProxyType({})
    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    environment: Environment = Field(description="Which row of defaults and rules holds.")
    database_url: DatabaseURL = Field(
        description="The database, as a SQLAlchemy URL.", examples=["postgresql://user:password@host/database"]
    )
    database_replica_urls: tuple[DatabaseURL, ...] = Field(
        default=(), description="Read-only replicas, for operations that ask for one."
    )
    database_direct_url: DatabaseURL | None = Field(
        default=None, description="The database past a pooler, for migrations and listeners."
    )
    database_pooler: Literal["none", "transaction"] = Field(
        default="none", description="What stands before the database: `none`, or pgbouncer in `transaction` mode."
    )
    database_pool_size: int = Field(default=10, ge=1, description="Connections per engine and worker.")
    database_pool_timeout: Seconds = Field(default=2.0, description="Seconds to wait for a free connection.")
    database_connect_timeout: Seconds = Field(default=5.0, description="Seconds to wait for a new connection.")
    database_statement_timeout: Seconds = Field(
        default=15.0, description="Seconds after which the database ends a statement."
    )
    database_command_timeout: Seconds = Field(
        default=20.0, description="Seconds after which a command to the database is given up."
    )
    database_lock_timeout: Seconds = Field(
        default=2.0, description="Seconds one attempt of a migration waits for a table's lock."
    )
    database_auto_upgrade: bool = Field(default=False, description="Migrate at start, under a lock.")
    service_public_url: ServiceURL = Field(
        description="Where clients outside find the service.", examples=["https://api.example.org"]
    )
    service_private_url: ServiceURL = Field(
        description="Where clients inside the network find the service.", examples=["http://petstore:8000"]
    )
    secret_key: SecretStr = Field(description="Signs cursors and cookies.")
    max_body_bytes: int = Field(default=1024 * 1024, ge=1, description="The largest request body, in bytes.")
    max_form_fields: int = Field(default=1000, ge=1, description="The most fields of a form.")
    max_form_files: int = Field(default=20, ge=1, description="The most uploads of a form.")
    body_timeout: Seconds = Field(default=10.0, description="Seconds to wait for the whole request body.")
    request_timeout: Seconds = Field(
        default=30.0, description="Seconds until the work on a request is stopped and rolled back."
    )
    audit_bulk: Literal["ignore", "warn", "error"] = Field(
        default="warn", description="What to do about a statement that changes audited rows and is not recorded."
    )
    signal_timeout: Seconds = Field(default=2.0, description="Seconds that a receiver of a signal may take.")
    trusted_hosts: Hosts = Field(
        default=(), description="Hosts that the service answers for, `*.example.org` for all below; none: any host."
    )
    trusted_proxies: Proxies = Field(
        default=(), description="The proxies in front whose word is taken: how many, or their networks."
    )
    cors_origins: Origins = Field(
        default=(), description="Origins whose pages may read the service's answers, or `*` for all."
    )
    cors_headers: FieldNames = Field(
        default=(), description="Request headers that these pages may send besides those of the framework."
    )
    rate_limit: Quotas | None = Field(
        default=None, description="The quota of a caller, such as `100/minute`, where no `@limit` says otherwise."
    )
    rate_limit_storage: RedisURL | None = Field(
        default=None, description="The Redis in which all workers count together; else each counts for itself."
    )
    port: int = Field(default=8000, ge=1, le=65535, description="The port that `ligand serve` listens on.")

    def __init__(self, **values: Any) -> None:
        # BaseSettings would read the environment again, and log what it found when PYDANTIC_SETTINGS_DEBUG is set.
        super(BaseSettings, self).__init__(**values)

    def __init_subclass__(cls, *, prefix: str | None = None, defaults: Rows | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if prefix is not None:
            cls.model_config["env_prefix"] = prefix
        cls.environment_rows = merge_rows(cls.environment_rows, defaults or {})

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        check_prefix(cls.model_config["env_prefix"])
        check_fields(cls.__bases__, cls.model_fields)
        check_rows(cls.environment_rows, cls.model_fields)

    @classmethod
    def load(cls, environment: str | None = None, **overrides: Any) -> Self:
        """Read the settings from every source.

        Strongest first: the arguments, the process's environment, `.env`, `.quartenv`, `.flaskenv`, the config
        file, the environment's defaults, the defaults of the class.

        Args:
            environment: `prod`, `stage`, `local`, `testing` or `cli`; else the variable `LIGAND_ENVIRONMENT`, else
                `prod`.
            **overrides: Settings by key.

        Raises:
            SettingsError: With everything that is wrong.
        """
        vocabulary = cls.vocabulary()
        resolved = resolve(vocabulary, cls.environment_rows, environment, overrides)
        mistakes = resolved.mistakes
        settings: Self | None = None
        try:
            settings = cls(**{key: one.value for key, one in resolved.given.items()})
        except ValidationError as error:
            mistakes += invalid(vocabulary, resolved.given, error)
        if settings is not None and resolved.key_file is not None and not mistakes:
            try:
                key = SecretStr(keep_secret_key(resolved.key_file))
                settings = settings.model_copy(update={"secret_key": key})
            except (OSError, ValueError):
                mistakes.append(not_kept(resolved.key_file, vocabulary.variable("secret_key")))
        # Outside of `except`, because the chained error would hold the values.
        if settings is None or mistakes:
            raise SettingsError.listing(mistakes, hint=start_hint(resolved.environment, vocabulary.prefix))
        settings._sources = {key: one.source for key, one in resolved.given.items()}
        return settings

    @classmethod
    def vocabulary(cls) -> Vocabulary:
        """Return what these settings and their variables are called."""
        return Vocabulary(cls.model_config["env_prefix"], cls.model_fields)

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each value came from: `argument`, a variable, a file's name, or which default it is."""
        return MappingProxyType({key: self._sources.get(key, "default") for key in type(self).model_fields})

    def config_copy(self) -> dict[str, Any]:
        """Return an upper-case copy for `app.config`.

        Secrets stay wrapped but for SECRET_KEY, which Quart reads. Changing the copy changes no setting.
        """
        copy = {key.upper(): deepcopy(value) for key, value in self}
        return {**copy, "SECRET_KEY": self.secret_key.get_secret_value()}

    @field_validator("*", mode="wrap")
    @classmethod
    def _pass_unset(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        return value if value is UNSET else validate(value)

    @model_validator(mode="after")
    def _drop_unset(self) -> Self:
        for key in [key for key, value in self if value is UNSET]:
            del self.__dict__[key]
            self.__pydantic_fields_set__.discard(key)
        return self

    if not TYPE_CHECKING:  # a type checker would take any name for an attribute

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                variable = self.vocabulary().variable(name)
                raise AttributeError(f"setting {name!r} is not set, cli needs nothing; set {variable} to read it")
            return super().__getattr__(name)
