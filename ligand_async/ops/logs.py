"""Logs: one JSON object a line where machines read them, readable lines where people do."""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from ligand_async.context import current_request_id
from ligand_async.ops.access import FIELDS
from ligand_async.settings import Settings

HANDLER_NAME = "ligand_async"


def init_logs(settings: Settings) -> None:
    """Send the log of this process to stderr, once: JSON in `prod` and `stage`, coloured text in `local`.

    `testing` and `cli` leave logging as they find it, and so does a process whose root logger has handlers already.
    Loggers with a handler of their own, such as that of the `hypercorn` command, go on writing by it alone.
    """
    root = logging.getLogger()
    if settings.environment in {"testing", "cli"} or root.handlers:
        return
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_request_id,
    ]
    foreign = shared if settings.environment == "local" else [*shared, add_request_fields]
    handler = logging.StreamHandler(sys.stderr)
    handler.name = HANDLER_NAME
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=foreign,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers(settings.environment)],
        )
    )
    handler.addFilter(is_ours_to_write)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # below it writes whole URLs, query strings included
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def is_ours_to_write(record: logging.LogRecord) -> bool:
    """Tell whether nobody else writes a record, so that no line appears twice."""
    return not logging.getLogger(record.name).handlers


def renderers(environment: str) -> list[Processor]:
    """Return what writes a line: a readable traceback on a terminal, a flat one in JSON."""
    if environment == "local":
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def add_request_id(logger: Any, method: str, event: EventDict) -> EventDict:  # noqa: ARG001  (structlog's signature)
    """Say which request a line belongs to."""
    request_id = current_request_id()
    if request_id is not None:
        event["request_id"] = request_id
    return event


def add_request_fields(logger: Any, method: str, event: EventDict) -> EventDict:  # noqa: ARG001  (structlog's signature)
    """Give a line of the access log its fields."""
    fields = getattr(event.get("_record"), FIELDS, None)
    return event if fields is None else {**event, **fields}
