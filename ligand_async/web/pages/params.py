"""Which page of a list: by cursor, by number, or by either."""

from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import InitErrorDetails, PydanticCustomError

from ligand_async.web.filtering import ListParams
from ligand_async.web.pages.cursor import MAX_LENGTH

MAX_PAGE = 1_000_000
NUMBERED = ("page", "page_size")
BY_CURSOR = ("limit", "cursor")
PLACE = frozenset({*NUMBERED, *BY_CURSOR})

PageNumber = Annotated[int, Field(ge=1, le=MAX_PAGE, description="The page, from 1.")]
PageSize = Annotated[int, Field(ge=1, le=100, description="How many items a page has: 10, or up to 100.")]


def hide_default(schema: JsonSchemaValue) -> None:
    """Leave a default out of the document: generated clients send what they know of, and would ask for both kinds."""
    schema.pop("default", None)


UntoldSize = Annotated[PageSize, Field(json_schema_extra=hide_default)]


class OffsetParams(ListParams):
    """Which page of a list: for people and small tables, since the database counts and skips all that comes before."""

    page: PageNumber = 1
    page_size: PageSize = 10

    @property
    def offset(self) -> int:
        """How many items come before the page."""
        return (self.page - 1) * self.page_size


class CursorParams(ListParams):
    """Where in a list: for programs and tables of any size, since the database begins where the last page ended."""

    limit: PageSize = 10
    cursor: Annotated[
        str | None, Field(max_length=MAX_LENGTH, description="Where the page begins: `next_cursor` of another page.")
    ] = None


class PageParams(CursorParams):
    """Which page of a list, as the client likes: a page by cursor unless one is asked for by number."""

    limit: UntoldSize = 10
    page: PageNumber | None = None
    page_size: UntoldSize = 10

    @property
    def numbered(self) -> OffsetParams | None:
        """The page by its number, or None where the client goes by cursor."""
        if self.model_fields_set.isdisjoint(NUMBERED):
            return None
        return OffsetParams(page=self.page or 1, page_size=self.page_size)

    @model_validator(mode="after")
    def _refuse_both(self) -> Self:
        given = [name for name in (*BY_CURSOR, *NUMBERED) if name in self.model_fields_set]
        if self.model_fields_set.isdisjoint(BY_CURSOR) or self.model_fields_set.isdisjoint(NUMBERED):
            return self
        message = "a page is asked for by cursor or by number, not by both"
        error = PydanticCustomError("page_and_cursor", message)
        details = [InitErrorDetails(type=error, loc=(name,), input=None) for name in given]
        raise ValidationError.from_exception_data(type(self).__name__, details)
