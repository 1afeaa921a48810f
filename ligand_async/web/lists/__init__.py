"""Lists in pages: by cursor or by number."""

from ligand_async.web.lists.filters import Filter, Sort
from ligand_async.web.lists.page import Page
from ligand_async.web.lists.paginate import paginate
from ligand_async.web.lists.params import CursorParams, OffsetParams, PageParams

__all__ = [
    "CursorParams",
    "Filter",
    "OffsetParams",
    "Page",
    "PageParams",
    "Sort",
    "paginate",
]
