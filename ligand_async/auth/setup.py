"""What the factory calls to close an app's routes and to tell its callers."""

import asyncio
import contextlib
import functools
from collections.abc import Sequence

from quart import Quart

from ligand_async.auth.authenticators import BearerAuthenticator
from ligand_async.auth.development import (
    ALGORITHM,
    DevelopmentIssuer,
    InProcess,
    development_issuer_of,
    init_development_issuer,
)
from ligand_async.auth.enforcement import init_enforcement
from ligand_async.auth.tokens.claims import PROFILES, adapt_profile
from ligand_async.auth.tokens.compact import EitherVerifier
from ligand_async.auth.tokens.introspection import IntrospectionClient, IntrospectionVerifier
from ligand_async.auth.tokens.issuer_http import Fetcher, OAuthClient
from ligand_async.auth.tokens.keys import KeySet
from ligand_async.auth.tokens.verifier import JWKSVerifier, TrustedIssuer
from ligand_async.protocols import Authenticator, DenyList, HealthCheck
from ligand_async.settings import Settings
from ligand_async.signals import announce, token_keys_rotated

_IssuerVerifier = JWKSVerifier | IntrospectionVerifier
_PLAIN = frozenset({"local", "testing"})  # where an issuer may be asked without TLS


def init_auth(
    app: Quart, settings: Settings, authenticators: Sequence[Authenticator] = (), *, deny_list: DenyList | None = None
) -> list[HealthCheck]:
    """Give an app its authenticators: that of the settings first, unless one of its own reads bearer tokens.

    Call it before anything else registers what runs before requests.

    Returns:
        What the app needs in order to be ready.
    """
    found = list(authenticators)
    checks: list[HealthCheck] = []
    if not any(isinstance(one, BearerAuthenticator) for one in found):
        development = development_issuer_of(settings)
        if development is not None:
            init_development_issuer(app, development)
            own = _development_verifier(development, settings)
            verifiers: list[_IssuerVerifier] = [own]
            app.before_serving(functools.partial(_find_own_keys, own, settings.oidc_timeout))
        else:
            verifiers = _verifiers_of(settings)
        for verifier in verifiers:
            app.before_serving(verifier.start)
            app.after_serving(verifier.stop)
            checks.append(verifier)
        if verifiers:
            found.insert(0, BearerAuthenticator(EitherVerifier(*verifiers) if len(verifiers) > 1 else verifiers[0]))
    asked = [*checks, *(one.verifier for one in found if isinstance(one, BearerAuthenticator))]
    for verifier in {one for one in asked if isinstance(one, JWKSVerifier)}:
        verifier.on_rotation.append(functools.partial(_tell_of_rotation, app))
    init_enforcement(app, found, deny_list=deny_list)
    return checks


def _tell_of_rotation(app: Quart, issuer: str, keys: KeySet) -> None:
    """Tell that an issuer has other keys than before."""
    announce(token_keys_rotated, app, issuer=issuer, kids=tuple(one.key_id for one in keys.keys))


def _verifiers_of(settings: Settings) -> list[_IssuerVerifier]:
    """Return what verifies tokens of the issuers in the settings: signed ones first, then opaque ones."""
    issuers = trusted_issuers(settings)
    found: list[_IssuerVerifier] = []
    if issuers and settings.oidc_tokens != "opaque":
        found.append(JWKSVerifier(issuers, fetcher=_fetcher_of(settings)))
    client_id, secret = settings.oidc_client_id, settings.oidc_client_secret
    # Wherever a token may come `Settings.load` asks for the client, but `cli` does without.
    if issuers and settings.oidc_tokens != "jwt" and client_id is not None and secret is not None:
        own = OAuthClient(client_id, secret.get_secret_value(), settings.oidc_client_auth_method)
        # Opaque tokens do not say whose they are. The first issuer is asked and no other: a second one would learn the
        # tokens of the first, and our secret there.
        first = issuers[0]
        client = IntrospectionClient(first.issuer, fetcher=_fetcher_of(settings, own))
        found.append(IntrospectionVerifier(first, client))
    return found


def _fetcher_of(settings: Settings, client: OAuthClient | None = None) -> Fetcher:
    return Fetcher(timeout=settings.oidc_timeout, allow_http=settings.environment in _PLAIN, client=client)


async def _find_own_keys(verifier: JWKSVerifier, seconds: float) -> None:
    """Wait for the keys of the development issuer, which is here: who starts the service finds it ready."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await verifier.find_keys()


def _development_verifier(issuer: DevelopmentIssuer, settings: Settings) -> JWKSVerifier:
    """Return what verifies tokens of the development issuer, by the way of any other."""
    fetcher = Fetcher(timeout=settings.oidc_timeout, allow_http=True, transport=InProcess(issuer))
    trusted = TrustedIssuer(
        issuer=issuer.issuer,
        audience=issuer.audience,
        profile=PROFILES["generic"],
        algorithms=(ALGORITHM,),
        leeway=settings.oidc_leeway,
    )
    return JWKSVerifier((trusted,), fetcher=fetcher)


def trusted_issuers(settings: Settings) -> tuple[TrustedIssuer, ...]:
    """Return the issuers in the settings."""
    clients = (*settings.oidc_audience, *((settings.oidc_client_id,) if settings.oidc_client_id else ()))
    profile = adapt_profile(
        PROFILES[settings.oidc_profile],
        clients=clients,
        roles_claim=settings.oidc_roles_claim,
        scopes_claim=settings.oidc_scopes_claim,
    )
    return tuple(
        TrustedIssuer(
            issuer=issuer,
            audience=settings.oidc_audience,
            profile=profile,
            algorithms=settings.oidc_algorithms,
            leeway=settings.oidc_leeway,
        )
        for issuer in settings.oidc_issuer
    )
