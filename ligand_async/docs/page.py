"""The docs page: its HTML and what a browser may do with it."""

from collections.abc import Iterable

from markupsafe import Markup, escape

from ligand_async.docs.asset import address_of

DIRECTIVES = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",  # Swagger UI's icons are in its style sheet
    "connect-src {origins}",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'",
)

PAGE = """<!doctype html>
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


def policy_of(origins: Iterable[str]) -> str:
    """Return the `Content-Security-Policy` of everything about the docs.

    Args:
        origins: With whom the page may speak besides the service: the issuers that people sign in with.
    """
    return "; ".join(DIRECTIVES).format(origins=" ".join(["'self'", *origins]))


def render_page(title: str, *, client_id: str | None = None) -> str:
    """Render the page of a service.

    Args:
        title: The service's name, as plain text.
        client_id: The public client that it signs in as.
    """
    return PAGE.format(
        title=escape(title),
        client="" if client_id is None else Markup(' data-client-id="{}"').format(client_id),
        favicon=address_of("favicon-32x32.png"),
        swagger_ui_css=address_of("swagger-ui.css"),
        page_css=address_of("page.css"),
        swagger_ui_js=address_of("swagger-ui-bundle.js"),
        init_js=address_of("init.js"),
    )
