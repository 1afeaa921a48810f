"""What the settings about callers must be together, beyond each one's type."""

from collections.abc import Iterator, Mapping
from typing import Any

from ligand_async.settings.environments import STRICT
from ligand_async.settings.mistakes import Mistake
from ligand_async.settings.vocabulary import Vocabulary

HTTPS_IN_STRICT = ("oidc_issuer", "oauth_authorization_url", "oauth_token_url")
FOR_INTROSPECTION = ("oidc_issuer", "oidc_client_id", "oidc_client_secret")


def about_callers(vocabulary: Vocabulary, environment: str, values: Mapping[str, Any]) -> list[Mistake]:
    """Return what is missing or unsafe among the settings about callers.

    Args:
        vocabulary: The names that are known.
        environment: The environment; `cli` needs nothing.
        values: The values given, by key.
    """
    if environment == "cli":
        return []
    keys = {*HTTPS_IN_STRICT, *FOR_INTROSPECTION, "oidc_audience", "oidc_tokens"}
    values = {key: values.get(key, vocabulary.fields[key].default) for key in keys}
    plain = HTTPS_IN_STRICT if environment in STRICT else ()
    found = [plain_http(vocabulary, key) for key in plain if any(map(is_plain_http, items(values[key])))]
    if values["oidc_issuer"] and not values["oidc_audience"]:
        issuer = vocabulary.variable("oidc_issuer")
        remedy = "set it to what the issuer's tokens call this service in `aud`"
        found.append(
            Mistake(
                "oidc_audience", vocabulary.variable("oidc_audience"), f"is not set, which {issuer} asks for", remedy
            )
        )
    if values["oidc_tokens"] in ("opaque", "both"):
        found += [for_introspection(vocabulary, key) for key in FOR_INTROSPECTION if not values[key]]
    return found


def items(value: Any) -> Iterator[Any]:
    """Yield what a setting of several holds, whether it is one text or a list."""
    if isinstance(value, list | tuple):
        yield from value
    else:
        yield value


def is_plain_http(value: Any) -> bool:
    """Tell whether a value is a URL that anyone on the way can read and change."""
    return isinstance(value, str) and value.lower().startswith("http:")


def plain_http(vocabulary: Vocabulary, key: str) -> Mistake:
    """Describe an address without TLS."""
    return Mistake(key, vocabulary.variable(key), "is plain http", "use its https address")


def for_introspection(vocabulary: Vocabulary, key: str) -> Mistake:
    """Describe what introspection lacks."""
    tokens = vocabulary.variable("oidc_tokens")
    problem, remedy = f"is not set, which {tokens} asks for", f"set it, or set {tokens}=jwt"
    return Mistake(key, vocabulary.variable(key), problem, remedy)
