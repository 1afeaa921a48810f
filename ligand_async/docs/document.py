"""The OpenAPI document of an app as bytes: built once, with its entity tag."""

import hashlib
import json
from dataclasses import dataclass

from pydantic.errors import PydanticUserError
from quart import Quart

from ligand_async.context import state_of
from ligand_async.web import DocumentError

EXTENSION = "QUART_SCHEMA"  # quart-schema's own key


@dataclass(frozen=True, slots=True)
class _Document:
    """The response of `/openapi.json`.

    Attributes:
        content: The document as JSON text in UTF-8.
        etag: Its strong entity tag, without quotes.
        routes: How many routes the app had.
    """

    content: bytes
    etag: str
    routes: int


def document_of(app: Quart) -> _Document:
    """Return the document of an app. It is built when the app starts, and again only if routes were added since.

    Raises:
        DocumentError: It cannot be built, for example because two operations have the same operationId.
    """
    state = state_of(app)
    document = state.find(_Document)
    routes = sum(1 for _ in app.url_map.iter_rules())
    if document is None or document.routes != routes:
        content = _build(app)
        document = state.put(_Document(content, hashlib.sha256(content).hexdigest()[:32], routes))
    return document


def _build(app: Quart) -> bytes:
    try:
        schema = app.extensions[EXTENSION].openapi_provider.schema()
        return json.dumps(schema, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except DocumentError:
        raise
    except (PydanticUserError, TypeError, ValueError) as error:
        raise DocumentError(
            f"the OpenAPI document cannot be built: {error}\nGive the type a JSON schema, or hide what uses it "
            "(quart_schema.hide)"
        ) from error
