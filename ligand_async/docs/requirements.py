"""How a requirement is told: as OpenAPI's alternatives, and in words."""

from dataclasses import dataclass

from ligand_async.principal import AllOf, AnyOf, HasClaim, HasRole, HasScope, Not, Requirement

MOST = 16  # alternatives; more than that tell nobody anything


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to meet a requirement, as far as OpenAPI can say it.

    Attributes:
        roles: The roles that it takes, sorted.
        scopes: The scopes that it takes, sorted.
    """

    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()


def alternatives_of(requirement: Requirement | None) -> list[Alternative]:
    """Return every way to meet a requirement: its disjunctive normal form, without claims and negations.

    Of one that has too many there is one that asks for nothing: the words say it.
    """
    ways = [frozenset[Requirement]()] if requirement is None else expand(requirement)
    found = [
        Alternative(
            tuple(sorted(part.name for part in way if isinstance(part, HasRole))),
            tuple(sorted(part.name for part in way if isinstance(part, HasScope))),
        )
        for way in ways
    ]
    return [*dict.fromkeys(found)] if len(found) <= MOST else [Alternative()]


def expand(requirement: Requirement, *, denied: bool = False) -> list[frozenset[Requirement]]:
    """Return the conjunctions of roles and scopes that meet a requirement, or that do not where it is denied."""
    match requirement:
        case Not(part):
            return expand(part, denied=not denied)
        case AllOf(left, right) | AnyOf(left, right):
            one, other = expand(left, denied=denied), expand(right, denied=denied)
            if isinstance(requirement, AllOf) == denied:  # De Morgan
                return one + other
            if len(one) * len(other) > MOST:
                return [frozenset()]
            return [*dict.fromkeys(first | second for first in one for second in other)]
        case HasRole() | HasScope() if not denied:
            return [frozenset({requirement})]
        case _:
            return [frozenset()]


def words_of(requirement: Requirement) -> str:
    """Return a requirement in words, with its names as code."""
    match requirement:
        case HasRole(name):
            return f"role {code(name)}"
        case HasScope(name):
            return f"scope {code(name)}"
        case HasClaim(name, value):
            return f"claim {code(name)} = {code(value)}"
        case AllOf(left, right):
            return f"{grouped(left, AnyOf)} and {grouped(right, AnyOf)}"
        case AnyOf(left, right):
            return f"{words_of(left)} or {words_of(right)}"
        case Not(part):
            return f"not {grouped(part, AllOf, AnyOf)}"
        case _:
            return str(requirement)


def grouped(requirement: Requirement, *kinds: type[Requirement]) -> str:
    """Return a requirement in words, in parentheses where it is of such a kind."""
    words = words_of(requirement)
    return f"({words})" if isinstance(requirement, kinds) else words


def code(value: str | int | bool) -> str:
    """Return a value as a code span of CommonMark, as JSON writes it where it is no text."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`` {text} ``" if "`" in text else f"`{text}`"
