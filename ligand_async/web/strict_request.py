"""A request whose body is read as strictly by a plain view, and by quart-schema's decorators, as by an operation."""

from typing import Any

from quart import Request, current_app

from ligand_async.context import service_of
from ligand_async.errors import MalformedBody, Problem, UnsupportedMediaType
from ligand_async.web.form_parser import FormLimits, StrictFormDataParser
from ligand_async.web.scan import scan


class StrictRequest(Request):
    """A malformed, compressed or excessive body is a problem, whoever reads it."""

    form_data_parser_class = StrictFormDataParser
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

    def make_form_data_parser(self) -> StrictFormDataParser:
        """Make the parser, with the limits of the settings.

        Raises:
            UnsupportedMediaType: The body is compressed.
        """
        self.check_encoding()
        settings = service_of(current_app._get_current_object()).settings  # type: ignore[attr-defined]  # a LocalProxy
        limits = FormLimits(settings.max_form_fields, settings.max_form_files)
        return StrictFormDataParser(limits=limits, max_content_length=self.max_content_length)

    def check_encoding(self) -> None:
        """Refuse a compressed body (RFC 9110 section 15.5.16).

        Raises:
            UnsupportedMediaType: It is.
        """
        if self.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise UnsupportedMediaType("compressed bodies are not accepted", headers={"Accept-Encoding": "identity"})
