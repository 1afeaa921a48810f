"""The settings: name, type, default, words, and below the variables and defaults that not every setting has."""

from collections.abc import Callable
from secrets import token_urlsafe
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings

from ligand_async.settings.environments import ENVIRONMENTS, MIN_SECRET_KEY, STRICT, Environment, throwaway_database_url
from ligand_async.settings.types import (
    DatabaseURL,
    ExactOrigins,
    FieldNames,
    Hosts,
    Origins,
    PathPrefix,
    Proxies,
    Quotas,
    RedisURL,
    ServiceURL,
    is_issuer,
    metadata_path_of,
)

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]  # seconds too


class ServiceSettings(BaseSettings):
    """The settings of the service itself."""

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
    database_pool_timeout: _Seconds = Field(default=2.0, description="Seconds to wait for a free connection.")
    database_connect_timeout: _Seconds = Field(default=5.0, description="Seconds to wait for a new connection.")
    database_statement_timeout: _Seconds = Field(
        default=15.0, description="Seconds after which the database ends a statement."
    )
    database_command_timeout: _Seconds = Field(
        default=20.0, description="Seconds after which a command to the database is given up."
    )
    database_lock_timeout: _Seconds = Field(
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
    body_timeout: _Seconds = Field(default=10.0, description="Seconds to wait for the whole request body.")
    request_timeout: _Seconds = Field(
        default=30.0, description="Seconds until the work on a request is stopped and rolled back."
    )
    max_requests: int | None = Field(
        default=None,
        ge=1,
        description="Requests at once and per worker, others are a 503; none: 50 for each connection of the pool.",
    )
    audit_bulk: Literal["ignore", "warn", "error"] = Field(
        default="warn", description="What to do about a statement that changes audited rows and is not recorded."
    )
    signal_timeout: _Seconds = Field(default=2.0, description="Seconds that a receiver of a signal may take.")
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
    failed_attempts: Quotas | None = Field(
        default="60/minute; 600/hour",
        description="The wrong keys, passwords and opaque tokens that a network has, /24 or /64; none: any number.",
    )
    refused_requests: Quotas | None = Field(
        default="1000/minute", description="The requests refused with 403 that a principal has; none: any number."
    )
    principal_session_storage: RedisURL | None = Field(
        default=None, description="The Redis in which all workers keep the sessions of callers; else each its own."
    )
    principal_session_idle_timeout: _Seconds = Field(
        default=1800.0, le=31_536_000, description="Seconds that the session of a caller lives without being used."
    )
    principal_session_lifetime: _Seconds = Field(
        default=43200.0, le=31_536_000, description="Seconds that the session of a caller lives at most."
    )
    principal_session_max_value_bytes: int = Field(
        default=16 * 1024, ge=1, description="The largest value in the session of a caller, in bytes of JSON."
    )
    principal_session_max_bytes: int = Field(
        default=64 * 1024, ge=1, description="The largest session of a caller, in bytes."
    )
    principal_session_memory_bytes: int = Field(
        default=64 * 1024 * 1024, ge=1, description="What all sessions without a Redis may take, in bytes per worker."
    )
    require_preconditions: bool = Field(
        default=True, description="Whether PUT, PATCH and DELETE of `@conditional` operations need a precondition."
    )
    clients_directory: str | None = Field(
        default=None, description="Where the built clients of the service are; none: `clients` beside its module."
    )
    drain_delay: _NotNegative = Field(
        default=0.0, description="Seconds between the signal to stop, when readiness turns 503, and closing."
    )
    grace_period: _NotNegative = Field(
        default=5.0, description="Seconds for requests in flight once no more connections are accepted."
    )
    max_connections: int = Field(
        default=10_000, ge=1, description="Connections at once; the oldest idle one makes room for a new one."
    )
    http2_cleartext: bool = Field(
        default=False, description="Whether HTTP/2 is served without TLS, to clients that begin with it."
    )
    http1_reader: Literal["httptools", "h11"] = Field(
        default="httptools", description="Which library reads HTTP/1; `httptools` leaves unusual requests to h11."
    )
    commit: str | None = Field(default=None, description="The commit that the service was built from, for `/info`.")
    port: int = Field(default=8000, ge=1, le=65535, description="The port that `ligand serve` listens on.")
    root_path: PathPrefix | None = Field(
        default=None, description="The path below which clients see the service, such as `/api`; none: `/`."
    )
    tls_certificate: str | None = Field(
        default=None, description="The certificate of the server and those of its issuers, a PEM file; none: no TLS."
    )
    tls_key: str | None = Field(
        default=None, description="The key of the certificate, a PEM file; none: it is in the certificate's file."
    )
    tls_minimum_version: Literal["1.2", "1.3"] = Field(default="1.2", description="The oldest TLS that is spoken.")
    management_port: int | None = Field(
        default=None, ge=1, le=65535, description="A port of its own for health checks; none: they are on `port`."
    )


_Profile = Literal["generic", "keycloak", "auth0", "entra", "cognito", "okta"]
_Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448"
]  # asymmetric ones only (RFC 8725 section 3.1): with HS256 everybody who can verify a token can make one
DEFAULT_ALGORITHMS: tuple[_Algorithm, ...] = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")


def _check_is_no_metadata(value: str) -> str:
    surplus = metadata_path_of(value)
    if surplus is None:
        return value
    raise PydanticCustomError(
        "ligand_metadata",
        "it is the address of the issuer's metadata; write it without {surplus}",
        {"surplus": surplus},
    )


def _check_issuers(value: tuple[str, ...]) -> tuple[str, ...]:
    """Check the issuers; each stays as it is written, because `iss` is compared exactly."""
    for issuer in value:
        _check_is_no_metadata(issuer)
    if all(map(is_issuer, value)) and len(set(value)) == len(value):
        return value
    raise PydanticCustomError(
        "ligand_issuers", "write each issuer as it calls itself in `iss`: https://host/path, no query or fragment"
    )


def _check_words(value: tuple[str, ...]) -> tuple[str, ...]:
    if all(word and not any(character.isspace() for character in word) for word in value):
        return value
    raise PydanticCustomError("ligand_words", "write names without spaces, separated by commas")


def _take_one(value: object) -> object:
    """Return a list of one for a single text; variables are split before."""
    return (value,) if isinstance(value, str) else value


_Issuers = Annotated[tuple[str, ...], BeforeValidator(_take_one), AfterValidator(_check_issuers)]
_Words = Annotated[tuple[str, ...], BeforeValidator(_take_one), AfterValidator(_check_words)]


_IssuerURL = Annotated[ServiceURL, AfterValidator(_check_is_no_metadata)]


class IssuerOptions(BaseModel):
    """The settings of one of several issuers, where they differ from the shared ones.

    Attributes:
        issuer: The issuer, as in `oidc_issuer`.
        private_url: Instead of `oidc_private_url`.
        audience: Instead of `oidc_audience`.
        profile: Instead of `oidc_profile`; then `oidc_roles_claim` and `oidc_scopes_claim` do not apply either.
        roles_claim: Instead of `oidc_roles_claim`.
        scopes_claim: Instead of `oidc_scopes_claim`.
        client_subject: Instead of `oidc_client_subject`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    issuer: str
    private_url: _IssuerURL | None = None
    audience: _Words = ()
    profile: _Profile | None = None
    roles_claim: str | None = None
    scopes_claim: str | None = None
    client_subject: bool | None = None


def _check_options(value: tuple[IssuerOptions, ...]) -> tuple[IssuerOptions, ...]:
    if len({one.issuer for one in value}) == len(value):
        return value
    raise PydanticCustomError("ligand_issuer_options", "write the options of each issuer once")


_Options = Annotated[tuple[IssuerOptions, ...], AfterValidator(_check_options)]


class OIDCSettings(ServiceSettings):
    """The settings of authentication and access."""

    oidc_issuer: _Issuers = Field(
        default=(), description="The issuers whose access tokens are trusted, each as its tokens' `iss` has it."
    )
    oidc_private_url: _IssuerURL | None = Field(
        default=None, description="Where this service reaches the issuer, if that is not the address in `iss`."
    )
    oidc_issuer_options: _Options = Field(
        default=(), description="Where one of several issuers differs: a JSON list of objects with its `issuer`."
    )
    oidc_audience: _Words = Field(
        default=(), description="What this service is called in `aud`; a token must name one of them."
    )
    oidc_profile: _Profile = Field(
        default="generic", description="Where the issuer's tokens say roles and scopes, and how they look."
    )
    oidc_roles_claim: str | None = Field(
        default=None, description="The claim with the roles, where the profile's is not it; a dot leads into an object."
    )
    oidc_scopes_claim: str | None = Field(
        default=None, description="The claim with the scopes, where the profile's is not it."
    )
    oidc_client_subject: bool = Field(
        default=False, description="Whether a token without `sub` is accepted; its subject is then its client."
    )
    oidc_key_bound_tokens: Literal["refuse", "proxy"] = Field(
        default="refuse",
        description="Tokens bound to a key (`cnf`): `refuse`, or `proxy`, which has checked that the caller holds it.",
    )
    oidc_algorithms: tuple[_Algorithm, ...] = Field(
        default=DEFAULT_ALGORITHMS, min_length=1, description="The signature algorithms that are accepted."
    )
    oidc_leeway: float = Field(
        default=30.0, ge=0, le=300, description="Seconds by which an issuer's clock may differ from ours."
    )
    oidc_timeout: float = Field(default=5.0, gt=0, le=60, description="Seconds to wait for an issuer's answer.")
    oidc_tokens: Literal["jwt", "opaque", "both"] = Field(
        default="jwt",
        description="What tokens are: `jwt`, verified here; `opaque`, which the issuer is asked about; or `both`.",
    )
    oidc_unknown_tokens: Quotas | None = Field(
        default="600/minute", description="The wrong opaque tokens that a worker asks the issuer about; none: any."
    )
    oidc_client_id: str | None = Field(
        default=None, description="This service's own client at the issuer, for introspection and calls to others."
    )
    oidc_client_secret: SecretStr | None = Field(default=None, description="That client's secret.")
    oidc_client_auth_method: Literal["client_secret_basic", "client_secret_post"] = Field(
        default="client_secret_basic", description="How that client shows its secret (RFC 6749 section 2.3.1)."
    )
    browser_origins: ExactOrigins = Field(
        default=(), description="Origins, besides the service's own, whose pages may call with a browser's credentials."
    )
    oauth_authorization_url: ServiceURL | None = Field(
        default=None, description="Where people sign in, for the documentation; by default the issuer's metadata says."
    )
    oauth_token_url: ServiceURL | None = Field(
        default=None, description="Where codes become tokens, for the documentation; by default as above."
    )
    oauth_docs_client_id: str | None = Field(
        default=None, description="The public client that the docs page signs in as, with PKCE."
    )
    principal_session_claims: _Words = Field(
        default=(), description="Claims that, with issuer and subject, say whose session it is, such as `tenant`."
    )
    docs_role: str | None = Field(
        default=None,
        description="The role that may read the OpenAPI document, docs page and `/problems/`; none: anyone.",
    )
    operations_role: str | None = Field(
        default=None, description="The role that sees `/info` and the checks of `/readyz`, outside of `local`."
    )
    allowed_roles: _Words = Field(
        default=(), description="The roles that exist; a route that requires another one is a mistake. None: any."
    )

    def issuer_options(self, issuer: str) -> IssuerOptions:
        """Return the options of one of the issuers, which are empty if it has none."""
        return next((one for one in self.oidc_issuer_options if one.issuer == issuer), IssuerOptions(issuer=issuer))


# Variables without a prefix that set a setting, too; hosters and other tools set these.
UNPREFIXED = {"database_url": "DATABASE_URL", "port": "PORT"}
# A default of these would not be safe in `prod` and `stage`, not even one in the code of a service.
REQUIRED_IN_STRICT = ("database_url", "secret_key", "service_public_url", "service_private_url")


def environment_defaults(environment: str, *, name: str, address: str | None) -> dict[str, Callable[[], Any]]:
    """Return functions that make the defaults of one environment, by key.

    The secret key of `local` is not among them, because it is kept in a file.

    Args:
        environment: One of `ENVIRONMENTS`; any other name has no defaults.
        name: The name of a database file, without suffix.
        address: Where the service is found; None if that is not known.
    """
    if environment in STRICT or environment not in ENVIRONMENTS:
        return {}
    row: dict[str, Callable[[], Any]] = {
        "database_url": lambda: f"sqlite+aiosqlite:///{name}.db",
    }
    if address is not None:
        row |= {"service_public_url": lambda: address, "service_private_url": lambda: address}
    if environment == "testing":
        row["database_url"] = throwaway_database_url
    if environment != "local":
        row["secret_key"] = lambda: token_urlsafe(MIN_SECRET_KEY)
    return row
