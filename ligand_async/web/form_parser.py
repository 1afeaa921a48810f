"""Quart's parser of forms, made to say when a form is malformed."""

from collections.abc import AsyncIterator
from typing import Any

from quart.formparser import FormDataParser
from werkzeug.datastructures import MultiDict

MULTIPART = "multipart/form-data"

TAIL = 1024  # bytes at the end of a body, in which its last boundary is looked for


class StrictFormDataParser(FormDataParser):
    """Raises `ValueError` where Quart's own makes an empty or shorter form of a malformed one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "silent": False})

    async def parse(
        self, body: Any, mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> tuple[MultiDict[str, Any], MultiDict[str, Any]]:
        """Parse a body.

        Raises:
            ValueError: It is malformed, or ends before its last boundary (RFC 2046 section 5.1.1).
        """
        if mimetype != MULTIPART:
            return await super().parse(body, mimetype, content_length, options)
        watched = WatchedBody(body)
        parsed = await super().parse(watched, mimetype, content_length, options)  # type: ignore[arg-type]  # iterated only
        if f"--{(options or {}).get('boundary', '')}--".encode() not in watched.end:
            raise ValueError("the form ends before its last boundary")
        return parsed


class WatchedBody:
    """A body that remembers how it ended."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self.end = b""
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        async for part in self._body:
            self.end = (self.end + part)[-TAIL:]
            yield part
