"""`create_app`: sets up the parts of a service in the right order and connects them."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quart import Blueprint
from sqlalchemy import MetaData

from ligand_async.auth import check_access, enforcement_of, init_auth
from ligand_async.context import Service, init_state
from ligand_async.data import Database
from ligand_async.docs import Docs, OperationNames, check_paths, document_of, init_docs, make_types_blueprint
from ligand_async.draining import draining_of
from ligand_async.ops import HEALTH_PATHS, init_health, init_logs
from ligand_async.protocols import Authenticator, DenyList, ProblemRenderer
from ligand_async.settings import (
    Settings,
    check_config,
    check_cookie,
    check_production,
    check_serving,
    check_settings,
    cookie_config,
)
from ligand_async.web import (
    CORS,
    Guard,
    LigandQuart,
    Load,
    PrincipalSession,
    SecurityHeaders,
    ServiceCommands,
    Stage,
    StrictRequest,
    Syntax,
    TrustedProxies,
    check_operations,
    current_principal_session,
    find_functions,
    init_deprecation,
    init_limits,
    init_principal_sessions,
    init_problems,
    init_services,
    render_problem,
    services_of,
)

_REQUESTS_PER_CONNECTION = 50  # at 40 ms each, all of them get their connection within `database_pool_timeout`


def create_app(
    import_name: str,
    *,
    title: str,
    version: str,
    description: str | None = None,
    client_name: str | None = None,
    settings: Settings | None = None,
    database: Database | None = None,
    blueprints: Iterable[Blueprint] = (),
    provide: Mapping[type, Any] | None = None,
    authenticators: Sequence[Authenticator] = (),
    deny_list: DenyList | None = None,
    config: Mapping[str, Any] | None = None,
    problem_renderer: ProblemRenderer = render_problem,
    docs: Docs | None = None,
) -> LigandQuart:
    """Make a service: a `quart.Quart` with settings, database, authentication, documentation and health checks.

    Args:
        import_name: The service's `__name__`.
        title: Shown in the documentation.
        version: The service's own version.
        description: The purpose of the service, in CommonMark, shown at the head of the documentation.
        client_name: The package name of generated clients; by default the title in lower case with `-client`.
        settings: The settings; by default those of `Settings.load()`.
        database: The service's `Database`, if it has one.
        blueprints: Registered in this order.
        provide: Services that handlers get by annotation: a factory per request, `app_scope(factory)` or an instance.
        authenticators: Tried in this order to authenticate a caller. Access tokens of the issuer in the settings come
            first, unless one of these is a `BearerAuthenticator`.
        deny_list: Checked on every request; it can refuse a principal whose token is valid.
        config: More keys of `app.config` for Quart and its extensions, in upper case.
        problem_renderer: Makes the response of each problem.
        docs: Where document and docs page are, `/openapi.json` and `/docs` by default, and contact, licence and terms.

    Raises:
        SettingsError: Settings are missing, wrong or unsafe for their environment; it lists all of them.
    """
    settings = Settings.load() if settings is None else check_settings(settings)
    app = LigandQuart(import_name)
    app.cli = ServiceCommands(app)
    app.request_class = StrictRequest
    app.config.from_mapping(settings.config_copy())
    app.config.from_mapping(cookie_config(settings))
    app.config.from_mapping(check_config(config or {}, settings))
    check_cookie(settings, app.config)
    app.config.update(
        PROPAGATE_EXCEPTIONS=False, MAX_CONTENT_LENGTH=settings.max_body_bytes, BODY_TIMEOUT=settings.body_timeout
    )
    check_production(settings, debug=app.debug, testing=app.testing)
    name = client_name or f"{title.lower().replace(' ', '-')}-client"
    check_start = functools.partial(_check_start, app)
    init_state(app, Service(title, version, name, settings, database, OperationNames(app), check_start))

    init_logs(settings)

    @app.before_serving
    async def check_again() -> None:
        check_serving(settings)
        check_cookie(settings, app.config)
        # Quart's command line turns debug on after the factory has returned.
        check_production(settings, debug=app.debug, testing=app.testing)

    # Quart starts and stops in the order of registration: services start after the database and stop before it.
    provided = {PrincipalSession: current_principal_session, **(provide or {})}
    services = init_services(app, provided, settings, functools.partial(find_functions, app))

    @app.before_serving
    async def check_code() -> None:
        check_start()

    app.after_serving(services.stop)
    if database is not None:
        if settings.database_auto_upgrade:
            from ligand_async.data.migrations import auto_upgrade  # Alembic is slow to import, and others do without

            app.before_serving(functools.partial(auto_upgrade, database, settings, root_path=app.root_path))
        database.init_app(app, settings)
    app.before_serving(services.start)
    app.closers = [services.stop, *([] if database is None else [functools.partial(database.stop, app)])]

    servers = _servers_of(settings)
    init_docs(
        app,
        title=title,
        version=version,
        description=description,
        servers=servers,
        role=settings.docs_role,
        docs=docs or Docs(),
    )
    init_problems(app, metadata=database.metadata if database else MetaData(), renderer=problem_renderer)
    app.register_blueprint(make_types_blueprint(settings.docs_role))
    # The app authenticates before it runs any function of the service; limits count by principal.
    sessions = init_principal_sessions(app, settings)
    checks = init_auth(app, settings, authenticators, deny_list=sessions.watch(deny_list))
    app.enforcement = enforcement_of(app)
    init_limits(app, settings)
    init_deprecation(app)
    of_database = [] if database is None else database.health_checks(app, settings)
    init_health(app, [*of_database, *checks, *sessions.checks])
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    app.guard = Guard(
        _make_stages(settings, title),
        request_timeout=settings.request_timeout,
        max_body_bytes=settings.max_body_bytes,
        draining=draining_of(app),
        load=Load(settings.max_requests or _REQUESTS_PER_CONNECTION * settings.database_pool_size, HEALTH_PATHS),
    )
    return app


def _make_stages(settings: Settings, title: str) -> list[Stage]:
    # The client's address comes first: it stands in the log line of a refusal too.
    public_url, private_url = (getattr(settings, f"service_{name}_url", None) for name in ("public", "private"))
    proxies = TrustedProxies(
        settings.trusted_proxies, public_url=public_url, private_url=private_url, root_path=settings.root_path
    )
    stages: list[Stage] = [proxies, Syntax(settings, realm=title)]
    if settings.cors_origins:
        stages.append(CORS(settings.cors_origins, settings.cors_headers))
    return [*stages, SecurityHeaders()]


def _servers_of(settings: Settings) -> dict[str, str]:
    servers: dict[str, str] = {}
    for name, text in (("service_public_url", "Public"), ("service_private_url", "Private")):
        url = getattr(settings, name, None)  # the environment `cli` does without
        if url is not None:
            servers.setdefault(str(url), text)
    return servers


def _check_start(app: LigandQuart) -> None:
    # At the start of the app or of a command, because blueprints may be registered after `create_app`.
    services_of(app).check()
    check_access(app)
    check_operations(app)
    check_paths(app)
    app.collect_route_limits()
    document_of(app)
