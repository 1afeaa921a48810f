"""The provider that quart-schema asks for the document of an app."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, cast

from pydantic.json_schema import JsonSchemaMode
from quart import Quart
from quart_schema.openapi import PATH_RE, OpenAPIProvider
from quart_schema.validation import DataSource
from werkzeug.routing import Rule
from werkzeug.routing.converters import BaseConverter

from ligand_async.docs.answers import describe_answers, headers_of
from ligand_async.docs.conditional import conditional_parameters
from ligand_async.docs.deprecation import deprecation_mark_of, describe_deprecation, tell_deprecation
from ligand_async.docs.endpoints import Endpoint
from ligand_async.docs.idempotency import idempotency_parameters
from ligand_async.docs.messages import MEDIA_TYPES, request_body
from ligand_async.docs.operation_ids import name_operations
from ligand_async.docs.parameters import model_parameters, path_parameter
from ligand_async.docs.problems import COMPONENTS
from ligand_async.docs.schemas import Schemas, reachable
from ligand_async.docs.security import Security
from ligand_async.docs.tags import list_tags

ORDER = ("openapi", "info", "servers", "security", "tags", "paths", "components", "externalDocs")


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
        self._ids = name_operations(endpoints)
        self._security = Security(cast("Quart", self._app), endpoints)
        closed = [endpoint.body[0] for endpoint in endpoints if endpoint.mark and endpoint.body]
        self._schemas = Schemas(chain.from_iterable(map(types_of, endpoints)), closed=closed)
        document = super().schema()
        document["paths"] = {path: document["paths"][path] for path in sorted(document["paths"])}
        given = {tag.name: tag.schema(camelize=True) for tag in self._extension.tags or ()}
        document["tags"] = list_tags(endpoints, given)
        components = document["components"]
        components["schemas"] = reachable(self._schemas.components | COMPONENTS, document["paths"])
        if schemes := self._security.schemes | components.get("securitySchemes", {}):
            components["securitySchemes"] = schemes
        return {key: document[key] for key in ORDER if document.get(key) not in (None, [])}

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


def types_of(endpoint: Endpoint) -> Iterator[tuple[Any, JsonSchemaMode]]:
    """Yield every type of an operation that needs a schema."""
    for model in (endpoint.query_model, endpoint.headers_model, endpoint.cookies_model):
        if model is not None:
            yield model, "validation"
    if endpoint.body is not None:
        yield endpoint.body[0], "validation"
    for type_, headers_model in endpoint.responses.values():
        yield from ((part, "serialization") for part in (type_, headers_model) if part is not None)
