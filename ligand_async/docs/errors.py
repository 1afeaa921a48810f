"""What keeps a document from being built."""


class DocumentError(ValueError):
    """The OpenAPI document of an app cannot be built; the message says what is in its way."""
