"""What a call to another service carries on from the request being served, so that both are found as one."""

import re

from quart import has_request_context, has_websocket_context, request, websocket

from ligand_async.context import current_request_id

# Trace Context, section 3.2: version, trace-id, parent-id, flags; later versions may go on behind a hyphen.
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?")


def carried_headers() -> dict[str, str]:
    """Return `X-Request-ID` and `traceparent`, as far as there are any."""
    found = {"X-Request-ID": current_request_id(), "traceparent": incoming_traceparent()}
    return {name: value for name, value in found.items() if value is not None}


def incoming_traceparent() -> str | None:
    """Return the `traceparent` that came with the request, or None where it has none that is well-formed.

    Of a later version it is what version 00 knows (Trace Context, section 3.2.3).
    """
    if not (has_request_context() or has_websocket_context()):
        return None
    values = (request if has_request_context() else websocket).headers.getlist("traceparent")
    match = TRACEPARENT.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        return None
    value = match.string
    if value.startswith("00"):
        return value if match["more"] is None else None
    return f"00-{value[3:55]}"
