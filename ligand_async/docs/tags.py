"""The tags of a document: which there are, and what they say."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ligand_async.docs.endpoints import Endpoint
from ligand_async.docs.errors import DocumentError
from ligand_async.marks import TagMark


def list_tags(endpoints: Iterable[Endpoint], given: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
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
        for mark in descriptions_of(endpoint):
            name, text = str(mark.name), str(mark.description)
            if found.setdefault(name, text) != text and name not in given:
                raise DocumentError(f"tag {name!r} is described twice, by {found[name]!r} and by {text!r}; leave one")
    return [given.get(name) or described(name, found.get(name)) for name in sorted(names)]


def descriptions_of(endpoint: Endpoint) -> Iterator[TagMark]:
    """Yield the marks around an operation that describe a tag which it has."""
    yield from (mark for mark in endpoint.tag_marks if mark.description is not None and mark.name in endpoint.tags)


def described(name: str, description: str | None) -> dict[str, Any]:
    """Describe one tag."""
    return {"name": name} if description is None else {"name": name, "description": description}
