"""The views of the docs: the document, the page and its assets."""

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from markupsafe import Markup, escape
from quart import Blueprint, Response, current_app, request
from quart_schema import hide

from ligand_async.docs.document import EXTENSION, document_of
from ligand_async.docs.security import client_of, origins_of
from ligand_async.errors import NotFound
from ligand_async.marks import access_mark, public, requires
from ligand_async.principal import HasRole
from ligand_async.tasks import this_app

_REVALIDATE = "no-cache"
_FOREVER = "public, max-age=31536000, immutable"


def make_docs_blueprint(role: str | None = None) -> Blueprint:
    """Make the blueprint: `/openapi.json`, `/docs` and `/docs/<asset>`, none of them in the document.

    Args:
        role: The role that may read document and page; None for anyone. Anyone may read the assets of Swagger UI.
    """
    blueprint = Blueprint("docs", __name__)
    blueprint = public(blueprint) if role is None else requires(HasRole(role))(blueprint)
    blueprint.add_url_rule("/openapi.json", "read_document", hide(_read_document))
    blueprint.add_url_rule("/docs", "read_page", hide(_read_page))
    blueprint.add_url_rule("/docs/<name>", "read_asset", public(hide(_read_asset)))
    return blueprint


async def _read_document() -> Response:
    """Return the OpenAPI document."""
    document = document_of(this_app())
    return await answer(document.content, "application/json", document.etag, kept_by_whom())


async def _read_page() -> Response:
    """Return the page that shows the document."""
    app = this_app()
    title = app.extensions[EXTENSION].info.title
    # It reads the assets, the first time.
    page = await asyncio.to_thread(_render_page, title, client_id=client_of(app))
    return Response(page, content_type="text/html; charset=utf-8", headers=_headers_of(kept_by_whom()))


async def _read_asset(name: str) -> Response:
    """Return a file of the page.

    Raises:
        NotFound: There is no such file.
    """
    try:
        asset = await asyncio.to_thread(_load_asset, name)
    except KeyError as error:
        raise NotFound("the docs page has no such asset") from error
    is_keyed = request.args.get("v") == asset.digest
    return await answer(asset.content, asset.media_type, asset.digest, _FOREVER if is_keyed else _REVALIDATE)


def kept_by_whom() -> str:
    """Return the `Cache-Control` of document and page: no shared cache if they are closed."""
    closed = access_mark(current_app.blueprints["docs"])
    return _REVALIDATE if closed is None or closed.requirement is None else f"private, {_REVALIDATE}"


async def answer(content: bytes, media_type: str, etag: str, cache_control: str) -> Response:
    """Answer with bytes that have an entity tag, or with 304 if the client has them (RFC 9110 section 13)."""
    response = Response(content, content_type=media_type, headers=_headers_of(cache_control))
    response.set_etag(etag)
    conditional: Response = await response.make_conditional(request)
    return conditional


def _headers_of(cache_control: str) -> dict[str, str]:
    """Return the headers of every response of the docs."""
    return {
        "Cache-Control": cache_control,
        "Content-Security-Policy": _policy_of(origins_of(this_app())),
        "X-Content-Type-Options": "nosniff",
    }


_DIRECTIVES = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",  # Swagger UI's icons are in its style sheet
    "connect-src {origins}",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'",
)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" type="image/png" sizes="32x32" href="{favicon}">
<link rel="stylesheet" href="{swagger_ui_css}">
<link rel="stylesheet" href="{page_css}">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; <a href="openapi.json">openapi.json</a> does not.</noscript>
<script src="{swagger_ui_js}"></script>
<script src="{init_js}"{client}></script>
</body>
</html>
"""


def _policy_of(origins: Iterable[str]) -> str:
    """Return the `Content-Security-Policy` of the docs.

    Args:
        origins: The origins that the page may call besides the service: the issuers that people sign in with.
    """
    return "; ".join(_DIRECTIVES).format(origins=" ".join(["'self'", *origins]))


def _render_page(title: str, *, client_id: str | None = None) -> str:
    """Render the page of a service.

    Args:
        title: The service's name, as plain text.
        client_id: The public client that it signs in as.
    """
    return _PAGE.format(
        title=escape(title),
        client="" if client_id is None else Markup(' data-client-id="{}"').format(client_id),
        favicon=_address_of("favicon-32x32.png"),
        swagger_ui_css=_address_of("swagger-ui.css"),
        page_css=_address_of("page.css"),
        swagger_ui_js=_address_of("swagger-ui-bundle.js"),
        init_js=_address_of("init.js"),
    )


MEDIA_TYPES = {
    "favicon-32x32.png": "image/png",
    "init.js": "text/javascript; charset=utf-8",
    "oauth2-redirect.html": "text/html; charset=utf-8",
    "oauth2-redirect.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class _Asset:
    """One file.

    Attributes:
        content: Its bytes.
        media_type: Its `Content-Type`.
        digest: A digest of its content, which is part of its address.
    """

    content: bytes
    media_type: str
    digest: str


@cache
def _load_asset(name: str) -> _Asset:
    """Read a file of the package, once per process.

    Raises:
        KeyError: There is no such asset; a name with a path in it is not one either.
    """
    media_type = MEDIA_TYPES[name]
    content = (files(__package__) / "assets" / name).read_bytes()
    return _Asset(content, media_type, hashlib.sha256(content).hexdigest()[:16])


def _address_of(name: str) -> str:
    """Return where the page finds an asset, relative to the page."""
    return f"docs/{name}?v={_load_asset(name).digest}"
