"""The pages at `/problems/` that document the types of problems (the `type` member of RFC 9457)."""

import html
import inspect
import json
from typing import Any

from quart import Blueprint, Response, request
from quart_schema import hide

from ligand_async.errors import PREFIX, NotFound, Problem, documented_types, title_of
from ligand_async.marks import public, requires
from ligand_async.principal import HasRole

_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1>{body}'
    '<p><a href="' + PREFIX + '">All types</a></p></html>'
)


def make_types_blueprint(role: str | None = None) -> Blueprint:
    """Make the blueprint: `/problems/` and `/problems/<slug>`, neither of them in the OpenAPI document.

    Args:
        role: The role that may read the pages; None for anyone.
    """
    blueprint = Blueprint("problems", __name__)
    blueprint = public(blueprint) if role is None else requires(HasRole(role))(blueprint)
    blueprint.add_url_rule(PREFIX, "list_types", hide(_list_types))
    blueprint.add_url_rule(f"{PREFIX}<slug>", "read_type", hide(_read_type))
    return blueprint


async def _list_types() -> Response:
    """Return every type that this service documents."""
    found = [_describe(problem) for problem in documented_types().values()]
    items = "".join(f'<li><a href="{html.escape(one["type"])}">{html.escape(one["title"])}</a></li>' for one in found)
    return _answer(found, "Types of problems", f"<ul>{items}</ul>")


async def _read_type(slug: str) -> Response:
    """Return one type.

    Raises:
        NotFound: There is no such type.
    """
    problem = documented_types().get(slug)
    if problem is None:
        raise NotFound("there is no such type of problem")
    found = _describe(problem)
    status = f"Status {found['status']} ({html.escape(title_of(found['status']))})."
    body = f"<p>{status}</p><p>{html.escape(found['description'])}</p>"
    return _answer(found, found["title"], body)


def _describe(problem: type[Problem]) -> dict[str, Any]:
    """Describe a type by its class."""
    return {
        "type": problem.type,
        "title": problem.title or title_of(problem.code),
        "status": problem.code,
        "description": inspect.getdoc(problem) or "",
    }


def _answer(document: Any, title: str, body: str) -> Response:
    """Answer with JSON, or with HTML if the client prefers it (RFC 9110 section 12.5.1)."""
    wanted = request.accept_mimetypes.best_match(["application/json", "text/html"], "application/json")
    if wanted == "application/json":
        response = Response(json.dumps(document), content_type="application/json")
    else:
        page = _PAGE.format(title=html.escape(title), body=body)
        response = Response(page, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": _POLICY})
    response.headers["Vary"] = "Accept"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
