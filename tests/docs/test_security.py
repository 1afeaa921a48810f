"""Who may call what: security schemes, requirements, 401 and 403."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from quart import Blueprint, Quart
from quart.views import MethodView
from quart_schema import security_scheme
from quart_schema.openapi import HttpSecurityScheme

from ligand_async import Principal, claim, operation, public, requires, role, scope
from ligand_async.auth import APIKeyAuthenticator, BasicAuthenticator
from ligand_async.docs import document_of
from ligand_async.docs.security import MOST, Alternative, alternatives_of, words_of
from ligand_async.principal import Requirement
from tests.docs.documents import describe, operations
from tests.docs.test_views import POLICY, Page
from tests.services import NEVER_OPENED, make_app

ROOT = Path(__file__).parents[2]
BEARER = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
DISCOVERY = "/.well-known/openid-configuration"
OAUTH = {"oauth_authorization_url": "https://i.example/authorize", "oauth_token_url": "https://t.example/token"}
ISSUER = {"oidc_issuer": "https://i.example/realm", "oidc_audience": "shop"}


@operation
async def list_things() -> str:
    """List things.

    All of them.
    """
    return "x"


def app_of(*marks: Callable[[Any], Any] | Requirement | None, settings: Any = None, **options: Any) -> Quart:
    """Make a service with an operation for each: a mark, a requirement, or none."""
    things = Blueprint("things", __name__)
    for index, mark in enumerate(marks):

        @operation
        async def view() -> str:
            """Do something."""
            return "x"

        view.__name__ = f"do_{index}"
        if isinstance(mark, Requirement):
            requires(mark)(view)
        elif mark is not None:
            mark(view)
        things.add_url_rule(f"/{index}", f"do_{index}", view)
    return make_app(NEVER_OPENED, things, database=None, settings=settings, **options)


def document_with(*marks: Any, **options: Any) -> dict[str, Any]:
    return describe(app_of(*marks, **options))


def schemes(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["components"].get("securitySchemes", {})
    return found


def first(document: dict[str, Any]) -> dict[str, Any]:
    """Return what is told of the first operation."""
    told: dict[str, Any] = document["paths"]["/0"]["get"]
    return told


async def nobody(credentials: Any) -> None:
    return None


def test_a_closed_service_takes_tokens() -> None:
    """Bearer tokens always; and the issuer says where they come from, the development issuer too."""
    found = schemes(document_with(None))

    assert found["bearer"] == BEARER
    assert list(found) == ["bearer", "openIdConnect"]
    assert found["openIdConnect"] == {
        "type": "openIdConnect",
        "openIdConnectUrl": f"http://127.0.0.1:8000/_dev/issuer{DISCOVERY}",
    }


@pytest.mark.parametrize("tokens", ["opaque", "both"])
def test_an_opaque_token_is_no_jwt(tokens: str) -> None:
    """No format is told where tokens need not be signed ones."""
    client = {"oidc_client_id": "shop", "oidc_client_secret": "s" * 40}
    found = schemes(document_with(None, settings={**ISSUER, **client, "oidc_tokens": tokens}))

    assert found["bearer"] == {"type": "http", "scheme": "bearer"}


@pytest.mark.parametrize(("tokens", "scheme"), [("jwt", BEARER), ("opaque", {"type": "http", "scheme": "bearer"})])
def test_a_document_without_settings_takes_tokens(tokens: str, scheme: dict[str, str]) -> None:
    """Where it is written no issuer is known; where it is served there must be one."""
    document = document_with(role("user"), public, environment="cli", settings={"oidc_tokens": tokens})

    assert schemes(document) == {"bearer": scheme}
    assert [told["security"] for told in operations(document).values()] == [[{"bearer": ["user"]}], []]


def test_a_document_without_settings_takes_what_the_service_brings() -> None:
    """Whose callers prove who they are otherwise is not said to take tokens."""
    document = document_with(None, environment="cli", authenticators=[APIKeyAuthenticator(nobody)])

    assert schemes(document).keys() == {"apiKey"}


def test_every_issuer_is_named() -> None:
    """In the order of the settings."""
    issuers = ("https://b.example/realm/", "https://a.example")
    found = schemes(document_with(None, settings={"oidc_issuer": issuers, "oidc_audience": "shop"}))

    assert [name for name in found if name != "bearer"] == ["openIdConnect", "openIdConnect2"]
    assert found["openIdConnect"]["openIdConnectUrl"] == f"https://b.example/realm{DISCOVERY}"
    assert found["openIdConnect2"]["openIdConnectUrl"] == f"https://a.example{DISCOVERY}"


def test_oauth_2_names_all_scopes() -> None:
    """Where its two addresses are settings; every scope that some operation asks for can be asked for."""
    marks = (scope("b:write") | ~scope("c"), role("x") & scope("a:read"), public)
    found = schemes(document_with(*marks, settings={**ISSUER, **OAUTH}))

    assert found["oauth2"] == {
        "type": "oauth2",
        "flows": {
            "authorizationCode": {
                "authorizationUrl": "https://i.example/authorize",
                "tokenUrl": "https://t.example/token",
                "scopes": {"a:read": "", "b:write": "", "c": ""},
            }
        },
    }


@pytest.mark.parametrize("name", OAUTH)
def test_half_of_oauth_2_is_none(name: str) -> None:
    """One address alone is of no use to a client."""
    assert "oauth2" not in schemes(document_with(None, settings={**ISSUER, name: OAUTH[name]}))


def test_other_ways_to_show_who_one_is_are_described() -> None:
    """Each authenticator says how; one that does not say it is left out."""
    door = type("Door", (), {"challenge": None, "authenticate": nobody})()
    keys = [APIKeyAuthenticator(nobody), APIKeyAuthenticator(nobody, header="X-Other")]
    document = document_with(None, authenticators=[*keys, BasicAuthenticator(nobody, realm="Shop"), door])

    assert {name: scheme for name, scheme in schemes(document).items() if name not in {"bearer", "openIdConnect"}} == {
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "apiKey2": {"type": "apiKey", "in": "header", "name": "X-Other"},
        "basic": {"type": "http", "scheme": "basic"},
    }
    assert {"apiKey2": []} in first(document)["security"]


def test_an_open_service_speaks_of_no_security() -> None:
    """Where nothing is closed there is nothing to say, not even that nothing is asked for."""
    document = document_with(public, public)

    assert schemes(document) == {}
    assert [told for told in operations(document).values() if "security" in told or "401" in told["responses"]] == []


ANY: list[dict[str, list[str]]] = [{"bearer": []}, {"openIdConnect": []}]


@pytest.mark.parametrize(
    ("mark", "security", "words"),
    [
        (public, [], ""),
        (None, ANY, ""),
        (role("user"), [{"bearer": ["user"]}, {"openIdConnect": []}], "Requires role `user`."),
        (scope("a"), [{"bearer": []}, {"openIdConnect": ["a"]}], "Requires scope `a`."),
        (
            role("user") | scope("a"),
            [{"bearer": ["user"]}, {"openIdConnect": []}, {"bearer": []}, {"openIdConnect": ["a"]}],
            "Requires role `user` or scope `a`.",
        ),
        (
            role("user") & scope("a") & scope("b"),
            [{"bearer": ["user"]}, {"openIdConnect": ["a", "b"]}],
            "Requires role `user` and scope `a` and scope `b`.",
        ),
        (
            (role("x") | role("y")) & scope("a"),
            [{"bearer": ["x"]}, {"openIdConnect": ["a"]}, {"bearer": ["y"]}],
            "Requires (role `x` or role `y`) and scope `a`.",
        ),
        (claim("tenant", "acme"), ANY, "Requires claim `tenant` = `acme`."),
        (claim("staff", True), ANY, "Requires claim `staff` = `true`."),
        (~role("guest"), ANY, "Requires not role `guest`."),
        (~(role("a") | scope("b")), ANY, "Requires not (role `a` or scope `b`)."),
        (~~role("a"), [{"bearer": ["a"]}, {"openIdConnect": []}], "Requires not not role `a`."),
        (role("od`d"), [{"bearer": ["od`d"]}, {"openIdConnect": []}], "Requires role `` od`d ``."),
    ],
)
def test_an_operation_tells_who_may_call(mark: Any, security: Any, words: str) -> None:
    """One requirement for each way and scheme: roles for bearer tokens, scopes for OpenID Connect; and words."""
    told = first(document_with(mark, None))

    assert told["security"] == security
    assert told.get("description", "") == words


def test_the_words_follow_the_description() -> None:
    """In a paragraph of their own."""
    things = Blueprint("things", __name__)
    things.add_url_rule("/", "list_things", requires(role("user"))(list_things))

    told = operations(describe(make_app(NEVER_OPENED, things, database=None)))["list_things"]

    assert told["description"] == "All of them.\n\nRequires role `user`."


@pytest.mark.parametrize(
    ("mark", "statuses"), [(public, set()), (None, {"401"}), (role("x"), {"401", "403"}), (~scope("x"), {"401", "403"})]
)
def test_refusals_are_answers(mark: Any, statuses: set[str]) -> None:
    """401 where a principal is needed, 403 where not every principal will do; a public operation promises neither."""
    told = first(document_with(mark, None))["responses"]

    assert told.keys() & {"401", "403"} == statuses
    for status in statuses:
        assert told[status]["content"]["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    if statuses:
        assert told["401"]["headers"]["WWW-Authenticate"]["required"] is True


def test_marks_of_blueprints_and_methods_are_told() -> None:
    """What is told is what is enforced: the nearest mark."""

    class Thing(MethodView):
        @operation
        async def get(self) -> str:
            """Read."""
            return "x"

        @requires(role("admin"))
        @operation
        async def put(self) -> str:
            """Write."""
            return "x"

    things = requires(scope("things"))(Blueprint("things", __name__))
    things.add_url_rule("/", view_func=Thing.as_view("thing"))

    told = describe(make_app(NEVER_OPENED, things, database=None))["paths"]["/"]

    assert {"openIdConnect": ["things"]} in told["get"]["security"]
    assert {"bearer": ["admin"]} in told["put"]["security"]


def test_what_quart_schema_is_told_goes_first() -> None:
    """Its decorator replaces an operation's requirements, and its schemes are described beside ours."""
    app = app_of(security_scheme([{"own": []}]), None)
    app.extensions["QUART_SCHEMA"].security_schemes = {"own": HttpSecurityScheme(scheme="digest")}
    document = describe(app)

    assert first(document)["security"] == [{"own": []}]
    assert list(schemes(document)) == ["bearer", "openIdConnect", "own"]


def test_a_closed_document_is_valid() -> None:
    """OpenAPI 3.1, whatever is required."""
    marks = (public, None, role("a") & scope("b") | ~claim("c", 5), scope("d"))
    document = document_with(*marks, settings={**ISSUER, **OAUTH}, authenticators=[APIKeyAuthenticator(nobody)])

    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


PRINT = "import sys; from tests.docs.test_security import closed_bytes; sys.stdout.buffer.write(closed_bytes())"


def closed_bytes() -> bytes:
    return document_of(app_of(scope("b") & scope("a") | scope("d") & scope("c"), role("z") | role("y"))).content


def test_another_process_says_the_same_of_a_closed_service() -> None:
    """Sets of scopes and roles are told in one order, whatever the hash seed."""
    said = subprocess.run(
        [sys.executable, "-c", PRINT],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        timeout=60,
    ).stdout
    assert said == closed_bytes()


names = st.sampled_from("abc")
simple = st.builds(role, names) | st.builds(scope, names)


def both(one: Requirement, other: Requirement) -> Requirement:
    return one & other


def either(one: Requirement, other: Requirement) -> Requirement:
    return one | other


def without(one: Requirement, other: Requirement) -> Requirement:
    return one & ~other


def grow(*joints: Any) -> Any:
    """Return requirements that are joined in these ways."""
    return st.recursive(
        simple, lambda inner: st.one_of(*(st.builds(joint, inner, inner) for joint in joints)), max_leaves=6
    )


positive = grow(both, either)
partly = grow(without, either)


def is_met(way: Alternative, principal: Principal) -> bool:
    return principal.roles.issuperset(way.roles) and principal.scopes.issuperset(way.scopes)


@given(positive, st.frozensets(names), st.frozensets(names))
def test_the_alternatives_say_what_the_requirement_says(
    requirement: Requirement, roles: frozenset[str], scopes: frozenset[str]
) -> None:
    """Of roles and scopes without negation, a principal meets one of them exactly if it meets the requirement."""
    principal = Principal(subject="ada", issuer="i", roles=roles, scopes=scopes)
    assert any(is_met(way, principal) for way in alternatives_of(requirement)) == requirement.is_met(principal)


@given(partly, st.frozensets(names))
def test_the_alternatives_ask_for_no_more(requirement: Requirement, roles: frozenset[str]) -> None:
    """What cannot be said is left out, so that nobody is kept from trying who may."""
    principal = Principal(subject="ada", issuer="i", roles=roles, scopes=roles)
    assert not requirement.is_met(principal) or any(is_met(way, principal) for way in alternatives_of(requirement))


def test_too_many_alternatives_are_not_told() -> None:
    """Thousands of requirements would tell nobody anything; the words still say it."""
    either, both = role("0"), role("x")
    for index in range(MOST):
        either = either | role(str(index + 1))
        both = both & (role(f"a{index}") | role(f"b{index}"))

    assert alternatives_of(either) == [Alternative()]
    assert len(alternatives_of(both)) <= MOST
    assert words_of(both).count("or") == MOST


class Odd(Requirement):
    def is_met(self, principal: Principal) -> bool:
        return len(principal.subject) % 2 == 1

    def __str__(self) -> str:
        return "an odd name"


def test_a_requirement_of_a_service_s_own_is_told_in_its_words() -> None:
    """OpenAPI cannot say it."""
    assert (alternatives_of(Odd()), words_of(Odd())) == ([Alternative()], "an odd name")


@pytest.mark.parametrize(
    ("settings", "origins"),
    [
        ({}, ["http://127.0.0.1:8000"]),
        (ISSUER, ["https://i.example"]),
        ({**ISSUER, **OAUTH}, ["https://i.example", "https://t.example"]),
        (
            {"oidc_issuer": ("https://B.example:8443/x", "http://[::1]:9"), "oidc_audience": "shop"},
            ["http://[::1]:9", "https://b.example:8443"],
        ),
        ({"oidc_issuer": "https://evil;script-src", "oidc_audience": "shop"}, []),
    ],
)
async def test_the_page_speaks_with_those_who_sign_people_in(settings: dict[str, Any], origins: list[str]) -> None:
    """Its policy names the origins of the issuers and of the OAuth addresses, and no others; nor another directive."""
    response = await app_of(None, settings=settings).test_client().get("/docs")
    policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))

    assert policy == POLICY | {"connect-src": " ".join(["'self'", *origins])}


@pytest.mark.parametrize("client_id", ["docs", "<\"'&>"])
async def test_the_page_knows_its_client(client_id: str) -> None:
    """By an attribute of its script, as its policy allows no inline script."""
    app = app_of(None, settings={**ISSUER, **OAUTH, "oauth_docs_client_id": client_id})
    page = Page(await (await app.test_client().get("/docs")).get_data(as_text=True))

    assert page.data == {"data-client-id": client_id, "data-service": "../", "data-document": "openapi.json"}
