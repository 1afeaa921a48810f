"""How rate limits and outages are documented."""

from typing import Any

RETRY_AFTER = {
    "description": "When to ask again: in so many seconds, or at this date (RFC 9110 section 10.2.3).",
    "schema": {"type": "string"},
}
LIMIT_HEADERS: dict[str, Any] = {
    "RateLimit": {
        "description": "What is left of each quota: `r` requests for `t` seconds "
        "(draft-ietf-httpapi-ratelimit-headers-10).",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "The quotas that hold: `q` requests in `w` seconds.",
        "schema": {"type": "string"},
    },
}


def tell_limits(responses: dict[str, Any]) -> None:
    """Add the headers of a quota to the descriptions of answers: success, 304 and 429 always carry them."""
    for status, response in responses.items():
        if status < "4" or status == "429":
            headers = {**response.get("headers", {}), **LIMIT_HEADERS}
            responses[status] = {**response, "headers": dict(sorted(headers.items()))}
