"""What generators read."""

import json
from typing import Any

import pytest

from ligand_async.docs.clients.generate import copy_for_generators

SCHEMA = {"$ref": "#/components/schemas/Pet"}


def make_document(operation: dict[str, Any], **components: Any) -> dict[str, Any]:
    return {
        "servers": [{"url": "https://public"}, {"url": "http://private"}],
        "paths": {"/pets": {"post": {"responses": {}, **operation}}},
        "components": components,
    }


def copied(operation: dict[str, Any], **components: Any) -> dict[str, Any]:
    """Return the operation as generators see it."""
    found: dict[str, Any] = copy_for_generators(make_document(operation, **components), server=None)["paths"]["/pets"]
    post: dict[str, Any] = found["post"]
    return post


def test_the_document_itself_stays() -> None:
    """A copy is changed, and nothing of the original."""
    security = {"bearer": {"type": "http", "scheme": "bearer"}}
    operation = {"security": [{"bearer": ["a"]}], "parameters": [{"schema": {"enum": ["-a"]}}]}
    document = make_document(operation, securitySchemes=security)
    before = json.dumps(document)
    copy_for_generators(document, server="https://public")

    assert json.dumps(document) == before


@pytest.mark.parametrize(("server", "servers"), [("http://private", [{"url": "http://private"}]), (None, [])])
def test_the_server_is_the_chosen_one(server: str | None, servers: list[dict[str, str]]) -> None:
    """And none where no setting says any."""
    assert copy_for_generators(make_document({}), server=server)["servers"] == servers


def test_the_ways_to_send_a_token_are_one() -> None:
    """Whatever scheme a token is said to be of; keys and passwords are kept."""
    schemes = {
        "bearer": {"type": "http", "scheme": "Bearer"},
        "openIdConnect": {"type": "openIdConnect", "openIdConnectUrl": "https://issuer"},
        "oauth2": {"type": "oauth2", "flows": {}},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-Key"},
    }
    document = make_document({"security": [{name: ["a"]} for name in schemes]}, securitySchemes=schemes)
    copy = copy_for_generators(document, server=None)

    assert copy["paths"]["/pets"]["post"]["security"] == [{"bearer": []}, {"apiKey": ["a"]}]
    assert copy["components"]["securitySchemes"].keys() == {"apiKey", "bearer"}


def test_what_is_asked_of_all_is_asked_of_each() -> None:
    """An operation that does not say is closed as the document says."""
    document = make_document({}, securitySchemes={"bearer": {"type": "http", "scheme": "bearer"}})
    copy = copy_for_generators({**document, "security": [{"bearer": []}]}, server=None)

    assert "security" not in copy
    assert copy["paths"]["/pets"]["post"]["security"] == [{"bearer": []}]


def test_an_open_operation_takes_no_token() -> None:
    """Not even one that answers 401 to whom it signs in itself."""
    assert copied({"security": [], "responses": {"401": {}}})["security"] == []


def test_a_body_has_one_media_type() -> None:
    """The first of those that mean the same; others are all kept."""
    same = {"application/merge-patch+json": {"schema": SCHEMA}, "application/json": {"schema": SCHEMA}}
    other = {"application/json": {"schema": SCHEMA}, "multipart/form-data": {"schema": {"type": "object"}}}

    assert list(copied({"requestBody": {"content": same}})["requestBody"]["content"]) == list(same)[:1]
    assert list(copied({"requestBody": {"content": other}})["requestBody"]["content"]) == list(other)


def test_lists_of_times_in_a_query_are_lists_of_text() -> None:
    """One time stays one, and so does a list in a body."""
    moment = {"type": "string", "format": "date-time"}
    many = {"type": "array", "items": moment}
    told = copied(
        {
            "parameters": [{"in": "query", "schema": many}, {"in": "query", "schema": moment}],
            "requestBody": {"content": {"application/json": {"schema": many}}},
        }
    )

    assert [one["schema"] for one in told["parameters"]] == [{"type": "array", "items": {"type": "string"}}, moment]
    assert told["requestBody"]["content"]["application/json"]["schema"] == many


@pytest.mark.parametrize(
    ("members", "names"),
    [
        (["name", "-name", "created_at"], ["Name", "NameDesc", "CreatedAt"]),
        (["red", "blue"], None),
        (["a", "-a", "a_desc"], None),
        (["a", "-a", "no name"], None),
        ([1, -1], None),
    ],
)
def test_directions_of_a_sort_have_names(members: list[Any], names: list[str] | None) -> None:
    """Where each member can have one of its own; other enumerations are left alone."""
    [parameter] = copied({"parameters": [{"schema": {"items": {"enum": members}}}]})["parameters"]

    assert parameter["schema"]["items"].get("x-enum-varnames") == names
