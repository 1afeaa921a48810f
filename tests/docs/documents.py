"""Small apps, and what is said about them."""

import json
from collections.abc import Mapping
from typing import Any

from quart import Blueprint, Quart

from ligand_async.docs import document_of, init_docs


def make_docs_app(*blueprints: Blueprint, title: str = "Things", servers: Mapping[str, str] | None = None) -> Quart:
    app = Quart(__name__, static_folder=None)
    init_docs(app, title=title, version="1", servers=servers)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    return app


def describe(app: Quart) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(document_of(app).content)
    return document


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {operation["operationId"]: operation for path in document["paths"].values() for operation in path.values()}


def parameters(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {parameter["name"]: parameter for parameter in operation["parameters"]}


def answer_schema(operation: dict[str, Any], status: int = 200) -> Any:
    return operation["responses"][str(status)]["content"]["application/json"]["schema"]
