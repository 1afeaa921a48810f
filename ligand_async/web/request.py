"""The request class, and all that we override of Quart's forms and bodies (quart 0.22, werkzeug 3.1).

Quart reads some malformed bodies without an error. Ours are problems, for operations and for plain views:

| body | stock | ours |
| --- | --- | --- |
| form that is malformed, or ends before its last boundary | empty or shorter form | 400 |
| form that is not in its encoding | U+FFFD in the values | 400 |
| form with any number of fields or files | read | 413 beyond the settings, where the first one too many begins |
| form whose parts have heads of any size | read | 400 |
| JSON with duplicate keys or NaN | read | 400 |
| compressed body | its bytes are parsed as they are | 415 |
| text that is not UTF-8 | unhandled exception, 500 | 400 |

`tests/web/test_request_stock.py` has a test for each row that fails on the day when the stock class does the same.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast
from urllib.parse import parse_qsl

from quart import Request
from quart.datastructures import FileStorage
from quart.formparser import FormDataParser
from quart.wrappers.base import BaseRequestWebsocket
from quart.wrappers.request import Body
from werkzeug.datastructures import Headers, MultiDict
from werkzeug.exceptions import RequestTimeout
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData, State

from ligand_async.context import service_of
from ligand_async.errors import ContentTooLarge, MalformedBody, Problem
from ligand_async.tasks import TimeLimit, this_app
from ligand_async.web.body import MULTIPART, check_encoding, scan

_HEAD_BYTES = 1024  # of one part of a form: a name, a file name and a media type
_SPOOL_BYTES = 64 * 1024  # a larger upload goes to disk
_UNREAD_BYTES = 64 * 1024  # of a body that is taken in parts; beyond, the server reads no more


class StreamedBody(Body):
    """A body that a handler can take in parts while the client sends it; in Quart all of it gathers in memory."""

    room: asyncio.Event | None = None  # of a body that is taken in parts
    begin: Callable[[], None] | None = None  # begins to receive it, if that has not begun
    pull: Callable[[], Awaitable[None]] | None = None  # receives it in this task, if nothing else does

    async def receive(self) -> bytes:
        """Return the whole body; it is received in this task, if nothing else does."""
        if self.pull is not None and not self._complete.is_set():
            await self.pull()
        return cast(bytes, await self)

    def __await__(self) -> Generator[Any, None, Any]:
        if self.begin is not None:
            self.begin()
        return super().__await__()

    async def __anext__(self) -> bytes:
        if self.begin is not None:
            self.begin()
        return await super().__anext__()

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


_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})


def has_field(request: BaseRequestWebsocket, names: frozenset[bytes]) -> bool:
    """Return whether a request came with one of some header fields, given in lower case, which ASGI has them in."""
    for name, _ in request.scope["headers"]:  # noqa: SIM110  (a generator would cost a call for each field)
        if name in names:
            return True
    return False


class StrictRequest(Request):
    """A request that refuses a malformed, compressed or excessive body, whoever reads it."""

    body_class = StreamedBody
    _scanned = False

    @property
    def content_length(self) -> int | None:
        """The number of bytes that the request says its body has; None if it does not say."""
        return super().content_length if has_field(self, _LENGTHS) else None

    async def get_data(self, cache: bool = True, as_text: bool = False, parse_form_data: bool = False) -> Any:
        """Return the body.

        Raises:
            UnsupportedMediaType: It is compressed.
            RequestTimeout: It did not come within the setting `body_timeout`.
            MalformedBody: It was asked for as text and is not UTF-8.
        """
        check_encoding(self)
        body = self.body
        try:
            if parse_form_data or not isinstance(body, StreamedBody):
                return await super().get_data(cache, as_text, parse_form_data)
            if self.body_timeout is None:
                data = await body.receive()
            else:
                async with TimeLimit.after(self.body_timeout):
                    data = await body.receive()
            if not cache:
                body.clear()
            return data.decode() if as_text else data
        except TimeoutError as error:
            raise RequestTimeout from error
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
        super().__init__(**{**options, "silent": False})

    async def parse(
        self, body: Any, mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> tuple[MultiDict[str, Any], MultiDict[str, Any]]:
        """Parse a body.

        Raises:
            MalformedBody: It is malformed, or ends before its last boundary (RFC 2046 section 5.1.1).
            ContentTooLarge: It has more fields or files, or a longer value, than a form may hold.
        """
        try:
            return await super().parse(body, mimetype, content_length, options)
        except ValueError:  # its text may hold what was sent
            raise MalformedBody("the body is not a well-formed form") from None

    async def _parse_multipart(
        self,
        body: Any,
        mimetype: str,  # noqa: ARG002  (Quart's signature)
        content_length: int | None,  # noqa: ARG002  (the same)
        options: dict[str, str],
    ) -> tuple[MultiDict[str, Any], MultiDict[str, Any]]:
        boundary = options.get("boundary", "").encode("ascii")
        if not boundary:
            raise ValueError("the form names no boundary")
        form = _MultipartForm(boundary, self.limits)
        async for data in body:
            form.add(data)
        if not form.is_complete:
            raise ValueError("the form ends before its last boundary")
        return form.fields, form.files

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
        if mimetype == MULTIPART:
            return type(self)._parse_multipart
        return (
            type(self)._parse_urlencoded
            if mimetype.startswith("application/x-")
            else super().get_parse_func(mimetype, options)
        )


class _MultipartForm:
    """A form of parts (RFC 7578), which is read as it comes, and counted while it is read.

    Args:
        boundary: What stands between its parts.
        limits: The most that it may have.

    Attributes:
        fields: The texts by name.
        files: The uploads by name.
        is_complete: Whether its last boundary was read.
    """

    def __init__(self, boundary: bytes, limits: _FormLimits) -> None:
        self._limits = limits
        self._decoder = _Decoder(boundary)
        self._part: Field | File | None = None
        self._text: list[bytes] = []
        self._text_bytes = 0
        self._upload: Any = None
        self._number = {Field: 0, File: 0}
        self.fields: MultiDict[str, Any] = MultiDict()
        self.files: MultiDict[str, Any] = MultiDict()

    @property
    def is_complete(self) -> bool:
        return self._decoder.state is State.EPILOGUE

    def add(self, data: bytes) -> None:
        """Read the next bytes.

        Raises:
            ContentTooLarge: There are more fields or files, or a longer value, than a form may hold.
            ValueError: It is malformed.
        """
        self._decoder.receive_data(data)
        while not isinstance(event := self._decoder.next_event(), Epilogue | NeedData):
            if isinstance(event, Field | File):
                self._begin(event)
            elif isinstance(event, Data):
                self._take(event.data)
                if not event.more_data:
                    self._end()
        if self.is_complete:
            self._decoder.buffer.clear()  # what follows the last boundary says nothing (RFC 2046 section 5.1.1)

    def _begin(self, part: Field | File) -> None:
        kind = type(part)
        most, name = (self._limits.fields, "fields") if kind is Field else (self._limits.files, "files")
        self._number[kind] += 1
        if self._number[kind] > most:
            raise ContentTooLarge(f"a form may have {most} {name} at most")
        self._part, self._text, self._text_bytes = part, [], 0
        if kind is File:
            self._upload = _open_upload()

    def _take(self, data: bytes) -> None:
        if isinstance(self._part, File):
            self._upload.write(data)
        elif self._part is not None:
            self._text_bytes += len(data)
            if self._text_bytes > self._limits.field_bytes:
                raise ContentTooLarge(f"a field may have {self._limits.field_bytes} bytes at most")
            self._text.append(data)

    def _end(self) -> None:
        part = self._part
        if isinstance(part, File):
            self._upload.seek(0)
            upload = FileStorage(self._upload, part.filename, part.name, headers=part.headers)
            self.files.add(part.name, upload)
        elif part is not None:
            self.fields.add(part.name, b"".join(self._text).decode(_charset_of(part.headers)))
        self._part = None


def _open_upload() -> IO[bytes]:
    return cast(IO[bytes], SpooledTemporaryFile(max_size=_SPOOL_BYTES, mode="w+b"))


class _Decoder(MultipartDecoder):
    """Finds the parts of a form."""

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        if len(data) > _HEAD_BYTES:
            raise ValueError("a part of the form has a head that is too long")
        return super()._parse_headers(data)


_CHARSETS = frozenset({"ascii", "us-ascii", "utf-8", "iso-8859-1"})


def _charset_of(headers: Headers) -> str:
    """Return the encoding of a field, of those that Quart reads."""
    named = parse_options_header(headers.get("Content-Type", ""))[1].get("charset", "").lower()
    return named if named in _CHARSETS else "utf-8"
