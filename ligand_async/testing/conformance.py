"""Checks every response of a test client against the OpenAPI document of its service."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from types import new_class
from typing import Any, cast
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from quart import Quart, Response
from werkzeug.exceptions import HTTPException

from ligand_async.docs import EXTENSION, document_of, template_of
from ligand_async.errors import PROBLEM_JSON

try:
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped]  # it has no types, its validators neither
    from openapi_schema_validator import OAS31Validator, oas31_format_checker
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT202012
except ImportError as error:
    raise ImportError(
        "checking responses against the OpenAPI document needs a package; run: pip install openapi-schema-validator"
    ) from error

_Schema = dict[str, Any]

# The errors that every operation has and that `default` may document: malformed requests, limits, faults, outages.
_COMMON_ERRORS = frozenset({400, 408, 413, 414, 421, 431, 500, 502, 503, 504})
# The headers that a client acts on, which the document must have.
_ACTED_ON = ("ETag", "Last-Modified", "Link", "Location", "Retry-After", "X-Pagination")
_READS = frozenset({"GET", "HEAD"})
_BODILESS = frozenset({204, 205, 304})
_ROOT_PATH = 7  # where QuartClient._make_request of Quart 0.22 takes it, after path and method


class Contradiction(AssertionError):
    """A response does not match the document of its service."""


class Conformance:
    """Checks responses against the documents of their apps.

    Args:
        strict: Whether `default` documents only what any operation may end with: the errors of malformed requests,
            limits, faults and outages, 401 of an operation that needs no token, 412 of a read. An error that an
            operation raises itself then needs a status of its own. Otherwise `default` documents every error.

    Attributes:
        checked: How many responses were checked.
        reached: Which answers there were, as operationId and documented status (`default` too).
    """

    def __init__(self, *, strict: bool = True) -> None:
        self.strict = strict
        self.checked = 0
        self.reached: set[tuple[str, str]] = set()
        self._documents: WeakKeyDictionary[Quart, Documented] = WeakKeyDictionary()

    def document_of(self, app: Quart) -> "Documented":
        """Return the document of an app, to be looked up."""
        found = self._documents.get(app)
        if found is None:
            found = self._documents[app] = Documented(app)
        return found

    async def check(self, app: Quart, method: str, path: str, response: Response) -> None:
        """Check one response of an app.

        A response that belongs to no documented operation is not checked.

        Args:
            app: The app.
            method: The request's method.
            path: The request's path.
            response: The app's response.

        Raises:
            Contradiction: The response does not match the document.
        """
        if EXTENSION not in app.extensions:
            return
        documented = self.document_of(app)
        operation = documented.find(method, path)
        if operation is None:
            return
        lies = await self._find_lies(documented, operation, response)
        self.checked += 1
        if lies:
            raise Contradiction(f"{operation} answered {response.status_code}:" + "".join(f"\n- {lie}" for lie in lies))

    async def _find_lies(self, documented: "Documented", operation: "Operation", response: Response) -> list[str]:
        status = response.status_code
        key = self._promise_of(operation, status)
        if key is None:
            known = ", ".join(operation.responses)
            remedy = "declare it with raises=[...]" if status >= 400 else "declare it with status=..."
            return [f"the status is not documented (documented are {known}); {remedy}"]
        self.reached.add((operation.document["operationId"], key))
        promise = operation.responses[key]
        if key == "default" and "content" not in promise:
            return []  # a plain view, which declares nothing
        lies = _check_headers(documented, promise, response, required=() if key == "default" else _ACTED_ON)
        body = await response.get_data(as_text=False)
        if operation.method == "HEAD" or (status in _BODILESS and not body):
            return lies
        return lies + self._check_body(documented, promise, response, body)

    def _promise_of(self, operation: "Operation", status: int) -> str | None:
        for key in (str(status), f"{status // 100}XX"):
            if key in operation.responses:
                return key
        default = operation.responses.get("default")
        if default is None or (status < 400 and "content" in default):
            return None
        is_common = (
            status in _COMMON_ERRORS
            or (status == 401 and operation.is_open)  # a bad token
            or (status == 412 and operation.method in _READS)  # an If-Match, which no client must send
        )
        return "default" if is_common or not self.strict or "content" not in default else None

    def _check_body(
        self, documented: "Documented", promise: dict[str, Any], response: Response, body: bytes
    ) -> list[str]:
        documented_types: dict[str, Any] = promise.get("content", {})
        content = {name.partition(";")[0].strip().lower(): media for name, media in documented_types.items()}
        if not content:
            return ["it has a body, and none is documented"] if body and (self.strict or _is_json(response)) else []
        media_type = content.get(response.mimetype or "")
        if media_type is None:
            return [f"its content type is {response.mimetype or 'missing'}, documented is {' or '.join(content)}"]
        schema = media_type.get("schema")
        if schema is None or not _is_json(response):
            return []
        try:
            value = json.loads(body)
        except ValueError:
            return ["its body is not JSON"]
        if errors := documented.errors(schema, value):
            return [f"its body is not as documented: {error}" for error in errors]
        if response.mimetype == PROBLEM_JSON:
            return []  # everybody may add members to a problem (RFC 9457 section 3.2)
        return [f"its body has {pointer}, which is not documented" for pointer in documented.undeclared(schema, value)]


def watch(app: Quart, *, strict: bool = True) -> Conformance:
    """Let the test clients of an app check every response against its OpenAPI document.

    A request whose response contradicts the document raises `Contradiction`.

    Args:
        app: The app.
        strict: As `Conformance` has it.

    Returns:
        The checker, which knows which documented answers were reached.
    """
    conformance = Conformance(strict=strict)

    class Watched(WatchedClient):
        def conformance(self) -> Conformance:
            return conformance

    app.test_client_class = new_class("TestClient", (Watched, app.test_client_class))
    return conformance


class WatchedClient:
    """Mixed into a test client: has every response checked."""

    app: Quart

    def conformance(self) -> Conformance | None:
        """Return the checker, None to leave responses alone."""
        raise NotImplementedError

    async def _make_request(self, path: str, method: str, *more: Any) -> Response:
        response: Response = await super()._make_request(path, method, *more)  # type: ignore[misc]  # a mixin of Quart's client
        conformance = self.conformance()
        if conformance is not None:
            where = unquote(urlsplit(path).path).removeprefix(str(more[_ROOT_PATH]))
            await conformance.check(self.app, method, where, response)
        return response


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a document.

    Attributes:
        method: The HTTP method, in capitals.
        path: The path, with its variables in braces.
        document: The operation's part of the document.
        is_open: Whether it can be called without credentials.
    """

    method: str
    path: str
    document: dict[str, Any]
    is_open: bool

    def __str__(self) -> str:
        return f"{self.document['operationId']} ({self.method} {self.path})"

    @property
    def responses(self) -> dict[str, Any]:
        """The documented answers by status."""
        found: dict[str, Any] = self.document["responses"]
        return found


class Documented:
    """The document of one app: its operations, and the schemas that values are checked by.

    Args:
        app: The app, with all of its routes.

    Raises:
        ValueError: Two operations have the same operationId.
    """

    _URI = "urn:openapi"

    def __init__(self, app: Quart) -> None:
        self._url_map = app.url_map
        self.document: dict[str, Any] = json.loads(document_of(app).content)
        registry: Registry[Any] = Registry().with_resource(
            self._URI, Resource.from_contents(self.document, default_specification=DRAFT202012)
        )
        self._validator: Any = OAS31Validator({}, registry=registry, format_checker=oas31_format_checker)
        self._validators: dict[int, tuple[_Schema, Any]] = {}

    def find(self, method: str, path: str) -> Operation | None:
        """Find the operation that answers a request, None if no documented operation does.

        Args:
            method: The HTTP method.
            path: The request's path.
        """
        try:
            rule, _ = self._url_map.bind("localhost").match(path, method, return_rule=True)
        except HTTPException:
            return None
        template = template_of(rule)
        name = "GET" if method == "HEAD" else method
        document = self.document["paths"].get(template, {}).get(name.lower())
        if document is None:
            return None
        security = document.get("security", self.document.get("security"))
        return Operation(method, template, document, is_open=not security or {} in security)

    def errors(self, schema: _Schema, value: Any) -> list[str]:
        """Return what is wrong with a value, at most three things; values are not repeated."""
        found = sorted(self._validator_of(schema).iter_errors(value), key=lambda error: list(map(str, error.path)))
        deepest = [best_match([error]) or error for error in found[:3]]  # of the alternatives of a union
        places = [_write_pointer(error.absolute_path) or "the whole" for error in deepest]
        return [f"{place} is against `{_rule_of(error)}`" for place, error in zip(places, deepest, strict=True)]

    def undeclared(self, schema: _Schema, value: Any) -> list[str]:
        """Return where a valid value has members that no schema names, if no schema allows others."""
        return [_write_pointer(path) for path in self._find_undeclared([schema], value, ())]

    def _find_undeclared(self, schemas: list[Any], value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        parts = [part for schema in schemas if isinstance(schema, dict) for part in self._parts_of(schema, value)]
        if isinstance(value, dict):
            named = {name for part in parts for name in part.get("properties", ())}
            if named and not any(part.keys() & {"additionalProperties", "patternProperties"} for part in parts):
                yield from ((*path, name) for name in sorted(value.keys() - named))
            for name, member in value.items():
                below = [part.get("properties", {}).get(name, part.get("additionalProperties")) for part in parts]
                yield from self._find_undeclared(below, member, (*path, name))
        elif isinstance(value, list):
            for number, item in enumerate(value):
                below = [_item_schema(part, number) for part in parts]
                yield from self._find_undeclared(below, item, (*path, number))

    def _parts_of(self, schema: _Schema, value: Any) -> Iterator[_Schema]:
        """Yield a schema and those that it is put together from, as far as the value is an instance of them."""
        reference = schema.get("$ref")
        if reference is not None:
            yield from self._parts_of(self._resolve(reference), value)
        yield schema
        for part in schema.get("allOf", ()):
            yield from self._parts_of(part, value)
        for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
            if self._validator_of(part).is_valid(value):
                yield from self._parts_of(part, value)

    def _resolve(self, reference: str) -> _Schema:
        found: Any = self.document
        for token in reference.removeprefix("#/").split("/"):
            found = found[token.replace("~1", "/").replace("~0", "~")]
        return cast(_Schema, found)

    def _validator_of(self, schema: _Schema) -> Any:
        known = self._validators.get(id(schema))
        if known is None:
            # References of the document's own become references into it.
            known = schema, self._validator.evolve(schema=cast(_Schema, self._anchored(schema)))
            self._validators[id(schema)] = known
        return known[1]

    def _anchored(self, schema: Any) -> Any:
        if isinstance(schema, dict):
            return {
                key: self._URI + value if key == "$ref" and isinstance(value, str) else self._anchored(value)
                for key, value in schema.items()
            }
        return [self._anchored(item) for item in schema] if isinstance(schema, list) else schema


def _item_schema(schema: _Schema, number: int) -> Any:
    first = schema.get("prefixItems", [])
    return first[number] if number < len(first) else schema.get("items")


def _check_headers(
    documented: Documented, promise: dict[str, Any], response: Response, *, required: tuple[str, ...]
) -> list[str]:
    """Return what is wrong with the headers of a response; those of `required` must be documented if they are sent."""
    lies, described = [], promise.get("headers", {})
    for name, header in described.items():
        values = response.headers.getlist(name)
        if not values:
            lies += [f"the header {name} is missing"] if header.get("required") else []
        elif schema := header.get("schema"):
            errors = documented.errors(schema, _read_header(values, schema))
            lies += [f"the header {name} is not as documented: {error}" for error in errors]
    known = {name.lower() for name in described}
    sent = [name for name in required if name in response.headers]
    lies += [f"the header {name} is not documented" for name in sent if name.lower() not in known]
    return lies


def _read_header(values: list[str], schema: dict[str, Any]) -> Any:
    """Read a header as its schema means it (OpenAPI's style `simple`)."""
    text = ", ".join(values)
    if schema.get("type") == "array":
        return [part.strip() for part in text.split(",")]
    if schema.get("type") in {"integer", "number", "boolean"}:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _is_json(response: Response) -> bool:
    mimetype = response.mimetype or ""
    return mimetype == "application/json" or mimetype.endswith("+json")


def _write_pointer(path: Any) -> str:
    """Return a path into a value as a JSON pointer (RFC 6901)."""
    return "".join(f"/{str(token).replace('~', '~0').replace('/', '~1')}" for token in path)


def _rule_of(error: Any) -> str:
    """Return the rule that an error breaks: a keyword and its value."""
    text = json.dumps(error.validator_value, sort_keys=True)
    if error.validator == "required":
        text = json.dumps([name for name in error.validator_value if name not in error.instance])
    return f"{error.validator}: {text if len(text) <= 120 else '...'}"
