"""Lists: pages by cursor or by number, filters and sorting."""

from ligand_async.web.lists.filters import Filter, Sort
from ligand_async.web.lists.order import PageNotPossible
from ligand_async.web.lists.page import Page
from ligand_async.web.lists.paginate import paginate
from ligand_async.web.lists.params import CursorParams, OffsetParams, PageParams

__all__ = [
    "CursorParams",
    "Filter",
    "OffsetParams",
    "Page",
    "PageNotPossible",
    "PageParams",
    "Sort",
    "paginate",
]
