"""Whether a service answers as its own OpenAPI document says: every response of a test client, checked."""

import json
from types import new_class
from typing import Any
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from quart import Quart, Response

from ligand_async.docs import EXTENSION
from ligand_async.errors import PROBLEM_JSON
from ligand_async.testing.documented import Documented, Operation, Part, Presence

_ANYBODYS = frozenset({400, 408, 413, 414, 421, 431, 500, 502, 503, 504})
"""The errors that every operation has and that `default` may document: malformed requests, limits, faults, outages."""

_TOLD = ("ETag", "Last-Modified", "Link", "Location", "Retry-After", "X-Pagination")
"""The headers that a client acts on: the document must know them."""

_READS = frozenset({"GET", "HEAD"})
_BODILESS = frozenset({204, 205, 304})
_ROOT_PATH = 7  # where QuartClient._make_request of Quart 0.22 takes it, after path and method


class Contradiction(AssertionError):
    """A response is not what the document of its service says."""


class Conformance:
    """Checks responses against the documents of their apps, and remembers which optional members they had.

    Args:
        strict: Whether `default` documents only what any operation may end with (`_ANYBODYS`, 401 of an
            open one, 412 of a read): what an operation refuses itself has a status of its own. Otherwise it
            documents any error.
    """

    def __init__(self, *, strict: bool = True) -> None:
        self.strict = strict
        self.checked = 0
        self.presence = Presence()
        self.reached: set[tuple[str, str]] = set()
        """Which answers there were: operationId and documented status, `default` too."""
        self._documents: WeakKeyDictionary[Quart, Documented] = WeakKeyDictionary()

    def document_of(self, app: Quart) -> Documented:
        """Return the document of an app, to be looked up."""
        found = self._documents.get(app)
        if found is None:
            found = self._documents[app] = Documented(app)
        return found

    def habits(self, *, at_least: int = 5) -> list[str]:
        """Return which members the documents call optional although they were there always, or never.

        Args:
            at_least: How many objects of a schema must have been seen.
        """
        return [*self.presence.habits(at_least)]

    async def check(self, app: Quart, method: str, path: str, response: Response) -> None:
        """Check one response of an app.

        A response that belongs to no documented operation is not checked.

        Args:
            app: The app.
            method: The request's method.
            path: The request's path.
            response: What was answered.

        Raises:
            Contradiction: The document says otherwise.
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

    async def _find_lies(self, documented: Documented, operation: Operation, response: Response) -> list[str]:
        status = response.status_code
        key = self._promise_of(operation, status)
        if key is None:
            known = ", ".join(operation.responses)
            remedy = "declare it with raises=[...]" if status >= 400 else "declare it with status=..."
            return [f"the status is not documented (which are {known}); {remedy}"]
        self.reached.add((operation.document["operationId"], key))
        promise = operation.responses[key]
        if key == "default" and "content" not in promise:
            return []  # a plain view, of which nothing is said
        lies = _check_headers(documented, promise, response, told=() if key == "default" else _TOLD)
        body = await response.get_data(as_text=False)
        if operation.method == "HEAD" or (status in _BODILESS and not body):
            return lies
        return lies + self._check_body(documented, operation, promise, response, body)

    def _promise_of(self, operation: Operation, status: int) -> str | None:
        for key in (str(status), f"{status // 100}XX"):
            if key in operation.responses:
                return key
        default = operation.responses.get("default")
        if default is None or (status < 400 and "content" in default):
            return None
        everybodys = (
            status in _ANYBODYS
            or (status == 401 and operation.is_open)  # a bad token
            or (status == 412 and operation.method in _READS)  # an If-Match that nobody need send
        )
        return "default" if everybodys or not self.strict or "content" not in default else None

    def _check_body(
        self, documented: Documented, operation: Operation, promise: dict[str, Any], response: Response, body: bytes
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
        lies = []
        name = f"{operation.document['operationId']} {response.status_code}"
        for shape in documented.shapes.of(value, [Part(name, schema)]):
            if response.mimetype == PROBLEM_JSON:
                break  # whose members are for everybody to add to (RFC 9457 section 3.2)
            for part in shape.parts:
                self.presence.add(part, shape.value)
            lies += [f"its body has {shape.pointer}/{name}, which is not documented" for name in shape.undeclared]
        return lies


def _check_headers(
    documented: Documented, promise: dict[str, Any], response: Response, *, told: tuple[str, ...]
) -> list[str]:
    """Return what is wrong with the headers of a response."""
    lies, described = [], promise.get("headers", {})
    for name, header in described.items():
        values = response.headers.getlist(name)
        if not values:
            lies += [f"the header {name} is missing"] if header.get("required") else []
        elif schema := header.get("schema"):
            errors = documented.errors(schema, _value_of(values, schema))
            lies += [f"the header {name} is not as documented: {error}" for error in errors]
    known = {name.lower() for name in described}
    sent = [name for name in told if name in response.headers]
    lies += [f"the header {name} is not documented" for name in sent if name.lower() not in known]
    return lies


def _value_of(values: list[str], schema: dict[str, Any]) -> Any:
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
    """Tell whether a response says that it is JSON."""
    mimetype = response.mimetype or ""
    return mimetype == "application/json" or mimetype.endswith("+json")


class WatchedClient:
    """Mixed into a test client: shows every response to whoever checks."""

    app: Quart

    def conformance(self) -> Conformance | None:
        """Return who checks, None for nobody."""
        raise NotImplementedError

    async def _make_request(self, path: str, method: str, *more: Any) -> Response:
        response: Response = await super()._make_request(path, method, *more)  # type: ignore[misc]  # a mixin of Quart's client
        conformance = self.conformance()
        if conformance is not None:
            where = unquote(urlsplit(path).path).removeprefix(str(more[_ROOT_PATH]))
            await conformance.check(self.app, method, where, response)
        return response


def watch(app: Quart, *, strict: bool = True) -> Conformance:
    """Let the test clients of an app check every response against its OpenAPI document.

    A request whose response contradicts the document raises `Contradiction`.

    Args:
        app: The app.
        strict: As `Conformance` has it.

    Returns:
        What checks: ask it for `habits()` when all requests are done.
    """
    conformance = Conformance(strict=strict)

    class Watched(WatchedClient):
        def conformance(self) -> Conformance:
            return conformance

    app.test_client_class = new_class("TestClient", (Watched, app.test_client_class))
    return conformance
