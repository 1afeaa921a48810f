"""`Principal`, the authenticated caller, and requirements on it, made of roles, scopes and claims."""

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, NoReturn


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller, a person or a service, with the claims of its access token (RFC 7519, RFC 9068).

    Attributes:
        subject: The `sub` claim.
        issuer: The `iss` claim.
        roles: The roles of the caller, from the claims of the issuer's profile.
        scopes: The scopes of the token (RFC 6749 section 3.3).
        claims: All claims of the token, read only.
        client_id: The application that holds the token.
        expires_at: When the token expires, in UTC.
        token_id: The `jti` claim.

    Raises:
        TypeError: The subject or the issuer is not text, or roles or scopes are not a set of texts: of a single text,
            every part would be a role.
    """

    subject: str
    issuer: str
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    client_id: str | None = None
    expires_at: datetime | None = None
    token_id: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.subject, str) or not isinstance(self.issuer, str):
            raise TypeError("Principal: subject and issuer must be text")
        object.__setattr__(self, "roles", _set_of_texts("roles", self.roles))
        object.__setattr__(self, "scopes", _set_of_texts("scopes", self.scopes))


def _set_of_texts(name: str, value: Any) -> frozenset[str]:
    if not isinstance(value, Set | list | tuple) or not all(isinstance(one, str) for one in value):
        raise TypeError(f'Principal: {name} must be a set of texts, such as frozenset({{"admin"}})')
    return frozenset(value)


SCOPE = re.compile(r"[!#-\[\]-~]+")  # RFC 6749 section 3.3


class Requirement(ABC):
    """A requirement on a principal, made by `role`, `scope` and `claim` and joined by `&`, `|` and `~`.

    A subclass of one's own defines `is_met`, a plain function.

    Raises:
        TypeError: The `is_met` of a subclass is a coroutine function or a generator function, whose result would be
            true for everybody.
    """

    __slots__ = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
        if any(is_kind(cls.is_met) for is_kind in kinds):
            raise TypeError(
                f"{cls.__qualname__}.is_met must be a plain function that returns True or False; let an authenticator "
                "or the handler await what it needs"
            )

    @abstractmethod
    def is_met(self, principal: Principal) -> bool:
        """Return whether a principal meets the requirement: True or False, and nothing else."""

    def parts(self) -> Iterator["Requirement"]:
        """Yield this requirement and all its parts."""
        yield self

    def scopes(self) -> frozenset[str]:
        """Return the scopes that a token needs; of alternatives, those of the first that has any."""
        return frozenset()

    def __str__(self) -> str:
        """Return the words for it in errors and in the OpenAPI document: the name of its class."""
        return type(self).__name__

    def __and__(self, other: "Requirement") -> "Requirement":
        return AllOf(self, other) if isinstance(other, Requirement) else NotImplemented

    def __or__(self, other: "Requirement") -> "Requirement":
        return AnyOf(self, other) if isinstance(other, Requirement) else NotImplemented

    def __invert__(self) -> "Requirement":
        return Not(self)

    def __bool__(self) -> NoReturn:
        raise TypeError("requirements are joined by & | and ~, not by `and`, `or` and `not`")


@dataclass(frozen=True, slots=True)
class HasRole(Requirement):
    """A role, from the claims of the issuer's profile."""

    name: str

    def is_met(self, principal: Principal) -> bool:
        """Return whether the principal has the role."""
        return self.name in principal.roles

    def __str__(self) -> str:
        return f"role {self.name}"


@dataclass(frozen=True, slots=True)
class HasScope(Requirement):
    """A scope of the access token (RFC 6749 section 3.3)."""

    name: str

    def is_met(self, principal: Principal) -> bool:
        """Return whether the token has the scope."""
        return self.name in principal.scopes

    def scopes(self) -> frozenset[str]:
        """Return the scope."""
        return frozenset({self.name})

    def __str__(self) -> str:
        return f"scope {self.name}"


@dataclass(frozen=True, slots=True)
class HasClaim(Requirement):
    """A claim with a value; of a claim that is a list, one of its items."""

    name: str
    value: str | int | bool

    def is_met(self, principal: Principal) -> bool:
        """Return whether the claim has the value, and the same type: `true` is not `1`, and `"1"` is not `1`."""
        found: Any = principal.claims.get(self.name)
        values = found if isinstance(found, list | tuple) else (found,)
        return any(type(value) is type(self.value) and value == self.value for value in values)

    def __str__(self) -> str:
        return f"claim {self.name}={self.value}"


@dataclass(frozen=True, slots=True)
class AllOf(Requirement):
    """Both of two requirements."""

    left: Requirement
    right: Requirement

    def is_met(self, principal: Principal) -> bool:
        """Return whether the principal meets both."""
        return meets(principal, self.left) and meets(principal, self.right)

    def parts(self) -> Iterator[Requirement]:
        """Yield this requirement and all its parts."""
        yield self
        yield from self.left.parts()
        yield from self.right.parts()

    def scopes(self) -> frozenset[str]:
        """Return those of both."""
        return self.left.scopes() | self.right.scopes()

    def __str__(self) -> str:
        return " and ".join(f"({part})" if isinstance(part, AnyOf) else str(part) for part in (self.left, self.right))


@dataclass(frozen=True, slots=True)
class AnyOf(Requirement):
    """One of two requirements, or both."""

    left: Requirement
    right: Requirement

    def is_met(self, principal: Principal) -> bool:
        """Return whether the principal meets at least one."""
        return meets(principal, self.left) or meets(principal, self.right)

    def parts(self) -> Iterator[Requirement]:
        """Yield this requirement and all its parts."""
        yield self
        yield from self.left.parts()
        yield from self.right.parts()

    def scopes(self) -> frozenset[str]:
        """Return those of the first that has any."""
        return self.left.scopes() or self.right.scopes()

    def __str__(self) -> str:
        return f"{self.left} or {self.right}"


@dataclass(frozen=True, slots=True)
class Not(Requirement):
    """A requirement that must not be met."""

    part: Requirement

    def is_met(self, principal: Principal) -> bool:
        """Return whether the principal does not meet it."""
        return not meets(principal, self.part)

    def parts(self) -> Iterator[Requirement]:
        """Yield this requirement and the parts of the one that it negates."""
        yield self
        yield from self.part.parts()

    def __str__(self) -> str:
        return f"not ({self.part})" if isinstance(self.part, AllOf | AnyOf) else f"not {self.part}"


def meets(principal: Principal, requirement: Requirement) -> bool:
    """Return whether a principal meets a requirement.

    Raises:
        TypeError: The requirement's `is_met` returned something else than True or False, which lets nobody in.
    """
    met = requirement.is_met(principal)
    if met is True or met is False:
        return met
    if inspect.iscoroutine(met):
        met.close()
    raise TypeError(f"{type(requirement).__name__}.is_met() must return True or False, not {type(met).__name__}")


def role(name: str) -> Requirement:
    """Require a role.

    Args:
        name: The role, compared exactly. If `allowed_roles` is set, it must contain the role.

    Raises:
        ValueError: The name is empty, not printable, or begins or ends with a space.
    """
    return HasRole(_checked(name, "role"))


def scope(name: str) -> Requirement:
    """Require a scope of the access token.

    Args:
        name: One scope, such as `pets:write`.

    Raises:
        ValueError: The name is not a valid scope (RFC 6749 section 3.3).
    """
    return HasScope(_checked(name, "scope"))


def claim(name: str, value: str | int | bool) -> Requirement:
    """Require a claim with a value; of a claim that is a list, one of its items.

    Args:
        name: The claim's whole name.
        value: Compared exactly, type included.

    Raises:
        ValueError: The name is empty, not printable, or begins or ends with a space.
        TypeError: The value has another type.
    """
    if not isinstance(value, str | int | bool):
        raise TypeError("claim() takes a str, an int or a bool as the value")
    return HasClaim(_checked(name, "claim"), value)


def _checked(name: str, kind: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{kind}() takes a name; join several requirements by & or |")
    fits = SCOPE.fullmatch(name) if kind == "scope" else name and name.isprintable() and name == name.strip()
    if not fits:
        raise ValueError(f"{kind}() takes one name that a token can carry; join several requirements by & or |")
    return name
