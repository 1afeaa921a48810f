"""What the factory calls to give an app its document and its page."""

from collections.abc import Mapping

from quart import Quart
from quart_schema import QuartSchema
from quart_schema.openapi import Info, Server

from ligand_async.docs.clients.views import add_client_routes
from ligand_async.docs.provider import LigandOpenAPIProvider
from ligand_async.docs.views import make_docs_blueprint
from ligand_async.docs.workarounds import LigandJSONProvider, restore_responses


def init_docs(
    app: Quart,
    *,
    title: str,
    version: str,
    description: str | None = None,
    servers: Mapping[str, str] | None = None,
    role: str | None = None,
) -> None:
    """Give an app `/openapi.json` and `/docs`, and quart-schema's decorators their extension.

    Call it before anything else wraps `app.make_response` or sets `app.json` and `app.test_client_class`.

    Args:
        app: The app.
        title: The service's name.
        version: The service's own version.
        description: What the service is, in CommonMark.
        servers: Where clients find the service: descriptions by URL. Without any, paths are relative to the document.
        role: Who may read the document and the page; None for anyone.
    """
    make_response = app.make_response
    QuartSchema(
        app,
        openapi_path=None,
        redoc_ui_path=None,
        scalar_ui_path=None,
        swagger_ui_path=None,
        info=Info(title=title, version=version, description=description),
        servers=[Server(url=url, description=text) for url, text in (servers or {}).items()] or None,
        conversion_preference="pydantic",
        pydantic_dump_options={"by_alias": True},
        openapi_provider_class=LigandOpenAPIProvider,
    )
    app.json = LigandJSONProvider(app)
    restore_responses(app, make_response)
    blueprint = make_docs_blueprint(role)
    add_client_routes(blueprint)
    app.register_blueprint(blueprint)
