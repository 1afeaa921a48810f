"""What a response that is made by hand holds."""

from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin


@dataclass(frozen=True, slots=True, init=False)
class Media:
    """Says what a `Response` holds, for the documentation: `Annotated[Response, Media("image/png")]`.

    Attributes:
        types: The media types that it may have.
    """

    types: tuple[str, ...]

    def __init__(self, *types: str) -> None:
        """Name the media types.

        Raises:
            ValueError: There is none, or one has no slash in it.
        """
        if not types or not all("/" in type_.strip("/") for type_ in types):
            raise ValueError('Media() takes media types, such as Media("image/png", "image/jpeg")')
        object.__setattr__(self, "types", types)


def media_types_of(returns: Any) -> tuple[str, ...]:
    """Return the media types that a return annotation names."""
    if get_origin(returns) is not Annotated:
        return ()
    return next((part.types for part in get_args(returns)[1:] if isinstance(part, Media)), ())
