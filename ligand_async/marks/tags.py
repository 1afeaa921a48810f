"""What operations are filed under in the documentation: what `tag` says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from quart import Blueprint

ATTRIBUTE = "_ligand_tags"

M = TypeVar("M", bound=Callable[..., Any] | Blueprint)


@dataclass(frozen=True, slots=True)
class TagMark:
    """One tag.

    Attributes:
        name: What it is called; None for the name of the blueprint that it is on.
        description: What its operations have in common, in CommonMark.
    """

    name: str | None
    description: str | None = None


def tag(name: str | None = None, *, description: str | None = None) -> Callable[[M], M]:
    """File operations under a tag of the OpenAPI document.

    A decorator of a view, of a class or of its methods, above or below the others; a blueprint is marked by
    `tag(description="Pets, and who keeps them.")(blueprint)`. An operation has the tags of its own and those of every
    blueprint around it; without any, the name of its blueprint is its tag.

    Args:
        name: The tag; a blueprint whose name will do needs a description only.
        description: What is filed under it, in CommonMark; said once.

    Raises:
        TypeError: There is neither name nor description, or a description without a name is on no blueprint.
    """
    if name is None and description is None:
        raise TypeError('tag() says a name, a description or both, such as tag("pets", description="All about pets.")')

    def stamp(marked: M) -> M:
        if name is None and not isinstance(marked, Blueprint):
            raise TypeError("tag(description=…) without a name is for blueprints, which have one")
        setattr(marked, ATTRIBUTE, (TagMark(name, description), *tag_marks(marked)))
        return marked

    return stamp


def tag_marks(marked: Any) -> tuple[TagMark, ...]:
    """Return what is stamped on a handler, a class or a blueprint itself."""
    found: tuple[TagMark, ...] = getattr(marked, ATTRIBUTE, ())
    return found
