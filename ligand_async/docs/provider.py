"""The provider that builds the OpenAPI document of an app for quart-schema: paths, operations and operationIds."""

import inspect
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, cast

from pydantic.json_schema import JsonSchemaMode
from quart import Quart
from quart_schema.openapi import OpenAPIProvider
from werkzeug.routing import Rule

from ligand_async.docs.document import EXTENSION
from ligand_async.docs.endpoints import (
    Contract,
    contract_of,
    explicit_id,
    is_deprecated,
    is_hidden,
    security_given,
    tags_given,
)
from ligand_async.docs.operations import (
    COMPONENTS,
    describe_responses,
    model_parameters,
    path_parameter,
    request_body,
)
from ligand_async.docs.schemas import Schemas, reachable
from ligand_async.docs.security import Security
from ligand_async.web import FEATURES, DocumentError, Endpoint, Place

_ORDER = ("openapi", "info", "servers", "security", "tags", "paths", "components", "externalDocs")


class LigandOpenAPIProvider(OpenAPIProvider):
    """Describes an app by its operations (OpenAPI 3.1).

    The same app gives the same document, byte for byte, in every process and on every Python version.
    """

    def schema(self) -> dict[str, Any]:
        """Build the document.

        Raises:
            DocumentError: Two operations have the same operationId, or a feature contradicts itself.
        """
        endpoints = [endpoint for rule in self.generate_rules() for endpoint in self.endpoints(rule)]
        self._contracts = {endpoint.key: contract_of(endpoint) for endpoint in endpoints}
        self._ids = _name_operations(endpoints)
        self._security = Security(cast("Quart", self._app), endpoints)
        bodies = [binding.body for one in endpoints if (binding := one.binding) is not None]
        closed = [body.reader.schema for body in bodies if body is not None and body.reader.schema is not None]
        self._schemas = Schemas(chain.from_iterable(map(_types_of, self._contracts.values())), closed=closed)
        self._described: list[tuple[Endpoint, dict[str, Any]]] = []
        document = super().schema()
        document["paths"] = {path: document["paths"][path] for path in sorted(document["paths"])}
        document.setdefault("tags", [])
        for feature in FEATURES:
            feature.describe_document(document, self._described)
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
        """Yield the documented endpoints of a route."""
        for method in self.generate_methods(rule):
            endpoint = Endpoint.find(cast("Quart", self._app), rule, method)
            if not is_hidden(endpoint):
                yield endpoint

    def generate_methods(self, rule: Rule) -> Iterable[str]:
        """Return the documented methods of a route, in order."""
        return sorted(super().generate_methods(rule))

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        """Build the path item of a route."""
        path = template_of(rule)
        return {path: {item.method.lower(): self.build_operation(item) for item in self.endpoints(rule)}}, {}

    def build_operation(self, endpoint: Endpoint) -> dict[str, Any]:
        """Describe one endpoint, and let every feature add to it."""
        contract = self._contracts[endpoint.key]
        summary, _, description = (inspect.getdoc(endpoint.handler) or "").partition("\n")
        given = security_given(endpoint)
        described: dict[str, Any] = {
            "tags": tags_given(endpoint),
            "summary": summary.strip(),
            "description": "\n\n".join(filter(None, (description.strip(), self._security.description(endpoint)))),
            "operationId": self._ids[endpoint.key],
            "parameters": self.build_parameters(endpoint, contract),
            "deprecated": is_deprecated(endpoint),
            "security": self._security.requirements(endpoint) if given is None else given,
            "requestBody": self.build_body(contract),
            "responses": describe_responses(endpoint, contract, self._schemas, self._security.access(endpoint)),
        }
        for feature in FEATURES:
            feature.describe(endpoint, described)
        # An empty list of security requirements says that the operation is public.
        described = {key: value for key, value in described.items() if value or (key == "security" and value == [])}
        self._described.append((endpoint, described))
        return described

    def build_parameters(self, endpoint: Endpoint, contract: Contract) -> list[dict[str, Any]]:
        """Describe what an endpoint reads beside its body; the handler's headers replace a feature's of that name."""
        path = {} if contract.path is None else self._schemas.resolved(contract.path, "validation")["properties"]
        variables = endpoint.rule._converters.items()
        parameters = [path_parameter(name, converter, path.get(name)) for name, converter in variables]
        models: tuple[tuple[Any, Place], ...] = (
            (contract.query, "parameter"),
            (contract.headers, "header"),
            (contract.cookies, "cookie"),
        )
        for model, place in models:
            if model is not None:
                parameters += model_parameters(model, self._schemas.resolved(model, "validation"), place)
        own = {parameter["name"].lower() for parameter in parameters if parameter["in"] == "header"}
        more = chain.from_iterable(feature.parameters(endpoint) for feature in FEATURES)
        return parameters + [parameter for parameter in more if parameter["name"].lower() not in own]

    def build_body(self, contract: Contract) -> dict[str, Any] | None:
        """Describe the body of a request, if there is one."""
        if contract.body is None:
            return None
        return request_body(contract, self._schemas)


def template_of(rule: Rule) -> str:
    """Return the path of a rule as OpenAPI writes it.

    quart-schema's own expression loses the variable before `<int:…>`.
    """
    parts = [f"{{{text}}}" if is_variable else text for is_variable, text in rule._trace]  # host, bar, path
    return "".join(parts[parts.index("|") + 1 :])


def _types_of(contract: Contract) -> Iterator[tuple[Any, JsonSchemaMode]]:
    """Yield every type of an endpoint that needs a schema."""
    for model in (contract.path, contract.query, contract.headers, contract.cookies):
        if model is not None:
            yield model, "validation"
    if contract.body is not None and contract.body[0] is not None:
        yield contract.body[0], "validation"
    for _, (type_, headers_model) in contract.responses:
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
    first_methods: dict[tuple[str, str], str] = {}
    routed: Counter[tuple[str, str]] = Counter()
    names: dict[tuple[str, str, str], str] = {}
    owners: dict[str, Endpoint] = {}
    for endpoint in endpoints:
        name = explicit_id(endpoint) or "_".join(_name_words(endpoint))
        if (
            methods[id(endpoint.rule)] > 1
            or first_methods.setdefault((endpoint.name, name), endpoint.method) != endpoint.method
        ):
            name = f"{endpoint.method.lower()}_{name}"
        routed[endpoint.name, endpoint.method] += 1
        times = routed[endpoint.name, endpoint.method]
        name = name if times == 1 else f"{name}_{times}"
        _refuse_clash(name, endpoint, owners.setdefault(_written_by_clients(name), endpoint))
        names[endpoint.key] = name
    return names


def _name_words(endpoint: Endpoint) -> list[str]:
    """Return the words of an operation's name, in order.

    The verb is the HTTP method for a class-based view, else the first word of the endpoint. The rest of the endpoint
    follows. Words of the blueprints' names that the endpoint does not repeat come between them: `pets.list_pets` is
    `list_pets`, `teams.create` is `create_teams`, and the pets mounted again as `v2` give `list_v2_pets`.
    """
    *mounts, tail = endpoint.name.split(".")
    verb, *resource = _words_of(tail)
    if not _is_function(endpoint):
        verb, resource = endpoint.method.lower(), _words_of(tail)
    known = {_singular(word) for word in (verb, *resource)}
    more = [word for mount in mounts for word in _words_of(mount) if _singular(word) not in known]
    return [verb, *more, *resource]


def _is_function(endpoint: Endpoint) -> bool:
    return endpoint.handler is endpoint.view


def _words_of(name: str) -> list[str]:
    return [word for word in name.replace("-", "_").split("_") if word] or [name]


def _singular(word: str) -> str:
    """Return a word without its plural ending: good enough to see that `pets` and `pet` are the same."""
    word = word.lower()
    return f"{word[:-3]}y" if word.endswith("ies") else word.removesuffix("s")


def _written_by_clients(name: str) -> str:
    """Return a name as client generators write it; they put two names of one spelling into one file."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).lower()


def _refuse_clash(name: str, endpoint: Endpoint, owner: Endpoint) -> None:
    if owner is not endpoint:
        raise DocumentError(
            f"two operations have the operationId {name!r}: {owner.method} {owner.rule.rule} ({owner.name}) and "
            f"{endpoint.method} {endpoint.rule.rule} ({endpoint.name}); rename one handler, "
            "register its blueprint under another name, or use quart_schema.operation_id"
        )


class OperationNames:
    """The operationIds of an app's routes, computed once: a Quart app takes no routes after its first request."""

    def __init__(self, app: Quart) -> None:
        self._app = app
        self._names: dict[tuple[str, str, str], str] | None = None

    def __call__(self, endpoint: str, rule: str, method: str) -> str:
        """Return the operationId of a route, or the name of the endpoint if it is not in the document."""
        if self._names is None:
            self._names = self._find()
        return self._names.get((endpoint, rule, method), endpoint)

    def _find(self) -> dict[tuple[str, str, str], str]:
        provider = cast(LigandOpenAPIProvider, self._app.extensions[EXTENSION].openapi_provider)
        try:
            return _name_operations([one for rule in provider.generate_rules() for one in provider.endpoints(rule)])
        except DocumentError:  # two of one name: `/openapi.json` reports which
            return {}
