"""`init_docs`: quart-schema on an app, with our provider, and all that we correct of the extension (quart-schema 0.25).

- `_LigandJSONProvider`: the stock one refuses objects with `__html__`, and raises a `PydanticSerializationError` where
  Flask's raises a `TypeError`.
- `_Info`: the stock one cannot write its contact and its licence.
- `_restore_responses`: the stock `app.make_response` answers 500 for a `MultiDict` and for most other subclasses of
  dict, and makes a pydantic adapter for each response (20 µs).

`tests/docs/test_extension.py` has a test for each that fails on the day when quart-schema does the same.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import is_dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python
from quart import Quart
from quart.json.provider import DefaultJSONProvider
from quart_schema import QuartSchema
from quart_schema.conversion import convert_response_return_value
from quart_schema.openapi import Contact, Info, License, Server

from ligand_async.context import state_of
from ligand_async.docs.clients.views import add_client_routes
from ligand_async.docs.provider import LigandOpenAPIProvider
from ligand_async.docs.views import Docs, make_docs_blueprint

_DEFAULT = Docs()


def init_docs(
    app: Quart,
    *,
    title: str,
    version: str,
    description: str | None = None,
    servers: Mapping[str, str] | None = None,
    role: str | None = None,
    docs: Docs = _DEFAULT,
) -> None:
    """Add the OpenAPI document, the page that shows it, and the extension that quart-schema's decorators need.

    Call it before anything else wraps `app.make_response` or sets `app.json` and `app.test_client_class`.

    Args:
        app: The app.
        title: The service's name.
        version: The service's own version.
        description: The description of the service, in CommonMark.
        servers: The descriptions of the service's URLs. Without any, paths are relative to the document.
        role: The role that may read the document and the page; None for anyone.
        docs: Their paths, contact, licence and terms.
    """
    make_response = app.make_response
    QuartSchema(
        app,
        openapi_path=None,
        redoc_ui_path=None,
        scalar_ui_path=None,
        swagger_ui_path=None,
        info=_Info(
            title=title,
            version=version,
            description=description,
            contact=docs.contact,
            license=docs.license,
            terms_of_service=docs.terms_of_service,
        ),
        servers=[Server(url=url, description=text) for url, text in (servers or {}).items()] or None,
        conversion_preference="pydantic",
        pydantic_dump_options={"by_alias": True},
        openapi_provider_class=LigandOpenAPIProvider,
    )
    app.json = _LigandJSONProvider(app)
    _restore_responses(app, make_response)
    state_of(app).put(docs)
    if docs.document_path is None:
        return
    blueprint = make_docs_blueprint(docs, role)
    add_client_routes(blueprint)
    app.register_blueprint(blueprint)


class _Info(Info):
    """Writes contact and licence, which quart-schema's leaves as objects that JSON cannot hold."""

    def schema(self, *, camelize: bool = False) -> dict[str, Any]:
        """Return the object `info` of the document."""
        written: dict[str, Any] = super().schema(camelize=camelize)
        return {
            name: value.schema(camelize=camelize) if isinstance(value, Contact | License) else value
            for name, value in written.items()
        }


class _LigandJSONProvider(DefaultJSONProvider):
    """Writes models, dataclasses and everything else that pydantic can write; times as RFC 3339; never NaN.

    quart-schema's provider calls `super()` in a staticmethod and swallows the error.
    """

    @staticmethod
    def default(object_: Any) -> Any:
        """Convert an object that the standard library cannot write.

        Raises:
            TypeError: pydantic cannot write it either.
        """
        if hasattr(object_, "__html__"):
            return str(object_.__html__())
        try:
            return to_jsonable_python(object_)
        except PydanticSerializationError as error:
            raise TypeError(f"{type(object_).__name__} cannot be written as JSON") from error

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Write JSON text.

        Raises:
            ValueError: A number in it is NaN or infinite (RFC 8259 has none).
        """
        return super().dumps(obj, **{"allow_nan": False, **kwargs})


def _restore_responses(app: Quart, make_response: Callable[[Any], Awaitable[Any]]) -> None:
    """Replace quart-schema's wrapper of `app.make_response` by one that converts models only.

    The JSON provider writes everything else.
    """

    async def convert_and_make_response(result: Any) -> Any:
        if isinstance(result, app.response_class):
            return await make_response(result)
        parts = result if isinstance(result, tuple) else (result,)
        return await make_response(convert_response_return_value(result) if any(map(_is_model, parts)) else result)

    app.make_response = convert_and_make_response  # type: ignore[method-assign]  # quart-schema does the same


def _is_model(value: Any) -> bool:
    return isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type))
