"""What a caller must be."""

from dataclasses import dataclass
from typing import Any

import pytest

from ligand_async import Principal, claim, role, scope
from ligand_async.principal import HasRole, Requirement, meets
from tests.auth.guarding import CALLERS, caller

ADMIN, USER, WRITER = CALLERS["admin"], CALLERS["user"], CALLERS["writer"]


@pytest.mark.parametrize(
    ("requirement", "met_by"),
    [
        (role("admin"), [ADMIN]),
        (role("user"), [ADMIN, USER]),
        (role("Admin"), []),
        (scope("pets:write"), [WRITER]),
        (scope("pets"), []),
        (role("user") | scope("pets:write"), [ADMIN, USER, WRITER]),
        (role("user") & role("admin"), [ADMIN]),
        (role("user") & ~role("admin"), [USER]),
        (~role("user"), [WRITER]),
        (~(role("admin") | scope("pets:write")), [USER]),
        (role("admin") | role("user") & scope("pets:write"), [ADMIN]),
    ],
)
def test_requirements_are_met_by_roles_and_scopes(requirement: Requirement, met_by: list[Principal]) -> None:
    """Names are compared exactly; & binds more than |, and ~ more than both."""
    assert [principal for principal in (ADMIN, USER, WRITER) if requirement.is_met(principal)] == met_by


@pytest.mark.parametrize(
    ("value", "wanted", "met"),
    [
        ("acme", "acme", True),
        ("Acme", "acme", False),
        (["acme", "other"], "acme", True),
        (("acme",), "acme", True),
        ([["acme"]], "acme", False),
        ({"acme": 1}, "acme", False),
        (1, 1, True),
        (True, 1, False),
        (1, True, False),
        (1.0, 1, False),
        ("1", 1, False),
        (True, True, True),
        (None, "None", False),
        ([], "acme", False),
    ],
)
def test_claims_are_compared_with_their_type(value: Any, wanted: str | int | bool, met: bool) -> None:
    """`true` is not 1 and text is no number; of a list one item counts."""
    assert claim("x", wanted).is_met(caller("ada", x=value)) is met


def test_a_claim_that_is_missing_is_not_met() -> None:
    """Nor is one that is somewhere inside another."""
    assert not claim("tenant", "acme").is_met(caller("ada", realm={"tenant": "acme"}))


@pytest.mark.parametrize(
    ("requirement", "text"),
    [
        (role("admin"), "role admin"),
        (role("user") | scope("pets:write"), "role user or scope pets:write"),
        ((role("a") | role("b")) & ~claim("t", 1), "(role a or role b) and not claim t=1"),
        (~(role("a") & role("b")), "not (role a and role b)"),
        (role("a") & role("b") & role("c"), "role a and role b and role c"),
    ],
)
def test_requirements_read_as_they_are_meant(requirement: Requirement, text: str) -> None:
    """As `ligand auth routes` and a 403 tell them."""
    assert str(requirement) == text


@pytest.mark.parametrize(
    ("requirement", "scopes"),
    [
        (role("admin"), set()),
        (scope("a"), {"a"}),
        (scope("a") & scope("b"), {"a", "b"}),
        (scope("a") | scope("b"), {"a"}),
        (role("admin") | scope("b"), {"b"}),
        (scope("a") & ~scope("b"), {"a"}),
    ],
)
def test_scopes_that_would_do_are_told(requirement: Requirement, scopes: set[str]) -> None:
    """What a client should ask for: no more than is needed, and nothing that is forbidden."""
    assert requirement.scopes() == scopes


def test_words_of_python_do_not_join_requirements() -> None:
    """`or` would take the first and forget the other."""
    with pytest.raises(TypeError, match=r"joined by & \| and ~"):
        role("admin") or role("user")


@pytest.mark.parametrize("other", ["admin", None, True, role])
def test_requirements_are_joined_with_requirements_alone(other: Any) -> None:
    """A name or a function is none."""
    with pytest.raises(TypeError):
        role("user") | other
    with pytest.raises(TypeError):
        other & role("user")


@pytest.mark.parametrize("name", ["", " ", " admin", "admin\n", "a\x00b", "a\tb"])
def test_names_that_no_token_carries_are_refused(name: str) -> None:
    """At import, where they are written."""
    for make in (role, scope, lambda name: claim(name, 1)):
        with pytest.raises(ValueError, match="takes one name"):
            make(name)


@pytest.mark.parametrize("name", ["pets:read pets:write", 'a"b', "a\\b", "grüße"])
def test_scopes_are_those_of_oauth(name: str) -> None:
    """RFC 6749 section 3.3: printable ASCII, no space, no quote, no backslash."""
    with pytest.raises(ValueError, match=r"scope\(\) takes one name"):
        scope(name)


def test_roles_may_be_named_as_groups_are() -> None:
    """Groups of a directory have spaces in their names."""
    assert role("Pet Keepers").is_met(caller("ada", roles=["Pet Keepers"]))


@pytest.mark.parametrize("wrong", [None, 1, ["admin"], role("admin")])
def test_names_are_texts(wrong: Any) -> None:
    """A list of roles is no role."""
    with pytest.raises(TypeError, match="takes a name"):
        role(wrong)


@pytest.mark.parametrize("wrong", [None, 1.5, ["acme"]])
def test_claims_are_compared_with_plain_values(wrong: Any) -> None:
    """A list would never be met."""
    with pytest.raises(TypeError, match="claim"):
        claim("tenant", wrong)


def test_a_requirement_tells_its_parts() -> None:
    """Also those that it denies: an unknown role is a mistake there, too."""
    requirement = role("a") & ~(role("b") | scope("c"))

    assert {part.name for part in requirement.parts() if isinstance(part, HasRole)} == {"a", "b"}


def test_a_service_may_have_requirements_of_its_own() -> None:
    """A subclass joins the others."""

    @dataclass(frozen=True)
    class Longer(Requirement):
        length: int

        def is_met(self, principal: Principal) -> bool:
            return len(principal.subject) > self.length

    assert [name for name, one in CALLERS.items() if (Longer(3) & ~scope("pets:write")).is_met(one)] == [
        "admin",
        "acme",
    ]


@pytest.mark.parametrize("value", ["administrator-readonly", "", b"admin", 5, None, {"admin": True}, [5], [["admin"]]])
@pytest.mark.parametrize("name", ["roles", "scopes"])
def test_roles_and_scopes_are_sets_of_texts(name: str, value: Any) -> None:
    """Row 129: in a text, every part of it would be a role."""
    with pytest.raises(TypeError, match=f"Principal: {name} must be a set of texts"):
        Principal("ada", "https://issuer.example", **{name: value})


def test_any_collection_of_texts_becomes_a_set() -> None:
    """Lists, tuples and sets are taken."""
    for roles in (["a", "b"], ("a", "b"), {"a", "b"}, frozenset({"a", "b"}), {"a": 1, "b": 2}.keys()):
        found: Any = roles
        assert Principal("ada", "https://issuer.example", found).roles == frozenset({"a", "b"})


@pytest.mark.parametrize(("subject", "issuer"), [(None, "i"), (5, "i"), ("ada", None), ("ada", b"i")])
def test_subject_and_issuer_are_texts(subject: Any, issuer: Any) -> None:
    """Audit trail, limits and sessions know a caller by them."""
    with pytest.raises(TypeError, match="must be text"):
        Principal(subject, issuer)


async def _later(self: Any, principal: Principal) -> bool:
    return False


async def _in_pieces(self: Any, principal: Principal) -> Any:
    yield False


def _by_pieces(self: Any, principal: Principal) -> Any:
    yield False


@pytest.mark.parametrize("is_met", [_later, _in_pieces, _by_pieces])
def test_a_requirement_cannot_be_awaited(is_met: Any) -> None:
    """Row 128: it is refused where the class is made, as a coroutine would be true for everybody."""
    with pytest.raises(TypeError, match=r"Later.is_met must be a plain function"):
        type("Later", (Requirement,), {"is_met": is_met})
    with pytest.raises(TypeError, match=r"Later.is_met must be a plain function"):
        type("Later", (HasRole,), {"is_met": is_met})


class Answering(Requirement):
    """A requirement that answers anything."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def is_met(self, _: Principal) -> bool:
        answer: bool = self.answer() if callable(self.answer) else self.answer
        return answer


async def _await_it() -> bool:
    return True


ANSWERS = ["no", "yes", "", 0, 1, None, [], [False], object(), 1.0, _await_it, NotImplemented]


@pytest.mark.parametrize("answer", ANSWERS, ids=[type(answer).__name__ for answer in ANSWERS])
def test_only_true_and_false_are_answers(answer: Any) -> None:
    """Row 128: anything else is an error, alone and in every combination; `not "no"` opens nothing either."""
    odd = Answering(answer)
    for requirement in (odd, ~odd, odd & role("admin"), role("admin") & odd, odd | role("x"), role("x") | odd, ~~odd):
        with pytest.raises(TypeError, match=r"Answering.is_met\(\) must return True or False"):
            meets(ADMIN, requirement)


def test_a_requirement_of_its_own_has_a_name() -> None:
    """The name of its class, which is the same in every process, unless it says more."""

    class Weekday(Requirement):
        def is_met(self, principal: Principal) -> bool:
            return bool(principal.subject)

    assert str(Weekday() & ~role("a")) == "Weekday and not role a"
