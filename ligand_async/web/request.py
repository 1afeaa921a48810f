"""The request class, and all that we override of Quart's forms and bodies (quart 0.22, werkzeug 3.1).

Quart reads some malformed bodies without an error. Ours are problems, for operations and for plain views:

| body | stock | ours |
| --- | --- | --- |
| form that is malformed, or ends before its last boundary | empty or shorter form | 400 |
| form that is not in its encoding | U+FFFD in the values | 400 |
| form with any number of fields or files | read | 413 beyond the settings |
| JSON with duplicate keys or NaN | read | 400 |
| compressed body | its bytes are parsed as they are | 415 |
| text that is not UTF-8 | unhandled exception, 500 | 400 |

`tests/web/test_request_stock.py` has a test for each row that fails on the day when the stock class does the same.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast
from urllib.parse import parse_qsl

from quart import Request
from quart.formparser import FormDataParser
from quart.wrappers.request import Body
from werkzeug.datastructures import MultiDict

from ligand_async.context import service_of
from ligand_async.errors import ContentTooLarge, MalformedBody, Problem
from ligand_async.tasks import this_app
from ligand_async.web.body import MULTIPART, check_encoding, scan

_TAIL = 1024  # bytes at the end of a body, in which its last boundary is looked for
_SPOOL_BYTES = 64 * 1024  # a larger upload goes to disk
_UNREAD_BYTES = 64 * 1024  # of a body that is taken in parts; beyond, the server reads no more
_REPLACED = "\ufffd"  # what a decoder makes of bytes that are not text


class StreamedBody(Body):
    """A body that a handler can take in parts while the client sends it; in Quart all of it gathers in memory."""

    room: asyncio.Event | None = None  # of a body that is taken in parts

    def allow(self, most: int) -> None:
        """Let the body have so many bytes at most.

        Raises:
            ContentTooLarge: It has more already.
        """
        self._max_content_length = most
        if len(self._data) > most:
            raise ContentTooLarge(f"the body may have {most} bytes", headers={"Connection": "close"})

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the parts of the body as they come."""
        room = self.room = asyncio.Event()
        async for part in self:
            room.set()
            yield part

    async def wait_for_room(self) -> None:
        """Wait while a handler that takes the body in parts has many bytes to read."""
        while self.room is not None and len(self._data) >= _UNREAD_BYTES:
            self.room.clear()
            await self.room.wait()


class StrictRequest(Request):
    """A request that refuses a malformed, compressed or excessive body, whoever reads it."""

    body_class = StreamedBody
    _scanned = False

    async def get_data(self, cache: bool = True, as_text: bool = False, parse_form_data: bool = False) -> Any:
        """Return the body.

        Raises:
            UnsupportedMediaType: It is compressed.
            MalformedBody: It was asked for as text and is not UTF-8.
        """
        check_encoding(self)
        try:
            return await super().get_data(cache, as_text, parse_form_data)
        except UnicodeDecodeError:
            raise MalformedBody("the body is not UTF-8") from None  # the error holds the body

    async def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """Return the body as plain data, or None if its media type is not JSON.

        Raises:
            Problem: It is malformed, unless `silent`.
        """
        try:
            if (force or self.is_json) and not self._scanned:
                scan(await self.get_data())
                self._scanned = True
            return await super().get_json(force, silent, cache)
        except Problem:
            if silent:
                return None
            raise

    def make_form_data_parser(self) -> "_StrictFormDataParser":
        """Make the parser, with the limits of the settings.

        Raises:
            UnsupportedMediaType: The body is compressed.
        """
        check_encoding(self)
        settings = service_of(this_app()).settings
        limits = _FormLimits(settings.max_form_fields, settings.max_form_files)
        return _StrictFormDataParser(limits=limits, max_content_length=self.max_content_length)


@dataclass(frozen=True, slots=True)
class _FormLimits:
    """The most that a form may have: fields, uploads, and bytes of one field."""

    fields: int = 1000
    files: int = 20
    field_bytes: int = 64 * 1024


class _StrictFormDataParser(FormDataParser):
    """Raises problems for malformed and excessive forms."""

    def __init__(self, *, limits: _FormLimits | None = None, **options: Any) -> None:
        self.limits = limits or _FormLimits()
        self._files = 0
        super().__init__(
            **{
                **options,
                "silent": False,
                "max_form_memory_size": self.limits.field_bytes,
                "max_form_parts": None,  # counted below: fields and files apart
                "stream_factory": self._open_upload,
            }
        )

    async def parse(
        self, body: Any, mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> tuple[MultiDict[str, Any], MultiDict[str, Any]]:
        """Parse a body.

        Raises:
            MalformedBody: It is malformed, or ends before its last boundary (RFC 2046 section 5.1.1).
            ContentTooLarge: It has more fields or files, or a longer value, than a form may hold.
        """
        try:
            if mimetype == MULTIPART:
                fields, files = await self._parse_watched(body, content_length, options or {})
            else:
                fields, files = await super().parse(body, mimetype, content_length, options)
        except ValueError:  # its text may hold what was sent
            raise MalformedBody("the body is not a well-formed form") from None
        if sum(map(len, fields.listvalues())) > self.limits.fields:
            raise ContentTooLarge(f"a form may have {self.limits.fields} fields at most")
        return fields, files

    async def _parse_watched(
        self, body: Any, content_length: int | None, options: dict[str, str]
    ) -> tuple[MultiDict[str, Any], MultiDict[str, Any]]:
        watched = _WatchedBody(body)
        fields, files = await super().parse(watched, MULTIPART, content_length, options)  # type: ignore[arg-type]  # iterated only
        if f"--{options.get('boundary', '')}--".encode() not in watched.end:
            raise ValueError("the form ends before its last boundary")
        if any(_REPLACED in text for name, values in fields.lists() for text in (name or "", *values)):
            raise ValueError("the form is not in the encoding that it names")
        return fields, files

    async def _parse_urlencoded(
        self,
        body: Any,
        mimetype: str,  # noqa: ARG002  (Quart's signature)
        content_length: int | None,  # noqa: ARG002  (the same)
        options: dict[str, str],  # noqa: ARG002  (the same)
    ) -> tuple[MultiDict[str, Any], MultiDict[str, Any]]:
        text = (await body).decode()
        if text.count("&") >= self.limits.fields:
            raise ContentTooLarge(f"a form may have {self.limits.fields} fields at most")
        fields = parse_qsl(text, keep_blank_values=True, errors="strict")
        if any(len(value) > self.limits.field_bytes for _, value in fields):
            raise ContentTooLarge(f"a field may have {self.limits.field_bytes} bytes at most")
        return MultiDict(fields), MultiDict()

    def get_parse_func(self, mimetype: str, options: dict[str, str]) -> Any:
        """Return the parser of a media type; Quart's table holds its own functions, not those of a subclass."""
        return (
            type(self)._parse_urlencoded
            if mimetype.startswith("application/x-")
            else super().get_parse_func(mimetype, options)
        )

    def _open_upload(self, *_: Any) -> IO[bytes]:
        self._files += 1
        if self._files > self.limits.files:
            raise ContentTooLarge(f"a form may have {self.limits.files} files at most")
        return cast(IO[bytes], SpooledTemporaryFile(max_size=_SPOOL_BYTES, mode="w+b"))


class _WatchedBody:
    """A body that remembers its last bytes."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self.end = b""
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            self.end = (self.end + part)[-_TAIL:]
            yield part
