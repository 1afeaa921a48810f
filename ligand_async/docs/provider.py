"""The provider that quart-schema asks for the document of an app: operationIds, tags, paths."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, cast

from pydantic.json_schema import JsonSchemaMode
from quart import Quart
from quart_schema.openapi import PATH_RE, OpenAPIProvider
from quart_schema.validation import DataSource
from werkzeug.routing import Rule
from werkzeug.routing.converters import BaseConverter

from ligand_async.docs.document import EXTENSION, DocumentError
from ligand_async.docs.endpoints import Endpoint
from ligand_async.docs.features import (
    conditional_parameters,
    deprecation_mark_of,
    describe_deprecation,
    idempotency_parameters,
    tell_deprecation,
)
from ligand_async.docs.operations import (
    COMPONENTS,
    MEDIA_TYPES,
    describe_answers,
    headers_of,
    model_parameters,
    path_parameter,
    request_body,
)
from ligand_async.docs.schemas import Schemas, reachable
from ligand_async.docs.security import Security
from ligand_async.marks import TagMark

_ORDER = ("openapi", "info", "servers", "security", "tags", "paths", "components", "externalDocs")


class LigandOpenAPIProvider(OpenAPIProvider):
    """Describe an app by what its operations are stamped with (OpenAPI 3.1).

    The same app gives the same document, byte for byte, in every process and on every Python version.
    """

    def schema(self) -> dict[str, Any]:
        """Build the document.

        Raises:
            DocumentError: Two operations have the same operationId, or a tag has two descriptions.
        """
        endpoints = [endpoint for rule in self.generate_rules() for endpoint in self.endpoints(rule)]
        self._ids = _name_operations(endpoints)
        self._security = Security(cast("Quart", self._app), endpoints)
        closed = [endpoint.body[0] for endpoint in endpoints if endpoint.mark and endpoint.body]
        self._schemas = Schemas(chain.from_iterable(map(_types_of, endpoints)), closed=closed)
        document = super().schema()
        document["paths"] = {path: document["paths"][path] for path in sorted(document["paths"])}
        given = {tag.name: tag.schema(camelize=True) for tag in self._extension.tags or ()}
        document["tags"] = _list_tags(endpoints, given)
        components = document["components"]
        components["schemas"] = reachable(self._schemas.components | COMPONENTS, document["paths"])
        if schemes := self._security.schemes | components.get("securitySchemes", {}):
            components["securitySchemes"] = schemes
        return {key: document[key] for key in _ORDER if document.get(key) not in (None, [])}

    def generate_rules(self) -> Iterator[Rule]:
        """Yield the documented routes: no hidden ones, no websockets, no static files."""
        for rule in super().generate_rules():
            view = self._app.view_functions[rule.endpoint]
            if getattr(view, "__name__", "") != "send_static_file":
                yield rule

    def endpoints(self, rule: Rule) -> Iterator[Endpoint]:
        """Yield what a route answers, by method."""
        for method in self.generate_methods(rule):
            endpoint = Endpoint.find(cast("Quart", self._app), rule, method)
            if not endpoint.is_hidden:
                yield endpoint

    def generate_methods(self, rule: Rule) -> Iterable[str]:
        """Return the documented methods of a route, in order."""
        return sorted(super().generate_methods(rule))

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        """Build the path item of a route."""
        path = re.sub(PATH_RE, r"{\1}", rule.rule)
        return {path: {item.method.lower(): self.build_operation(item) for item in self.endpoints(rule)}}, {}

    def build_operation(self, endpoint: Endpoint) -> dict[str, Any]:
        """Build one operation."""
        summary, description = endpoint.docstring
        deprecation = deprecation_mark_of(cast("Quart", self._app), endpoint)
        goes = None if deprecation is None else describe_deprecation(deprecation)
        operation: dict[str, Any] = {
            "tags": endpoint.tags,
            "summary": summary,
            "description": "\n\n".join(filter(None, (description, self._security.description(endpoint), goes))),
            "operationId": self._ids[endpoint.key],
            "parameters": self.build_parameters(endpoint),
            "deprecated": endpoint.is_deprecated or deprecation is not None,
        }
        operation = {key: value for key, value in operation.items() if value}
        security = self._security.requirements(endpoint) if endpoint.security is None else endpoint.security
        if security is not None:
            operation["security"] = security
        if endpoint.body is not None:
            operation["requestBody"], _ = self.build_request_body(*endpoint.body)
            if endpoint.mark and endpoint.mark.body_media_types:
                schema = self._schemas.schema_of(endpoint.body[0], "validation")
                operation["requestBody"] = request_body(schema, endpoint.mark.body_media_types)
        responses = self.build_responses(endpoint)
        if deprecation is not None:
            tell_deprecation(responses, deprecation)
        operation["responses"] = responses
        return operation

    def build_parameters(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        """Describe what an operation reads beside its body."""
        parameters = [self.build_path_parameter(*variable) for variable in endpoint.rule._converters.items()]
        if endpoint.query_model is not None:
            parameters += self.build_querystring_parameters(endpoint.query_model)[0]
        if endpoint.headers_model is not None:
            parameters += self.build_headers_parameters(endpoint.headers_model)[0]
        if endpoint.cookies_model is not None:
            schema = self._schemas.resolved(endpoint.cookies_model, "validation")
            parameters += model_parameters(endpoint.cookies_model, schema, "cookie")
        described = {parameter["name"].lower() for parameter in parameters if parameter["in"] == "header"}
        more = conditional_parameters(endpoint) + idempotency_parameters(endpoint)
        return parameters + [parameter for parameter in more if parameter["name"].lower() not in described]

    def build_path_parameter(self, name: str, converter: BaseConverter) -> dict[str, Any]:
        """Describe a variable of the path."""
        return path_parameter(name, converter)

    def build_querystring_parameters(self, model: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Describe the query string."""
        return model_parameters(model, self._schemas.resolved(model, "validation"), "parameter"), {}

    def build_headers_parameters(self, model: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Describe the request headers that are read."""
        return model_parameters(model, self._schemas.resolved(model, "validation"), "header"), {}

    def build_request_body(self, model: Any, source: DataSource) -> tuple[dict[str, Any], dict[str, Any]]:
        """Describe a body."""
        return request_body(self._schemas.schema_of(model, "validation"), (MEDIA_TYPES[source],)), {}

    def build_responses(self, endpoint: Endpoint) -> dict[str, Any]:
        """Describe every answer, by status."""
        access = self._security.access(endpoint)
        return describe_answers(cast("Quart", self._app), endpoint, self._schemas, access)

    def build_response_headers(self, model: Any) -> dict[str, Any]:
        """Describe the headers of an answer."""
        return headers_of(model, self._schemas)


def _types_of(endpoint: Endpoint) -> Iterator[tuple[Any, JsonSchemaMode]]:
    """Yield every type of an operation that needs a schema."""
    for model in (endpoint.query_model, endpoint.headers_model, endpoint.cookies_model):
        if model is not None:
            yield model, "validation"
    if endpoint.body is not None:
        yield endpoint.body[0], "validation"
    for type_, headers_model in endpoint.responses.values():
        yield from ((part, "serialization") for part in (type_, headers_model) if part is not None)


def _name_operations(endpoints: Sequence[Endpoint]) -> dict[tuple[str, str, str], str]:
    """Name every operation, by the key of its endpoint.

    A function that answers several methods of a route has the method before its name, and so has one that is routed
    again for another method; a view that is routed again for the same one has a number after its name. Only routes that
    were registered before it count.

    Raises:
        DocumentError: Two operations have the same name.
    """
    methods = Counter(id(endpoint.rule) for endpoint in endpoints if _is_function(endpoint))
    told: dict[tuple[str, str], str] = {}
    routed: Counter[tuple[str, str]] = Counter()
    names: dict[tuple[str, str, str], str] = {}
    owners: dict[str, Endpoint] = {}
    for endpoint in endpoints:
        name = endpoint.explicit_id or "_".join(_name_words(endpoint))
        if methods[id(endpoint.rule)] > 1 or told.setdefault((endpoint.name, name), endpoint.method) != endpoint.method:
            name = f"{endpoint.method.lower()}_{name}"
        routed[endpoint.name, endpoint.method] += 1
        times = routed[endpoint.name, endpoint.method]
        name = name if times == 1 else f"{name}_{times}"
        _refuse_clash(name, endpoint, owners.setdefault(_written_by_clients(name), endpoint))
        names[endpoint.key] = name
    return names


def _name_words(endpoint: Endpoint) -> list[str]:
    """Return the words of an operation's name, in order.

    The verb is the HTTP method for a class-based view, else the first word of the endpoint; the rest of the endpoint
    follows. Words of the blueprints' names that the endpoint does not say itself come between them: `pets.list_pets` is
    `list_pets`, `teams.create` is `create_teams`, and the pets mounted again as `v2` give `list_v2_pets`.
    """
    *mounts, tail = endpoint.name.split(".")
    verb, *resource = _words_of(tail)
    if not _is_function(endpoint):
        verb, resource = endpoint.method.lower(), _words_of(tail)
    said = {_singular(word) for word in (verb, *resource)}
    unsaid = [word for mount in mounts for word in _words_of(mount) if _singular(word) not in said]
    return [verb, *unsaid, *resource]


def _is_function(endpoint: Endpoint) -> bool:
    """Tell whether a view is a function, and not the method of a class."""
    return endpoint.handler is endpoint.view


def _words_of(name: str) -> list[str]:
    """Split a name at its underscores and hyphens."""
    return [word for word in name.replace("-", "_").split("_") if word] or [name]


def _singular(word: str) -> str:
    """Return a word without its plural ending: good enough to see that `pets` speaks of a pet."""
    word = word.lower()
    return f"{word[:-3]}y" if word.endswith("ies") else word.removesuffix("s")


def _written_by_clients(name: str) -> str:
    """Return a name as the generators of clients write it, whatever its capitals: two of one spelling are one file."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).lower()


def _refuse_clash(name: str, endpoint: Endpoint, owner: Endpoint) -> None:
    """Refuse a name that another endpoint has.

    Raises:
        DocumentError: The owner is another endpoint.
    """
    if owner is not endpoint:
        raise DocumentError(
            f"two operations are called {name!r}: {owner.method} {owner.rule.rule} ({owner.name}) and "
            f"{endpoint.method} {endpoint.rule.rule} ({endpoint.name}); rename one handler, "
            "register its blueprint under another name, or use quart_schema.operation_id"
        )


class OperationNames:
    """The operationIds of an app's routes, found once: a Quart app takes no routes after its first request."""

    def __init__(self, app: Quart) -> None:
        self._app = app
        self._names: dict[tuple[str, str, str], str] | None = None

    def __call__(self, endpoint: str, rule: str, method: str) -> str:
        """Return the operationId of a route, or the name of the endpoint where the document has none."""
        if self._names is None:
            self._names = self._find()
        return self._names.get((endpoint, rule, method), endpoint)

    def _find(self) -> dict[tuple[str, str, str], str]:
        provider = cast(LigandOpenAPIProvider, self._app.extensions[EXTENSION].openapi_provider)
        try:
            return _name_operations([one for rule in provider.generate_rules() for one in provider.endpoints(rule)])
        except ValueError:  # two of one name: `/openapi.json` says which
            return {}


def _list_tags(endpoints: Iterable[Endpoint], given: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """List the tags in order: those that are used, and those that quart-schema was given.

    Args:
        endpoints: The documented operations.
        given: What quart-schema was given, by name; it goes before our marks.

    Raises:
        DocumentError: A tag has two descriptions.
    """
    names: set[str] = set(given)
    found: dict[str, str] = {}
    for endpoint in endpoints:
        names.update(endpoint.tags)
        for mark in _descriptions_of(endpoint):
            name, text = str(mark.name), str(mark.description)
            if found.setdefault(name, text) != text and name not in given:
                raise DocumentError(f"tag {name!r} is described twice, by {found[name]!r} and by {text!r}; leave one")
    return [given.get(name) or _described(name, found.get(name)) for name in sorted(names)]


def _descriptions_of(endpoint: Endpoint) -> Iterator[TagMark]:
    """Yield the marks around an operation that describe a tag which it has."""
    yield from (mark for mark in endpoint.tag_marks if mark.description is not None and mark.name in endpoint.tags)


def _described(name: str, description: str | None) -> dict[str, Any]:
    """Describe one tag."""
    return {"name": name} if description is None else {"name": name, "description": description}
