"""A request whose body and forms are read strictly, up to limits, by plain views too."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast
from urllib.parse import parse_qsl

from quart import Request, current_app
from quart.formparser import FormDataParser
from werkzeug.datastructures import MultiDict

from ligand_async.context import service_of
from ligand_async.errors import ContentTooLarge, MalformedBody, Problem, UnsupportedMediaType
from ligand_async.web.body import MULTIPART, scan

_TAIL = 1024  # bytes at the end of a body, in which its last boundary is looked for
_SPOOL_BYTES = 64 * 1024  # an upload beyond this goes to disk
_REPLACED = "\ufffd"  # what a decoder puts for bytes that are no text


@dataclass(frozen=True, slots=True)
class _FormLimits:
    """How much a form may hold.

    Attributes:
        fields: Values that are no uploads.
        files: Uploads.
        field_bytes: Bytes of one value.
    """

    fields: int = 1000
    files: int = 20
    field_bytes: int = 64 * 1024


class _StrictFormDataParser(FormDataParser):
    """Raises a problem where Quart's own makes an empty or shorter form of a malformed one."""

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
        """Return what parses a media type."""
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
    """A body that remembers how it ended."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self.end = b""
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        async for part in self._body:
            self.end = (self.end + part)[-_TAIL:]
            yield part


class StrictRequest(Request):
    """A malformed, compressed or excessive body is a problem, whoever reads it."""

    form_data_parser_class = _StrictFormDataParser
    _scanned = False

    async def get_data(self, cache: bool = True, as_text: bool = False, parse_form_data: bool = False) -> Any:
        """Return the body.

        Raises:
            UnsupportedMediaType: It is compressed.
            MalformedBody: It was to be text and is not.
        """
        self.check_encoding()
        try:
            return await super().get_data(cache, as_text, parse_form_data)
        except UnicodeDecodeError:
            raise MalformedBody("the body is not UTF-8") from None  # the error holds the body

    async def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """Return the body as plain data, or None where it is not sent as JSON.

        Raises:
            Problem: It is malformed, and that is not to be passed over in silence.
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

    def make_form_data_parser(self) -> _StrictFormDataParser:
        """Make the parser, with the limits of the settings.

        Raises:
            UnsupportedMediaType: The body is compressed.
        """
        self.check_encoding()
        settings = service_of(current_app._get_current_object()).settings  # type: ignore[attr-defined]  # a LocalProxy
        limits = _FormLimits(settings.max_form_fields, settings.max_form_files)
        return _StrictFormDataParser(limits=limits, max_content_length=self.max_content_length)

    def check_encoding(self) -> None:
        """Refuse a compressed body (RFC 9110 section 15.5.16).

        Raises:
            UnsupportedMediaType: It is.
        """
        if self.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise UnsupportedMediaType("compressed bodies are not accepted", headers={"Accept-Encoding": "identity"})
