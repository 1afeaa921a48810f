"""`ligand token`: an access token of the development issuer."""

import re
from typing import Any

import click
import jiter
from quart import Quart
from quart.cli import ScriptInfo, pass_script_info

from ligand_async.auth import ENVIRONMENTS, LIFETIME, DevelopmentIssuer, issuer_of
from ligand_async.cli.output import ServiceError
from ligand_async.cli.service import load_app, load_service
from ligand_async.settings import CommandLine, Given, Settings, with_options

_LONGEST = 366 * 24 * 3600  # seconds
_NAME = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")  # the characters of a scope (RFC 6749 section 3.3)


def _read_names(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> list[str]:
    """Return the names in an option that may be repeated, each once."""
    names = [name.strip() for value in values for name in value.split(",")]
    if not all(map(_NAME.fullmatch, names)):
        raise click.BadParameter("write names without spaces, quotes or backslashes, separated by commas")
    return list(dict.fromkeys(names))


def _read_subject(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """Return a subject that a token can have."""
    if not value.strip() or not value.isprintable():
        raise click.BadParameter("write the subject of the token in printable characters")
    return value


def _read_claims(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Return the claims in an option that may be repeated, by name."""
    found: dict[str, Any] = {}
    for written in values:
        name, equals, text = written.partition("=")
        if not name or not equals:
            raise click.BadParameter("write a claim as name=value, such as tenant=acme or 'groups=[\"a\"]'")
        if name in found:
            raise click.BadParameter(f"the claim {name} is given twice; write several values as a JSON list")
        found[name] = _read_value(name, text)
    return found


def _read_value(name: str, text: str) -> Any:
    """Return a value that is written as JSON, or else the text itself."""
    try:
        return jiter.from_json(text.encode(), catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        if text.startswith(("{", "[", '"')):
            raise click.BadParameter(
                f"the value of {name} begins like JSON and is not valid; put the option in quotes for the shell"
            ) from None
        return text


@click.command("token")
@click.option(
    "--role",
    "roles",
    multiple=True,
    callback=_read_names,
    help="A role of the caller; repeat the option, or write a,b.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    callback=_read_names,
    help="A scope of the token; repeat the option, or write a,b.",
)
@click.option("--subject", default="ada", show_default=True, callback=_read_subject, help="The caller's subject.")
@click.option(
    "--expires",
    type=click.IntRange(1, _LONGEST),
    default=LIFETIME,
    show_default=True,
    help="Seconds until the token expires.",
)
@click.option(
    "--claim",
    "claims",
    multiple=True,
    callback=_read_claims,
    help="A claim as name=value, where the value is JSON or else text; repeat the option.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="That of `ligand serve --port`; by default PORT, else 8000."
)
@pass_script_info
def token(
    info: ScriptInfo,
    roles: list[str],
    scopes: list[str],
    subject: str,
    expires: int,
    claims: dict[str, Any],
    port: int | None,
) -> None:
    """Print an access token of the development issuer.

    Nothing else is printed on stdout. Only local and testing have this issuer, where no real issuer is set.
    """
    given = {} if port is None else {"port": Given(port, "--port")}
    with with_options(CommandLine(given)):
        load_app(info)
    settings = load_service(info).settings
    issuer = _find_issuer(load_app(info), settings)
    unknown = [name for name in roles if settings.allowed_roles and name not in settings.allowed_roles]
    if unknown:
        known = ", ".join(settings.allowed_roles)
        raise click.BadParameter(f"there is no role {unknown[0]}; allowed_roles has {known}", param_hint="--role")
    try:
        issued = issuer.issue(subject=subject, roles=roles, scopes=scopes, expires=expires, claims=claims)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--claim") from error
    click.echo(issued)


def _find_issuer(app: Quart, settings: Settings) -> DevelopmentIssuer:
    """Return the development issuer of a service.

    Raises:
        ServiceError: The service has no development issuer, or its process has another key.
    """
    variable = settings.vocabulary().variable
    if settings.environment not in ENVIRONMENTS:
        raise ServiceError(
            f"there is no development issuer in {settings.environment}; get a token from the issuer that "
            f"{variable('oidc_issuer')} names, or set {variable('environment')}=local"
        )
    if settings.oidc_issuer:
        raise ServiceError(
            f"the service trusts {' and '.join(settings.oidc_issuer)}; get a token there, or unset "
            f"{variable('oidc_issuer')} to have the development issuer"
        )
    issuer = issuer_of(app)
    if issuer is None:
        raise ServiceError(
            "the service reads bearer tokens with an authenticator of its own; get a token from the issuer it trusts"
        )
    if _is_key_its_own(settings):
        raise ServiceError(
            "in testing each process makes its own secret key, so no other process would trust this token; "
            "give both the same secret_key in the code, or use local"
        )
    return issuer


def _is_key_its_own(settings: Settings) -> bool:
    is_default = settings.sources["secret_key"].startswith("default of ")
    return (
        settings.environment == "testing"
        and is_default
        and "secret_key" not in type(settings).environment_rows.get("testing", {})
    )
