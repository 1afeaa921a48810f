"""The docs of a service: what it says of itself, and the views of the document, the page and its assets."""

import asyncio
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from urllib.parse import quote, urlsplit

from markupsafe import Markup, escape
from quart import Blueprint, Quart, Response, current_app, request
from quart_schema import Contact, License, hide
from werkzeug.routing import Rule

from ligand_async.context import state_of
from ligand_async.docs.document import EXTENSION, document_of
from ligand_async.docs.security import client_of, origins_of
from ligand_async.errors import NotFound
from ligand_async.marks import access_mark, public, requires
from ligand_async.principal import HasRole
from ligand_async.tasks import this_app

_REVALIDATE = "no-cache"
_FOREVER = "public, max-age=31536000, immutable"


_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Docs:
    """Where the docs of a service are, and what they say of it besides title and version.

    Args:
        page_path: The path of the page, below which its files are; None for no page.
        document_path: The path of the OpenAPI document; None for no document, no page and no clients.
        contact: Whom to ask: name, e-mail address, URL.
        license: The licence of the API: its name, and an SPDX expression or a URL.
        terms_of_service: The URL of the terms.

    Raises:
        ValueError: A path is not one, or there is a page without a document.
    """

    page_path: str | None = "/docs"
    document_path: str | None = "/openapi.json"
    contact: Contact | None = None
    license: License | None = None
    terms_of_service: str | None = None

    def __post_init__(self) -> None:
        for name in ("page_path", "document_path"):
            path = getattr(self, name)
            if path is not None and not _PATH.fullmatch(path):
                raise ValueError(f"Docs({name}={path!r}) must be a path such as '/internal/docs', or None")
        if self.page_path is not None and self.document_path is None:
            raise ValueError("the docs page shows the document; set page_path=None, too, or leave document_path")


def make_docs_blueprint(docs: Docs, role: str | None = None) -> Blueprint:
    """Make the blueprint: the document, the page and its assets, none of them in the document.

    Args:
        docs: Their paths.
        role: The role that may read document and page; None for anyone. Anyone may read the assets of Swagger UI.
    """
    blueprint = Blueprint("docs", __name__)
    blueprint = public(blueprint) if role is None else requires(HasRole(role))(blueprint)
    if docs.document_path is not None:
        blueprint.add_url_rule(docs.document_path, "read_document", hide(_read_document))
    if docs.page_path is not None:
        blueprint.add_url_rule(docs.page_path, "read_page", hide(_read_page))
        blueprint.add_url_rule(f"{docs.page_path}/<name>", "read_asset", public(hide(_read_asset)))
    return blueprint


class PathTaken(ValueError):
    """Routes of the service have paths that are the framework's; the message names them and the remedy."""


def check_paths(app: Quart) -> None:
    """Refuse to start an app with a route that one of the framework's hides, such as a `/docs` of its own.

    Raises:
        PathTaken: For all of them at once.
    """
    ours: dict[tuple[str, ...], Rule] = {}
    for rule in app.url_map.iter_rules():
        if _is_ours(app, rule):
            ours.setdefault(_shape_of(rule), rule)
    taken = [
        f"{rule.rule} ({rule.endpoint}): {ours[shape].rule} is {_purpose_of(ours[shape])}"
        for rule in app.url_map.iter_rules()
        if not _is_ours(app, rule) and not rule.websocket and (shape := _shape_of(rule)) in ours
        if (rule.methods or set()) & (ours[shape].methods or set()) - {"OPTIONS"}
    ]
    if taken:
        raise PathTaken("routes that the framework's would hide:\n  " + "\n  ".join(sorted(taken)))


def _is_ours(app: Quart, rule: Rule) -> bool:
    return str(getattr(app.view_functions.get(rule.endpoint), "__module__", "")).startswith("ligand_async.")


def _shape_of(rule: Rule) -> tuple[str, ...]:
    """Return the path of a rule without the names and converters of its variables, and without a slash at its end."""
    parts = ["<>" if is_variable else text for is_variable, text in rule._trace]  # no public accessor in werkzeug 3.1
    path = "".join(parts[parts.index("|") + 1 :])
    return tuple(path.rstrip("/").split("/"))


def _purpose_of(rule: Rule) -> str:
    if str(rule.endpoint).startswith("docs."):
        return "of the docs; move them by create_app(docs=Docs(page_path=…, document_path=…)), or set None for none"
    return "the framework's; choose another path"


async def _read_document() -> Response:
    """Return the OpenAPI document."""
    document = document_of(this_app())
    content, etag = document.content, document.etag
    if request.root_path:
        content = await asyncio.to_thread(_add_server, content, request.root_path)
        etag = hashlib.sha256(content).hexdigest()[:32]
    return await answer(content, "application/json", etag, kept_by_whom())


def _add_server(content: bytes, root_path: str) -> bytes:
    """Add the address under which the document was found, if its servers do not have it."""
    document = json.loads(content)
    prefix = quote(root_path)
    servers = document.get("servers", [])
    if any(urlsplit(server["url"]).path == prefix for server in servers):
        return content
    document["servers"] = [{"url": prefix, "description": "Here"}, *servers]
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


async def _read_page() -> Response:
    """Return the page that shows the document."""
    app = this_app()
    title = app.extensions[EXTENSION].info.title
    docs = state_of(app).get(Docs)
    # It reads the assets, the first time.
    page = await asyncio.to_thread(_render_page, title, docs, client_id=client_of(app))
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
<noscript>This page needs JavaScript; <a href="{document}">the document</a> does not.</noscript>
<script src="{swagger_ui_js}"></script>
<script src="{init_js}" data-service="{service}" data-document="{document_path}"{client}></script>
</body>
</html>
"""


def _policy_of(origins: Iterable[str]) -> str:
    """Return the `Content-Security-Policy` of the docs.

    Args:
        origins: The origins that the page may call besides the service: the issuers that people sign in with.
    """
    return "; ".join(_DIRECTIVES).format(origins=" ".join(["'self'", *origins]))


def _render_page(title: str, docs: Docs, *, client_id: str | None = None) -> str:
    """Render the page of a service. All its addresses are relative, so that it works wherever the service is mounted.

    Args:
        title: The service's name, as plain text.
        docs: The paths of page and document.
        client_id: The public client that it signs in as.
    """
    page_path, document = docs.page_path or "", (docs.document_path or "")[1:]
    depth = page_path.count("/")
    below = page_path.rpartition("/")[2]
    addresses = {name: f"{below}/{name}?v={_load_asset(name).digest}" for name in MEDIA_TYPES}
    return _PAGE.format(
        title=escape(title),
        client="" if client_id is None else Markup(' data-client-id="{}"').format(client_id),
        service="../" * depth,  # from the script, which is one level below the page
        document="../" * (depth - 1) + document,
        document_path=document,
        favicon=addresses["favicon-32x32.png"],
        swagger_ui_css=addresses["swagger-ui.css"],
        page_css=addresses["page.css"],
        swagger_ui_js=addresses["swagger-ui-bundle.js"],
        init_js=addresses["init.js"],
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
