"""The views of the docs: the document, the page and its assets."""

import asyncio

from quart import Blueprint, Quart, Response, current_app, request
from quart_schema import hide

from ligand_async.docs.asset import load_asset
from ligand_async.docs.document import EXTENSION, document_of
from ligand_async.docs.page import policy_of, render_page
from ligand_async.docs.security import client_of, origins_of
from ligand_async.errors import NotFound
from ligand_async.marks import access_mark, public, requires
from ligand_async.principal import HasRole

REVALIDATE = "no-cache"
FOREVER = "public, max-age=31536000, immutable"


def make_docs_blueprint(role: str | None = None) -> Blueprint:
    """Make the blueprint: `/openapi.json`, `/docs` and `/docs/<asset>`, none of them in the document.

    Args:
        role: Who may read document and page; None for anyone. The assets are those of Swagger UI, for anyone.
    """
    blueprint = Blueprint("docs", __name__)
    blueprint = public(blueprint) if role is None else requires(HasRole(role))(blueprint)
    blueprint.add_url_rule("/openapi.json", "read_document", hide(read_document))
    blueprint.add_url_rule("/docs", "read_page", hide(read_page))
    blueprint.add_url_rule("/docs/<name>", "read_asset", public(hide(read_asset)))
    return blueprint


async def read_document() -> Response:
    """Return the OpenAPI document."""
    document = document_of(current_app_itself())
    return await answer(document.content, "application/json", document.etag, kept_by_whom())


async def read_page() -> Response:
    """Return the page that shows the document."""
    app = current_app_itself()
    title = app.extensions[EXTENSION].info.title
    # It reads the assets, the first time.
    page = await asyncio.to_thread(render_page, title, client_id=client_of(app))
    return Response(page, content_type="text/html; charset=utf-8", headers=headers_of(kept_by_whom()))


async def read_asset(name: str) -> Response:
    """Return a file of the page.

    Raises:
        NotFound: There is no such file.
    """
    try:
        asset = await asyncio.to_thread(load_asset, name)
    except KeyError as error:
        raise NotFound("the docs page has no such asset") from error
    is_keyed = request.args.get("v") == asset.digest
    return await answer(asset.content, asset.media_type, asset.digest, FOREVER if is_keyed else REVALIDATE)


def kept_by_whom() -> str:
    """Return who may keep document and page: no shared cache where they are closed."""
    closed = access_mark(current_app.blueprints["docs"])
    return REVALIDATE if closed is None or closed.requirement is None else f"private, {REVALIDATE}"


async def answer(content: bytes, media_type: str, etag: str, cache_control: str) -> Response:
    """Answer with bytes that have an entity tag, or with 304 where the client has them (RFC 9110 section 13)."""
    response = Response(content, content_type=media_type, headers=headers_of(cache_control))
    response.set_etag(etag)
    conditional: Response = await response.make_conditional(request)
    return conditional


def headers_of(cache_control: str) -> dict[str, str]:
    """Return the headers that every answer of the docs carries."""
    return {
        "Cache-Control": cache_control,
        "Content-Security-Policy": policy_of(origins_of(current_app_itself())),
        "X-Content-Type-Options": "nosniff",
    }


def current_app_itself() -> Quart:
    """Return the current app, which is a key where its proxy is none."""
    app: Quart = current_app._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy
    return app
