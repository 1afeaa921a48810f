"""The query parameters that select a page, and the links to other pages: `Link` (RFC 8288) and `X-Pagination`."""

import json
from collections.abc import Mapping
from typing import Annotated, Self
from urllib.parse import quote, urlencode

from pydantic import Field, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import InitErrorDetails, PydanticCustomError
from quart import has_request_context, request

from ligand_async.web.lists.cursor import MAX_LENGTH
from ligand_async.web.lists.filters import ListParams

_MAX_PAGE = 1_000_000
_NUMBERED = ("page", "page_size")
_BY_CURSOR = ("limit", "cursor")
PLACE = frozenset({*_NUMBERED, *_BY_CURSOR})

_PageNumber = Annotated[int, Field(ge=1, le=_MAX_PAGE, description="The page, from 1.")]
_PageSize = Annotated[int, Field(ge=1, le=100, description="How many items a page has: 10, or up to 100.")]


def _hide_default(schema: JsonSchemaValue) -> None:
    # Generated clients send the defaults of the document, and would ask for both kinds of page.
    schema.pop("default", None)


_SizeWithoutDefault = Annotated[_PageSize, Field(json_schema_extra=_hide_default)]


class OffsetParams(ListParams):
    """Which page of a list: for people and small tables, since the database counts and skips all that comes before."""

    page: _PageNumber = 1
    page_size: _PageSize = 10

    @property
    def offset(self) -> int:
        """How many items come before the page."""
        return (self.page - 1) * self.page_size


class CursorParams(ListParams):
    """Where in a list: for programs and tables of any size, since the database begins where the last page ended."""

    limit: _PageSize = 10
    cursor: Annotated[
        str | None,
        Field(
            max_length=MAX_LENGTH,
            description="Where the page begins: `next_cursor` of another page.",
            json_schema_extra={"pattern": "^[A-Za-z0-9_-]+$"},  # base64url; others are refused in any case
        ),
    ] = None


class PageParams(CursorParams):
    """Which page of a list, as the client likes: a page by cursor unless one is asked for by number."""

    limit: _SizeWithoutDefault = 10
    page: _PageNumber | None = None
    page_size: _SizeWithoutDefault = 10

    @property
    def numbered(self) -> OffsetParams | None:
        """The page by its number, or None where the client goes by cursor."""
        if self.model_fields_set.isdisjoint(_NUMBERED):
            return None
        return OffsetParams(page=self.page or 1, page_size=self.page_size)

    @model_validator(mode="after")
    def _refuse_both(self) -> Self:
        given = [name for name in (*_BY_CURSOR, *_NUMBERED) if name in self.model_fields_set]
        if self.model_fields_set.isdisjoint(_BY_CURSOR) or self.model_fields_set.isdisjoint(_NUMBERED):
            return self
        message = "a page is asked for by cursor or by number, not by both"
        error = PydanticCustomError("page_and_cursor", message)
        details = [InitErrorDetails(type=error, loc=(name,), input=None) for name in given]
        raise ValidationError.from_exception_data(type(self).__name__, details)


_MAX_BYTES = 4096  # proxies give all headers of an answer little more
_LEAST_FIRST = ("last", "first", "prev")
_IN_A_PATH = "/~!$&'()*+,;=:@"


def make_link(parameter: str, values: Mapping[str, str | None]) -> dict[str, str]:
    """Return the `Link` header of a page, or nothing outside a request.

    Each address is the request's own, path and query, but for one parameter. A path is relative to whatever host the
    client has reached, so no proxy on the way needs to be known.

    Args:
        parameter: The query parameter that selects a page.
        values: Its value by relation, a number or a cursor, which need no quoting; None leaves it out.
    """
    if not has_request_context():
        return {}
    path, others = _address_without(parameter)
    addresses = {
        relation: "&".join(others if value is None else [*others, f"{parameter}={value}"])
        for relation, value in values.items()
    }
    links = {
        relation: f'<{path}?{query}>; rel="{relation}"' if query else f'<{path}>; rel="{relation}"'
        for relation, query in addresses.items()
    }
    for relation in _LEAST_FIRST:
        if sum(map(len, links.values())) > _MAX_BYTES:
            links.pop(relation, None)
    return {"Link": ", ".join(links.values())} if links else {}


def _address_without(parameter: str) -> tuple[str, list[str]]:
    """Return the current request's path, and its query but for one parameter."""
    pairs = [(name, text) for name, text in request.args.items(multi=True) if name != parameter]
    return quote(request.root_path + request.path, safe=_IN_A_PATH), [urlencode(pairs)] if pairs else []


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
