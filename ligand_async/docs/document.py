"""The OpenAPI document of an app as bytes: built once, with its entity tag."""

import hashlib
import json
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from quart import Quart

EXTENSION = "QUART_SCHEMA"  # quart-schema's own key


@dataclass(frozen=True, slots=True)
class Document:
    """What is served at `/openapi.json`.

    Attributes:
        content: The document as JSON text in UTF-8.
        etag: Its strong entity tag, without quotes.
    """

    content: bytes
    etag: str


_documents: WeakKeyDictionary[Quart, Document] = WeakKeyDictionary()


def document_of(app: Quart) -> Document:
    """Return the document of an app. It is built once: a Quart app takes no routes after its first request.

    Raises:
        ValueError: Two operations have the same operationId.
    """
    document = _documents.get(app)
    if document is None:
        schema = app.extensions[EXTENSION].openapi_provider.schema()
        content = json.dumps(schema, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        document = _documents[app] = Document(content, hashlib.sha256(content).hexdigest()[:32])
    return document
