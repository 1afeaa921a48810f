"""One documented endpoint: a method of a route, the handler behind it, its marks and its return annotation."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from quart import Quart
from quart.wrappers import Response as QuartResponse
from quart_schema.openapi import (
    QUART_SCHEMA_DEPRECATED_ATTRIBUTE,
    QUART_SCHEMA_HIDDEN_ATTRIBUTE,
    QUART_SCHEMA_OPERATION_ID_ATTRIBUTE,
    QUART_SCHEMA_SECURITY_ATTRIBUTE,
    QUART_SCHEMA_TAG_ATTRIBUTE,
)
from quart_schema.validation import (
    QUART_SCHEMA_HEADERS_ATTRIBUTE,
    QUART_SCHEMA_QUERYSTRING_ATTRIBUTE,
    QUART_SCHEMA_REQUEST_ATTRIBUTE,
    QUART_SCHEMA_RESPONSE_ATTRIBUTE,
    DataSource,
)
from typing_extensions import is_typeddict
from werkzeug.routing import Rule
from werkzeug.wrappers import Response as WerkzeugResponse

from ligand_async.marks import (
    IdempotentMark,
    OperationMark,
    TagMark,
    idempotent_mark,
    is_conditional,
    operation_mark,
    tag_marks,
)
from ligand_async.web import INPUTS_ATTRIBUTE, Inputs, media_types_of

_View = Callable[..., Any]


@dataclass(frozen=True)
class Endpoint:
    """One method of one route.

    Attributes:
        rule: The route.
        method: The HTTP method, in capitals.
        view: What is registered with the app.
        handler: What answers this method: the view itself, or the method of its class.
        blueprints: The blueprints around it, from the outside in.
    """

    rule: Rule
    method: str
    view: _View
    handler: _View
    blueprints: tuple[Any, ...] = ()

    @classmethod
    def find(cls, app: Quart, rule: Rule, method: str) -> "Endpoint":
        """Find what answers a method of a route."""
        view = app.view_functions[rule.endpoint]
        names = rule.endpoint.split(".")[:-1]
        paths = (".".join(names[: depth + 1]) for depth in range(len(names)))
        blueprints = tuple(app.blueprints[path] for path in paths if path in app.blueprints)
        return cls(rule, method, view, _handler_of(view, method), blueprints)

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from every other endpoint."""
        return self.name, self.rule.rule, self.method

    @property
    def name(self) -> str:
        """The name of the registration, such as `pets.list_pets`."""
        return str(self.rule.endpoint)

    @property
    def mark(self) -> OperationMark | None:
        """What `@operation` promises, or None for a plain view."""
        return operation_mark(self.handler)

    @property
    def is_conditional(self) -> bool:
        """Whether preconditions are checked before it changes anything."""
        return is_conditional(self.handler)

    @property
    def idempotency(self) -> IdempotentMark | None:
        """What `@idempotent` says of it, or None."""
        return idempotent_mark(self.handler)

    @property
    def explicit_id(self) -> str | None:
        """The operationId that quart-schema's `operation_id` gives it, or None."""
        explicit: str | None = self.stamp(QUART_SCHEMA_OPERATION_ID_ATTRIBUTE)
        return explicit

    @property
    def is_hidden(self) -> bool:
        """Whether quart-schema's `hide` keeps it out of the document."""
        return bool(self.stamp(QUART_SCHEMA_HIDDEN_ATTRIBUTE, False))

    @property
    def is_deprecated(self) -> bool:
        """Whether it, or a blueprint around it, is deprecated."""
        stamps = [getattr(blueprint, QUART_SCHEMA_DEPRECATED_ATTRIBUTE, False) for blueprint in self.blueprints]
        return any([self.stamp(QUART_SCHEMA_DEPRECATED_ATTRIBUTE, False), *stamps])

    @property
    def tags(self) -> list[str]:
        """The tags of the view and of every blueprint around it, else the name of its blueprint."""
        tags = {*self.stamp(QUART_SCHEMA_TAG_ATTRIBUTE, ())}
        for owner in (self.handler, self.view, getattr(self.view, "view_class", None), *self.blueprints):
            tags.update(mark.name for mark in tag_marks(owner) if mark.name is not None)
        for blueprint in self.blueprints:
            tags.update(getattr(blueprint, QUART_SCHEMA_TAG_ATTRIBUTE, ()))
        return sorted(tags) or [*filter(None, [self.name.rpartition(".")[0]])]

    @property
    def tag_marks(self) -> list[TagMark]:
        """What `tag` says around it; on a blueprint without a name it speaks of the blueprint's own."""
        marks = [*tag_marks(self.handler), *tag_marks(self.view), *tag_marks(getattr(self.view, "view_class", None))]
        names = self.name.split(".")
        for depth, blueprint in enumerate(self.blueprints, 1):
            marks += [replace(mark, name=mark.name or ".".join(names[:depth])) for mark in tag_marks(blueprint)]
        return marks

    @property
    def security(self) -> list[dict[str, list[str]]] | None:
        """The security requirements that quart-schema's decorators name, or None."""
        found = [self.stamp(QUART_SCHEMA_SECURITY_ATTRIBUTE)]
        found += [getattr(blueprint, QUART_SCHEMA_SECURITY_ATTRIBUTE, None) for blueprint in self.blueprints]
        named = [requirement for requirements in found if requirements is not None for requirement in requirements]
        return named if any(requirements is not None for requirements in found) else None

    @property
    def docstring(self) -> tuple[str, str]:
        """The handler's summary and description, either may be empty."""
        summary, _, description = (inspect.getdoc(self.handler) or "").partition("\n")
        return summary.strip(), description.strip()

    @property
    def inputs(self) -> Inputs:
        """What an operation reads."""
        inputs: Inputs = getattr(self.handler, INPUTS_ATTRIBUTE)
        return inputs

    @property
    def media_types(self) -> tuple[str, ...]:
        """What a response that is made by hand may hold; none where nothing is said."""
        return media_types_of(self.inputs.returns) if self.mark else ()

    @property
    def is_stored(self) -> bool:
        """Whether it works on a database."""
        return self.mark is not None and self.inputs.session is not None

    @property
    def services(self) -> set[str]:
        """The parameters that take what `create_app(provide=…)` knows."""
        return set(self.inputs.others) - self.rule.arguments if self.mark else set()

    @property
    def query_model(self) -> Any:
        """What is read from the query string, or None."""
        return self.stamp(QUART_SCHEMA_QUERYSTRING_ATTRIBUTE)

    @property
    def headers_model(self) -> Any:
        """What is read from the request's headers, or None."""
        return self.stamp(QUART_SCHEMA_HEADERS_ATTRIBUTE)

    @property
    def cookies_model(self) -> Any:
        """What is read from cookies, or None."""
        return self.mark.cookies_model if self.mark else None

    @property
    def body(self) -> tuple[Any, DataSource] | None:
        """What the body is made of and how it is encoded, or None."""
        body: tuple[Any, DataSource] | None = self.stamp(QUART_SCHEMA_REQUEST_ATTRIBUTE)
        return body

    @property
    def responses(self) -> dict[int, tuple[Any, Any]]:
        """The declared answers by status: body type and headers model, None for what is absent."""
        declared: dict[int, tuple[Any, Any]] = dict(self.stamp(QUART_SCHEMA_RESPONSE_ATTRIBUTE, {}))
        more = None
        if self.mark:
            more = _headers_model_of(self.inputs.returns)  # of whatever is returned in this form
            declared[self.mark.status] = (self.mark.response_type, more)
        return {
            status: (_body_type(status, body), headers or (more if status < HTTPStatus.BAD_REQUEST else None))
            for status, (body, headers) in sorted(declared.items())
        }

    def stamp(self, attribute: str, default: Any = None) -> Any:
        """Return what is stamped on the handler, else on the view, else on its class."""
        for owner in (self.handler, self.view, getattr(self.view, "view_class", None)):
            found = getattr(owner, attribute, None)
            if found is not None:
                return found
        return default


def _handler_of(view: _View, method: str) -> _View:
    """Return what answers a method: the class's own method for a `MethodView`, else the view."""
    view_class = getattr(view, "view_class", None)
    handler = getattr(view_class, method.lower(), None) or getattr(view_class, "dispatch_request", None)
    return handler if callable(handler) else view


def _body_type(status: int, declared: Any) -> Any:
    """Return what the body of an answer is made of, or None where it is empty or made by hand."""
    if declared in (None, type(None)) or status < HTTPStatus.OK or status in (204, 205, 304):
        return None
    if inspect.isclass(declared) and issubclass(declared, (QuartResponse, WerkzeugResponse)):
        return None
    return declared


def _headers_model_of(returns: Any) -> Any:
    """Return the `TypedDict` of the headers in `tuple[schema, int, headers]`, or None."""
    parts = get_args(returns) if get_origin(returns) is tuple else ()
    return parts[2] if len(parts) == 3 and is_typeddict(parts[2]) else None


def parts_of(shown: Any) -> Iterator[Any]:
    """Yield what an answer may show: the members of a union, without what annotates them."""
    if get_origin(shown) is Annotated:
        yield from parts_of(get_args(shown)[0])
    elif get_origin(shown) in {Union, UnionType}:
        for part in get_args(shown):
            yield from parts_of(part)
    elif shown not in (None, NoneType):
        yield shown
