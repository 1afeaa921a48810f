"""Error trackers that the process has loaded, told which request they hear about."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ligand_async.context import current_request_id


@contextmanager
def named_to_trackers() -> Iterator[None]:
    """Tag what Sentry captures meanwhile with the request's id; without `sentry-sdk` there is nothing to do."""
    sentry = sys.modules.get("sentry_sdk")
    request_id = current_request_id()
    if sentry is None or request_id is None or not hasattr(sentry, "new_scope"):
        yield
        return
    with sentry.new_scope() as scope:
        scope.set_tag("request_id", request_id)
        yield
