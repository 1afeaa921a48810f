"""What a `TypeDecorator` makes of its column: its own word, and sqlalchemy-utils' types, which are known by name."""

from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BeforeValidator
from sqlalchemy.types import TypeDecorator

from ligand_async.data.schemas import values
from ligand_async.data.schemas.wire import Wire, text

UTILS = "sqlalchemy_utils"


def utils_wire(type_: TypeDecorator[Any]) -> Wire | None:
    """Return how a type of sqlalchemy-utils travels that its column tells too little of."""
    for cls in type(type_).__mro__:
        if cls.__module__.partition(".")[0] == UTILS and cls.__name__ in BY_NAME:
            return BY_NAME[cls.__name__](type_)
    return None


def made_by(type_: TypeDecorator[Any]) -> Any:
    """Return what a decorator makes in Python, or None where it does not say.

    It says so by `python_type`, or by what its `process_result_value` is annotated to return. SQLAlchemy keeps nothing
    of `TypeDecorator[date]` at run time.
    """
    kind = type(type_)
    for cls in kind.__mro__[: kind.__mro__.index(TypeDecorator)]:
        stated = vars(cls).get("python_type")
        if isinstance(stated, type):
            return stated
        if "process_result_value" in vars(cls):
            return returned_by(vars(cls)["process_result_value"])
    return None


def returned_by(function: Any) -> Any:
    """Return what a function is annotated to return, null aside; None where nobody can know."""
    try:
        returned = get_type_hints(function).get("return", Any)
    except (NameError, TypeError):
        return None
    choices = get_args(returned) if get_origin(returned) in {Union, UnionType} else (returned,)
    kinds = [choice for choice in choices if choice not in (None, NoneType)]
    return kinds[0] if len(kinds) == 1 and kinds[0] not in (Any, object) else None


def choice(type_: Any) -> Wire:
    """Make the codes of a list of choices, or the values of an enumeration."""
    if isinstance(type_.choices, type):
        return Wire(type_.choices, type_.choices)
    codes = Literal[tuple(code for code, _ in type_.choices)]  # type: ignore[valid-type]  # built at run time
    return Wire(codes, Annotated[codes, BeforeValidator(values.code_of)])


def email(type_: Any) -> Wire:
    """Make addresses, in lower case as they are stored."""
    return text(type_.impl_instance, AfterValidator(str.lower), pattern=values.EMAIL, form="email")


def url(type_: Any) -> Wire:
    """Make URLs, which are read as objects where furl is installed."""
    wire = text(type_.impl_instance, AfterValidator(values.check_url), pattern=values.SPACELESS, form="uri")
    return Wire(wire.taken, Annotated[wire.given, BeforeValidator(values.plain_text)])


BY_NAME: dict[str, Callable[[Any], Wire]] = {"ChoiceType": choice, "EmailType": email, "URLType": url}
