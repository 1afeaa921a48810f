"""Telling that an operation was answered, where somebody wants to know."""

import time
from collections.abc import MutableMapping
from typing import Any, cast

from quart import Quart, Request

from ligand_async.context import current_operation_id, current_principal
from ligand_async.marks import operation_mark
from ligand_async.signals import announce, operation_completed, receivers_of

STARTED = "ligand_async.started"


def begin_operation(app: Quart, request: Request) -> None:
    """Remember when a request began, if anybody wants to know how long it takes."""
    if receivers_of(operation_completed, app):
        cast(MutableMapping[str, Any], request.scope)[STARTED] = time.perf_counter()


def complete_operation(app: Quart, request: Request, status: int) -> None:
    """Tell how the request in whose context this runs was answered, if it is an operation's."""
    started: float | None = cast(MutableMapping[str, Any], request.scope).pop(STARTED, None)
    if started is None or not is_operation(app, request):
        return
    announce(
        operation_completed,
        app,
        operation_id=current_operation_id(),
        principal=current_principal(),
        status=status,
        duration=time.perf_counter() - started,
    )


def is_operation(app: Quart, request: Request) -> bool:
    """Tell whether a request is for an operation: a view, or the method of a class."""
    rule = request.url_rule
    if rule is None or (request.method == "OPTIONS" and rule.provide_automatic_options):
        return False
    view = app.view_functions[rule.endpoint]
    view_class = getattr(view, "view_class", None)
    method = "get" if request.method == "HEAD" and not hasattr(view_class, "head") else request.method.lower()
    handler = view if view_class is None else getattr(view_class, method, None) or view_class.dispatch_request
    return operation_mark(handler) is not None
