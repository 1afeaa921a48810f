"""Downloads: files that a handler has as bytes, with a name, an entity tag, and parts (RFC 9110 section 14).

For a file on disk there is Quart's `send_file`.
"""

import re
import unicodedata
from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from quart import Response, current_app, request

from ligand_async.annotations import metadata_of
from ligand_async.errors import Problem, problem_class, title_of
from ligand_async.web.endpoint import Endpoint, Feature
from ligand_async.web.output import Media

_NO_NAME = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|]')  # nor what a file system takes for something else
_ATTR_CHAR = "!#$&+-.^_`|~"  # RFC 8187 section 3.2.1, besides letters and digits


class Download(Media):
    """Documents what `make_download` returns: `Annotated[Response, Download("application/pdf")]`.

    The document has its headers, and the statuses 206, 304 and 416.
    """


async def make_download(content: bytes, media_type: str, *, filename: str, tag: str | None = None) -> Response:
    """Make the response that downloads a file: as a whole, in part, or not at all if the client has it.

    It is `private, no-cache`: only the caller's own cache keeps it, and asks each time whether it is current.

    Args:
        content: The file.
        media_type: Its media type, such as `application/pdf`.
        filename: The name under which browsers save it (RFC 6266). What no file system takes becomes `_`.
        tag: Text that is another one for each other content, such as a stored digest; by default it is computed.

    Raises:
        RequestedRangeNotSatisfiable: The range begins past the end; it is answered with 416.
    """
    response: Response = current_app.response_class(content, content_type=media_type)
    response.headers["Content-Disposition"] = _disposition_of(filename)
    response.headers["Cache-Control"] = "private, no-cache"
    response.set_etag(sha256(content).hexdigest() if tag is None else tag)
    return await response.make_conditional(request, accept_ranges=True, complete_length=len(content))


def _disposition_of(filename: str) -> str:
    """Return the header `Content-Disposition`: a name in ASCII, and the whole one in UTF-8 if they differ."""
    name = _NO_NAME.sub("_", filename).strip(". ") or "download"
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = _NO_NAME.sub("_", plain).replace("%", "_")
    if plain == name:
        return f'attachment; filename="{name}"'
    encoded = quote(name.encode("utf-8", "replace"), safe=_ATTR_CHAR)
    return f"attachment; filename=\"{plain or 'download'}\"; filename*=UTF-8''{encoded}"


_TEXT = {"schema": {"type": "string"}}
_TAG = {"ETag": {"description": "The entity tag of the file: send it as If-None-Match or If-Range.", **_TEXT}}
_WHOLE = {
    **_TAG,
    "Accept-Ranges": {"description": "`bytes`: parts of the file can be asked for.", **_TEXT},
    "Content-Disposition": {"description": "The name of the file (RFC 6266).", **_TEXT},
}
_RANGE = {"description": "Where the part is in the file (RFC 9110 section 14.4).", "required": True, **_TEXT}
_LENGTH = {"description": "The length of the file, `bytes */1234`.", "required": True, **_TEXT}


_RANGE_PARAMETER = {
    "name": "Range",
    "in": "header",
    "required": False,
    "description": "The part of the file to send, such as `bytes=0-499` (RFC 9110 section 14.2).",
    "schema": {"type": "string"},
}


def _is_download(endpoint: Endpoint) -> bool:
    returns = None if endpoint.operation is None else endpoint.operation.inputs.returns
    return endpoint.method == "GET" and any(isinstance(part, Download) for part in metadata_of(returns))


def _headers(endpoint: Endpoint, status: int, type_: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if status == 200 and type_ is None and _is_download(endpoint):
        yield from _WHOLE.items()


def _parameters(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    if _is_download(endpoint):
        yield _RANGE_PARAMETER


def _problems(endpoint: Endpoint) -> Iterator[type[Problem]]:
    if _is_download(endpoint):
        yield problem_class(416)


def _describe(endpoint: Endpoint, described: dict[str, Any]) -> None:
    """Add what a request for a part is answered with. The 304 comes from the entity tag, as that of every read."""
    if not _is_download(endpoint):
        return
    responses = described["responses"]
    content = responses["200"]["content"]
    part = {"description": title_of(206), "headers": dict(sorted({**_WHOLE, "Content-Range": _RANGE}.items()))}
    refused = {**responses["416"], "headers": {"Content-Range": _LENGTH}}
    described["responses"] = dict(sorted({**responses, "206": {**part, "content": content}, "416": refused}.items()))


DOWNLOADS = Feature(parameters=_parameters, headers=_headers, problems=_problems, describe=_describe)
