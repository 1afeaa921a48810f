"""The docs page: its HTML and what a browser may do with it."""

from markupsafe import escape

from ligand_async.docs.asset import address_of

DIRECTIVES = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",  # Swagger UI's icons are in its style sheet
    "connect-src 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'",
)
POLICY = "; ".join(DIRECTIVES)

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
<script src="{init_js}"></script>
</body>
</html>
"""


def render_page(title: str) -> str:
    """Render the page of a service.

    Args:
        title: The service's name, as plain text.
    """
    return PAGE.format(
        title=escape(title),
        favicon=address_of("favicon-32x32.png"),
        swagger_ui_css=address_of("swagger-ui.css"),
        page_css=address_of("page.css"),
        swagger_ui_js=address_of("swagger-ui-bundle.js"),
        init_js=address_of("init.js"),
    )
