"""Tags: the groups under which the OpenAPI document lists operations."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from quart import Blueprint

from ligand_async.web.endpoint import DocumentError, Endpoint, Feature

_TAGS = "_ligand_tags"

M = TypeVar("M", bound=Callable[..., Any] | Blueprint)


@dataclass(frozen=True, slots=True)
class _TagMark:
    """One tag; without a name it is a blueprint's, and has the name that the blueprint is registered under."""

    name: str | None
    description: str | None = None


def tag(name: str | None = None, *, description: str | None = None) -> Callable[[M], M]:
    """List operations under a tag of the OpenAPI document.

    A decorator of a view, of a class or of its methods, above or below the others. For a blueprint write
    `tag(description="Pets and their owners.")(blueprint)`. An operation has its own tags and those of every blueprint
    around it. An operation without any has the name of its blueprint as its tag.

    Args:
        name: The tag's name. Leave it out on a blueprint to describe the tag that has the blueprint's own name.
        description: The description of the tag, in CommonMark. Give it once for each tag.

    Raises:
        TypeError: There is neither a name nor a description, or a description without a name is not on a blueprint.
    """
    if name is None and description is None:
        raise TypeError('tag() needs a name, a description or both: tag("pets", description="All about pets.")')

    def stamp(marked: M) -> M:
        if name is None and not isinstance(marked, Blueprint):
            raise TypeError('tag(description=…) without a name works on blueprints only; name the tag: tag("pets", …)')
        setattr(marked, _TAGS, (_TagMark(name, description), *_marks_on(marked)))
        return marked

    return stamp


def _marks_on(marked: Any) -> tuple[_TagMark, ...]:
    found: tuple[_TagMark, ...] = getattr(marked, _TAGS, ())
    return found


def _marks_around(endpoint: Endpoint) -> Iterator[_TagMark]:
    """Yield every mark around an endpoint, those without a name with that of their blueprint's registration."""
    for owner in (endpoint.handler, endpoint.view, endpoint.view_class):
        yield from _marks_on(owner)
    names = endpoint.name.split(".")
    for depth, blueprint in enumerate(endpoint.blueprints, 1):
        for mark in _marks_on(blueprint):
            yield _TagMark(mark.name or ".".join(names[:depth]), mark.description)


def _describe(endpoint: Endpoint, described: dict[str, Any]) -> None:
    owners = (endpoint.handler, endpoint.view, endpoint.view_class, *endpoint.blueprints)
    named = {mark.name for owner in owners for mark in _marks_on(owner) if mark.name is not None}
    described["tags"] = sorted(named.union(described["tags"])) or [*filter(None, [endpoint.name.rpartition(".")[0]])]


def _describe_document(document: dict[str, Any], operations: Sequence[tuple[Endpoint, dict[str, Any]]]) -> None:
    """List the tags in order: those that operations have, and those that quart-schema was given, which win.

    Raises:
        DocumentError: A tag has two descriptions.
    """
    given = {one["name"]: one for one in document["tags"]}
    names = set(given)
    texts: dict[str, str] = {}
    for endpoint, described in operations:
        names.update(described.get("tags", ()))
        for mark in _marks_around(endpoint):
            name, text = str(mark.name), mark.description
            if text is None or name not in described.get("tags", ()):
                continue
            if texts.setdefault(name, text) != text and name not in given:
                raise DocumentError(f"tag {name!r} has two descriptions, {texts[name]!r} and {text!r}; keep one")
    document["tags"] = [
        given.get(name) or {"name": name, **({"description": texts[name]} if name in texts else {})}
        for name in sorted(names)
    ]


TAGS = Feature(describe=_describe, describe_document=_describe_document)
