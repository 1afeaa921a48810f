"""One page of a list, as it is sent."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Generic, Self, TypeVar

from pydantic import BaseModel, Field, PrivateAttr
from quart import Quart
from werkzeug.routing import Rule

from ligand_async.annotations import members_of
from ligand_async.web.endpoint import Endpoint, Feature, binding_of, operation_of
from ligand_async.web.lists.filters import find_filter_mistakes
from ligand_async.web.lists.params import OffsetParams, PageParams

S = TypeVar("S", bound=BaseModel)


class Page(BaseModel, Generic[S]):
    """One page of a list."""

    items: list[S]
    next_cursor: Annotated[
        str | None, Field(description="Send it as `cursor` for the next page; null where there is none.")
    ] = None
    total: Annotated[
        int | None, Field(ge=0, description="How many items there are on all pages; null where nobody counted.")
    ] = None

    _headers: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers with links to other pages: `Link`, and `X-Pagination` for numbered ones.

        An operation sends them by itself; a plain view returns them with the page.
        """
        return self._headers

    def with_headers(self, headers: Mapping[str, str]) -> Self:
        """Set these headers and return the page."""
        self._headers = headers
        return self


_LINK = {
    "description": "Other pages (RFC 8288): `first`, `prev`, `next` and `last`, relative to the request's address.",
    "schema": {"type": "string"},
}
_X_PAGINATION = {
    "description": "Of a page by number, as JSON: where it is, and how many there are.",
    "schema": {"type": "string", "contentMediaType": "application/json"},
}


def _success_headers(endpoint: Endpoint, status: int, shown: Any) -> Iterator[tuple[str, dict[str, Any]]]:  # noqa: ARG001  (a Feature's)
    if endpoint.operation is None or not any(_is_page(member) for member in members_of(shown)):
        return
    yield "Link", _LINK
    query = None if endpoint.binding is None else endpoint.binding.query
    if query is not None and issubclass(query.model, OffsetParams | PageParams):
        yield "X-Pagination", _X_PAGINATION


def _is_page(shown: Any) -> bool:
    return isinstance(shown, type) and issubclass(shown, Page)


def _find_mistakes(app: Quart, rule: Rule, handler: Callable[..., Any]) -> Iterator[str]:
    operation = operation_of(handler)
    query = None if operation is None else binding_of(app, operation, rule, rule.arguments).query
    return iter(()) if query is None else find_filter_mistakes(query.model)


PAGES = Feature(find_mistakes=_find_mistakes, headers=_success_headers)
