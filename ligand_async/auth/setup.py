"""The setup of authentication by `create_app`: authenticators from the settings, and enforcement."""

import asyncio
import contextlib
import functools
from collections.abc import Sequence

from quart import Quart

from ligand_async.auth.authenticators import BearerAuthenticator, TokenAuthenticator
from ligand_async.auth.browser import check_verifiers
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
from ligand_async.settings import IssuerOptions, Settings, read_quotas
from ligand_async.signals import announce, token_keys_rotated

_IssuerVerifier = JWKSVerifier | IntrospectionVerifier
_PLAIN = frozenset({"local", "testing"})  # where an issuer may be asked without TLS


def init_auth(
    app: Quart, settings: Settings, authenticators: Sequence[Authenticator] = (), *, deny_list: DenyList | None = None
) -> list[HealthCheck]:
    """Give an app its authenticators, and enforce its access decorators.

    The authenticator for the issuers in the settings comes first; it is left out if the app has a
    `BearerAuthenticator` of its own. The caller gives the enforcement to the app, which calls it first.

    Returns:
        The health checks of the verifiers.

    Raises:
        ValueError: An authenticator for browsers has no verifier.
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
    asked = [*checks, *(one.verifier for one in found if isinstance(one, TokenAuthenticator))]
    for verifier in {one for one in asked if isinstance(one, JWKSVerifier)}:
        verifier.on_rotation.append(functools.partial(_announce_rotation, app))
    if settings.environment != "cli":  # which needs no issuer
        check_verifiers(found)
    init_enforcement(app, found, deny_list=deny_list)
    return checks


def _announce_rotation(app: Quart, issuer: str, keys: KeySet) -> None:
    announce(token_keys_rotated, app, issuer=issuer, kids=tuple(one.key_id for one in keys.keys))


def _verifiers_of(settings: Settings) -> list[_IssuerVerifier]:
    """Return the verifiers for the issuers in the settings: of signed tokens first, then of opaque ones."""
    issuers = trusted_issuers(settings)
    found: list[_IssuerVerifier] = []
    if issuers and settings.oidc_tokens != "opaque":
        found.append(JWKSVerifier(issuers, fetcher=_fetcher_of(settings)))
    client_id, secret = settings.oidc_client_id, settings.oidc_client_secret
    # `Settings.load` requires the client, except in the environment `cli`, where no tokens come.
    if issuers and settings.oidc_tokens != "jwt" and client_id is not None and secret is not None:
        own = OAuthClient(client_id, secret.get_secret_value(), settings.oidc_client_auth_method)
        # An opaque token does not name its issuer. Only the first issuer is asked: a second one would see the tokens of
        # the first, and our secret there.
        first = issuers[0]
        client = IntrospectionClient(first.issuer, fetcher=_fetcher_of(settings, own), private_url=first.private_url)
        quota = settings.oidc_unknown_tokens
        unknown = () if quota is None else read_quotas(quota)
        found.append(IntrospectionVerifier(first, client, unknown=unknown))
    return found


def _fetcher_of(settings: Settings, client: OAuthClient | None = None) -> Fetcher:
    return Fetcher(timeout=settings.oidc_timeout, allow_http=settings.environment in _PLAIN, client=client)


async def _find_own_keys(verifier: JWKSVerifier, seconds: float) -> None:
    """Wait for the keys of the development issuer, so that the service is ready when it has started."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await verifier.find_keys()


def _development_verifier(issuer: DevelopmentIssuer, settings: Settings) -> JWKSVerifier:
    """Return the verifier for the development issuer, which works as for any other issuer."""
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
    """Return the issuers in the settings, each with its own options where it has any."""
    return tuple(_trusted_issuer(settings, settings.issuer_options(issuer)) for issuer in settings.oidc_issuer)


def _trusted_issuer(settings: Settings, options: IssuerOptions) -> TrustedIssuer:
    # A profile brings its claims with it: the shared names belong to the shared profile.
    shares = options.profile is None
    audience = options.audience or settings.oidc_audience
    profile = adapt_profile(
        PROFILES[options.profile or settings.oidc_profile],
        clients=(*audience, *((settings.oidc_client_id,) if settings.oidc_client_id else ())),
        roles_claim=options.roles_claim or (settings.oidc_roles_claim if shares else None),
        scopes_claim=options.scopes_claim or (settings.oidc_scopes_claim if shares else None),
    )
    return TrustedIssuer(
        issuer=options.issuer,
        audience=audience,
        profile=profile,
        algorithms=settings.oidc_algorithms,
        leeway=settings.oidc_leeway,
        private_url=options.private_url or settings.oidc_private_url,
        client_subject=settings.oidc_client_subject if options.client_subject is None else options.client_subject,
        takes_bound=settings.oidc_key_bound_tokens == "proxy",
    )
