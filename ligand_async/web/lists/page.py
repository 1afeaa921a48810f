"""One page of a list, as it is sent."""

from collections.abc import Mapping
from typing import Annotated, Generic, Self, TypeVar

from pydantic import BaseModel, Field, PrivateAttr

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
