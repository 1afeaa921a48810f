"""The list of features. The checks at start and the OpenAPI document loop over it.

To add a feature, write one module (`deprecation.py` is a short example) and name its `Feature` here.
"""

from ligand_async.web.conditional import CONDITIONAL
from ligand_async.web.deprecation import DEPRECATION
from ligand_async.web.downloads import DOWNLOADS
from ligand_async.web.endpoint import Feature
from ligand_async.web.idempotency import IDEMPOTENCY
from ligand_async.web.limits import LIMITS
from ligand_async.web.lists.page import PAGES
from ligand_async.web.principal_session import PRINCIPAL_SESSIONS
from ligand_async.web.request_limits import REQUEST_LIMITS
from ligand_async.web.tags import TAGS

# A later feature sees what earlier ones have added: a 304 gets the headers of a quota, everything those of deprecation.
FEATURES: tuple[Feature, ...] = (
    PAGES,
    CONDITIONAL,
    DOWNLOADS,
    IDEMPOTENCY,
    PRINCIPAL_SESSIONS,
    LIMITS,
    REQUEST_LIMITS,
    DEPRECATION,
    TAGS,
)
