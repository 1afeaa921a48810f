"""Where other pages are: `Link` (RFC 8288), and `X-Pagination` as flask-smorest's clients know it."""

import json
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from quart import has_request_context, request

from ligand_async.web.pages.params import OffsetParams

MAX_BYTES = 4096  # proxies give all headers of an answer little more
LEAST_FIRST = ("last", "first", "prev")
IN_A_PATH = "/~!$&'()*+,;=:@"


def make_link(parameter: str, values: Mapping[str, str | None]) -> dict[str, str]:
    """Return the `Link` header of a page, or nothing outside a request.

    Each address is the request's own, path and query, but for one parameter. A path is relative to whatever host the
    client has reached, so no proxy on the way needs to be known.

    Args:
        parameter: What tells pages apart.
        values: Its value by relation; None leaves it out.
    """
    if not has_request_context():
        return {}
    links = {relation: f'<{address(parameter, value)}>; rel="{relation}"' for relation, value in values.items()}
    for relation in LEAST_FIRST:
        if sum(map(len, links.values())) > MAX_BYTES:
            links.pop(relation, None)
    return {"Link": ", ".join(links.values())} if links else {}


def address(parameter: str, value: str | None) -> str:
    """Return the current request's path and query with another value of one parameter."""
    pairs = [(name, text) for name, text in request.args.items(multi=True) if name != parameter]
    if value is not None:
        pairs.append((parameter, value))
    path = quote(request.root_path + request.path, safe=IN_A_PATH)
    return f"{path}?{urlencode(pairs)}" if pairs else path


def describe_numbered(params: OffsetParams, total: int) -> dict[str, str]:
    """Return the headers of a numbered page."""
    last = -(-total // params.page_size)
    facts = {"total": total, "total_pages": last}
    if total:
        facts |= {"first_page": 1, "last_page": last}
    if params.page <= last:
        facts["page"] = params.page
        facts |= {"previous_page": params.page - 1} if params.page > 1 else {}
        facts |= {"next_page": params.page + 1} if params.page < last else {}
    numbers: dict[str, str | None] = {"first": "1"} if total else {}
    if total and params.page > 1:
        numbers["prev"] = str(min(params.page - 1, last))
    if params.page < last:
        numbers["next"] = str(params.page + 1)
    if total:
        numbers["last"] = str(last)
    return {"X-Pagination": json.dumps(facts), **make_link("page", numbers)}
