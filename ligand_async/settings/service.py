"""The settings about the service itself: its database, its addresses, its limits."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from ligand_async.settings.environments import Environment
from ligand_async.settings.network import FieldNames, Hosts, Origins, Proxies, Quotas, RedisURL
from ligand_async.settings.urls import DatabaseURL, ServiceURL

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ServiceSettings(BaseSettings):
    """What `Settings` says about the service itself."""

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
    require_preconditions: bool = Field(
        default=True, description="Whether PUT, PATCH and DELETE of `@conditional` operations need a precondition."
    )
    clients_directory: str | None = Field(
        default=None, description="Where the built clients of the service are; none: `clients` beside its module."
    )
    port: int = Field(default=8000, ge=1, le=65535, description="The port that `ligand serve` listens on.")
