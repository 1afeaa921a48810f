"""The rules of the environments: required settings, safe values, defaults, and settings that need each other."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from ligand_async.settings.environments import (
    ENVIRONMENTS,
    MIN_DISTINCT_BYTES,
    MIN_DISTINCT_OF_CLIENT,
    MIN_SECRET_KEY,
    STRICT,
    default_environment,
    secret_key_file,
)
from ligand_async.settings.fields import REQUIRED_IN_STRICT, environment_defaults
from ligand_async.settings.mistakes import Mistake, Vocabulary
from ligand_async.settings.sources import Given, current_options, gather
from ligand_async.settings.types import is_base_url, is_path_prefix, read_database_url, sqlite_file

_NEW_KEY = f"python3 -c 'import secrets; print(secrets.token_urlsafe({MIN_SECRET_KEY}))'"
_DEBUG_VARIABLES = ("QUART_DEBUG", "FLASK_DEBUG")


def _missing(vocabulary: Vocabulary, environment: str, values: Mapping[str, Any]) -> list[str]:
    """Return the settings that the environment requires and that are not set.

    A default in the code does not count for what `prod` and `stage` require.
    """
    required = {key for key, info in vocabulary.fields.items() if info.is_required()}
    if environment in STRICT:
        required.update(REQUIRED_IN_STRICT)
    elif not current_options().has_port and "service_public_url" not in values:
        required.discard("service_private_url")  # it will be the public one
    return [key for key in vocabulary.fields if key in required and key not in values]


def _not_set(vocabulary: Vocabulary, key: str) -> Mistake:
    variable = vocabulary.variable(key)
    if key == "secret_key":
        return Mistake(key, variable, "is not set", f"set it to what this prints: {_NEW_KEY}")
    examples = vocabulary.fields[key].examples
    example = f", such as {examples[0]}" if examples else ""
    problem = "is not set"
    if key == "service_public_url" and not current_options().has_port:
        problem = "is not set, and cannot be made of the port, because the service listens on a Unix socket"
    return Mistake(key, " or ".join(vocabulary.variables(key)), problem, f"set {variable}{example}")


def _unsafe(vocabulary: Vocabulary, environment: str, values: Mapping[str, Any]) -> list[Mistake]:
    """Return the unsafe values, which `prod` and `stage` refuse."""
    if environment not in STRICT:
        return []
    found = []
    key = reveal(values.get("secret_key"))
    if isinstance(key, str) and len(key) < MIN_SECRET_KEY:
        problem = f"is shorter than {MIN_SECRET_KEY} characters"
        found.append(_weak_key(vocabulary, problem))
    elif isinstance(key, str) and len(set(key.encode("utf-8", "surrogatepass"))) < MIN_DISTINCT_BYTES:
        found.append(_weak_key(vocabulary, f"has fewer than {MIN_DISTINCT_BYTES} different characters"))
    client_secret = reveal(values.get("oidc_client_secret"))
    if isinstance(client_secret, str) and len(set(client_secret)) < MIN_DISTINCT_OF_CLIENT:
        variable = vocabulary.variable("oidc_client_secret")
        problem = f"has fewer than {MIN_DISTINCT_OF_CLIENT} different characters"
        found.append(Mistake("oidc_client_secret", variable, problem, "let the issuer make a new one"))
    url = values.get("service_public_url")
    if environment == "prod" and isinstance(url, str) and url.lower().startswith("http:"):
        variable = vocabulary.variable("service_public_url")
        found.append(Mistake("service_public_url", variable, "is plain http", "serve the public over https"))
    return found + [debug_mistake() for _ in range(_is_debug_requested())]


def _weak_key(vocabulary: Vocabulary, problem: str) -> Mistake:
    remedy = f"set it to what this prints: {_NEW_KEY}"
    return Mistake("secret_key", vocabulary.variable("secret_key"), problem, remedy)


def _is_debug_requested() -> bool:
    return any(os.environ.get(name, "").lower() not in {"", "0", "false", "no"} for name in _DEBUG_VARIABLES)


def debug_mistake() -> Mistake:
    """Describe debug mode where it is refused."""
    remedy = "unset QUART_DEBUG and FLASK_DEBUG, leave out --debug, leave app.debug alone"
    return Mistake("debug", " or ".join(_DEBUG_VARIABLES), "is on", remedy)


def testing_mistake() -> Mistake:
    """Describe testing mode where it is refused."""
    return Mistake("testing", None, "is on", "leave app.testing alone, or use the environment testing")


def reveal(value: Any) -> Any:
    """Return the value of a secret, and any other value as it is."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value


_HTTPS_IN_STRICT = ("oidc_issuer", "oidc_private_url", "oauth_authorization_url", "oauth_token_url")
_FOR_INTROSPECTION = ("oidc_issuer", "oidc_client_id", "oidc_client_secret")


def _about_callers(vocabulary: Vocabulary, environment: str, values: Mapping[str, Any]) -> list[Mistake]:
    """Return what is missing or unsafe among the settings about callers.

    Args:
        vocabulary: The names that are known.
        environment: The environment; `cli` needs nothing.
        values: The values given, by key.
    """
    if environment == "cli":
        return []
    keys = {*_HTTPS_IN_STRICT, *_FOR_INTROSPECTION, "oidc_audience", "oidc_tokens", "oidc_issuer_options"}
    keys |= {"oidc_key_bound_tokens", "trusted_proxies"}
    values = {key: values.get(key, vocabulary.fields[key].default) for key in keys}
    plain = _HTTPS_IN_STRICT if environment in STRICT else ()
    found = [_plain_http(vocabulary, key) for key in plain if any(map(_is_plain_http, _items(values[key])))]
    issuers = [*_items(values["oidc_issuer"])]
    options = [*_items(values["oidc_issuer_options"])]
    if environment in STRICT and any(_is_plain_http(_member(one, "private_url")) for one in options):
        found.append(_plain_http(vocabulary, "oidc_issuer_options"))
    found += _unknown_issuers(vocabulary, issuers, options)
    found += _private_url_of_none(vocabulary, issuers, values["oidc_private_url"])
    own = [_member(one, "issuer") for one in options if _member(one, "audience")]
    if values["oidc_issuer"] and not values["oidc_audience"] and not all(one in own for one in issuers):
        issuer = vocabulary.variable("oidc_issuer")
        remedy = "set it to what the issuer's tokens call this service in `aud`"
        found.append(
            Mistake(
                "oidc_audience", vocabulary.variable("oidc_audience"), f"is not set, which {issuer} asks for", remedy
            )
        )
    if values["oidc_key_bound_tokens"] == "proxy" and not values["trusted_proxies"]:
        variable, needed = (vocabulary.variable(key) for key in ("oidc_key_bound_tokens", "trusted_proxies"))
        remedy = f"name in {needed} the proxies that check who holds the key, or leave {variable} at refuse"
        found.append(Mistake("oidc_key_bound_tokens", variable, "is `proxy`, and no proxy is trusted", remedy))
    if values["oidc_tokens"] in ("opaque", "both"):
        found += [_for_introspection(vocabulary, key) for key in _FOR_INTROSPECTION if not values[key]]
    return found


def _unknown_issuers(vocabulary: Vocabulary, issuers: list[Any], options: list[Any]) -> Iterator[Mistake]:
    if any((name := _member(one, "issuer")) is not None and name not in issuers for one in options):
        variable, trusted = vocabulary.variable("oidc_issuer_options"), vocabulary.variable("oidc_issuer")
        remedy = f"write each `issuer` exactly as in {trusted}"
        yield Mistake("oidc_issuer_options", variable, f"is about an issuer that {trusted} does not have", remedy)


def _private_url_of_none(vocabulary: Vocabulary, issuers: list[Any], private_url: Any) -> Iterator[Mistake]:
    variable = vocabulary.variable("oidc_private_url")
    if private_url and len(issuers) > 1:
        remedy = f"give each issuer its private_url in {vocabulary.variable('oidc_issuer_options')}"
        yield Mistake("oidc_private_url", variable, "is of one issuer, and there are several", remedy)
    elif private_url and not issuers:
        trusted = vocabulary.variable("oidc_issuer")
        remedy = f"set {trusted} to the `iss` of the issuer's tokens, or unset {variable}"
        yield Mistake("oidc_private_url", variable, f"is the address of an issuer, and {trusted} is not set", remedy)


def _member(options: Any, name: str) -> Any:
    """Return a member of the options of one issuer, which pydantic has not validated yet."""
    return options.get(name) if isinstance(options, Mapping) else getattr(options, name, None)


def _items(value: Any) -> Iterator[Any]:
    """Yield what a setting of several holds, whether it is one text or a list."""
    if isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping | BaseModel):
        yield from value
    else:
        yield value


def _is_plain_http(value: Any) -> bool:
    return isinstance(value, str) and value.lower().startswith("http:")


def _plain_http(vocabulary: Vocabulary, key: str) -> Mistake:
    return Mistake(key, vocabulary.variable(key), "is plain http", "use its https address")


def _for_introspection(vocabulary: Vocabulary, key: str) -> Mistake:
    tokens = vocabulary.variable("oidc_tokens")
    problem, remedy = f"is not set, which {tokens} asks for", f"set it, or set {tokens}=jwt"
    return Mistake(key, vocabulary.variable(key), problem, remedy)


# The value of a setting that `cli` does without, while pydantic validates the others.
UNSET = object()


@dataclass(frozen=True, slots=True)
class _Resolved:
    """The settings before pydantic validates them.

    Attributes:
        environment: The environment's name; empty if an unknown one was chosen.
        given: Every value with its source, defaults included.
        mistakes: The mistakes found so far.
        key_file: The file of the secret key, if the key comes from one.
    """

    environment: str
    given: dict[str, Given]
    mistakes: list[Mistake]
    key_file: Path | None


def resolve(
    vocabulary: Vocabulary,
    rows: Mapping[str, Mapping[str, Any]],
    environment: str | None,
    overrides: Mapping[str, Any],
) -> _Resolved:
    """Read every source, add the defaults, and apply the environment's rules.

    Args:
        vocabulary: The names that are known.
        rows: The service's defaults by environment.
        environment: The environment's name, if the caller chose one.
        overrides: Keyword arguments.
    """
    gathered = gather(vocabulary, environment, overrides)
    mistakes = gathered.mistakes
    chosen = gathered.given.setdefault("environment", Given(default_environment.get(), "default")).value
    if chosen not in ENVIRONMENTS:
        return _Resolved("", gathered.given, mistakes, None)
    given = _lay_defaults(vocabulary, rows, chosen, gathered.given)
    absent = _missing(vocabulary, chosen, given)
    key_file = None
    if chosen == "local" and "secret_key" in absent:
        absent.remove("secret_key")
        database = read_database_url(str(reveal(given["database_url"].value)))
        key_file = secret_key_file(sqlite_file(database), vocabulary.section)
        # Made and read once all the rest is right; until then any key serves.
        given["secret_key"] = Given(token_urlsafe(MIN_SECRET_KEY), key_file.name)
    if chosen == "cli":
        given |= {key: Given(UNSET, "not set") for key in absent}
    known = {mistake.key for mistake in mistakes}
    values = {key: one.value for key, one in given.items()}
    mistakes += [one for one in rule_mistakes(vocabulary, chosen, values) if one.key not in known]
    return _Resolved(chosen, given, mistakes, key_file)


def rule_mistakes(vocabulary: Vocabulary, environment: str, values: Mapping[str, Any]) -> list[Mistake]:
    """Return what breaks the rules of an environment: settings that are missing, unsafe, or need another one.

    Args:
        vocabulary: The names that are known.
        environment: The environment's name.
        values: The values that were given, by key.
    """
    absent = [] if environment == "cli" else _missing(vocabulary, environment, values)
    return [
        *(_not_set(vocabulary, key) for key in absent),
        *_unsafe(vocabulary, environment, values),
        *_about_callers(vocabulary, environment, values),
        *_about_serving(vocabulary, values),
    ]


def _about_serving(vocabulary: Vocabulary, values: Mapping[str, Any]) -> Iterator[Mistake]:
    variable = vocabulary.variable
    if values.get("tls_key") and not values.get("tls_certificate"):
        remedy = f"set {variable('tls_certificate')} to the file of the certificate"
        yield Mistake("tls_key", variable("tls_key"), "is the key of no certificate", remedy)
    root_path, public_url = values.get("root_path"), values.get("service_public_url")
    if (
        not root_path
        or not isinstance(root_path, str)
        or not isinstance(public_url, str)
        or not is_base_url(public_url)
    ):
        return
    if urlsplit(public_url).path.rstrip("/") != root_path.rstrip("/"):
        problem = f"is not the path of {variable('service_public_url')}"
        remedy = "give both the same path, or leave it out: the path of that URL is enough"
        yield Mistake("root_path", variable("root_path"), problem, remedy)


def _lay_defaults(
    vocabulary: Vocabulary, rows: Mapping[str, Mapping[str, Any]], environment: str, given: Mapping[str, Given]
) -> dict[str, Given]:
    """Return what is given with the environment's defaults under it.

    A service's own row is stronger than the default in its class, and that is stronger than the framework's row.

    Args:
        vocabulary: The names that are known.
        rows: The service's defaults by environment.
        environment: The environment's name.
        given: The values from the sources.
    """
    source = f"default of {environment}"
    whole = {key: Given(value, source) for key, value in rows.get(environment, {}).items()} | dict(given)
    address = _address_in(vocabulary, whole)
    for key, make in environment_defaults(environment, name=vocabulary.section, address=address).items():
        if key not in whole and vocabulary.fields[key].is_required():
            whole[key] = Given(make(), source)
    return whole


def _address_in(vocabulary: Vocabulary, given: Mapping[str, Given]) -> str | None:
    """Return where the service is found: on this machine, or, without a port, at the public URL if that is given."""
    options = current_options()

    def value_of(key: str) -> Any:
        return given[key].value if key in given else None

    if not options.has_port:
        public_url = value_of("service_public_url")
        return public_url if isinstance(public_url, str) else None
    scheme, root_path = "https" if value_of("tls_certificate") else "http", value_of("root_path")
    path = root_path if isinstance(root_path, str) and is_path_prefix(root_path.removesuffix("/")) else ""
    return f"{scheme}://{options.host}:{_port_in(vocabulary, given)}{path}"


def _port_in(vocabulary: Vocabulary, given: Mapping[str, Given]) -> int:
    """Return the port in use, or the default if the given one is not valid, which is reported elsewhere."""
    default: int = vocabulary.fields["port"].default
    try:
        port = int(given["port"].value)
    except (KeyError, TypeError, ValueError):
        return default
    return port if 0 < port < 65536 else default
