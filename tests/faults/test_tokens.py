"""Rows 67 to 83, 85 to 87 and 91 of the fault matrix: access tokens."""

import json
from typing import Any

import pytest

from ligand_async.auth import InvalidToken
from ligand_async.settings import DEFAULT_ALGORITHMS, Settings
from tests.auth.issuing import AUDIENCE, KEYS, METADATA, Issuer, SigningKey
from tests.auth.verifying import Clock, bearer, make_service, refused, trust, verify, verifying
from tests.faults.hostile_tokens import EDWARDS, P384, RSA, make_issuer, with_raw


async def status_of(database_url: str, issuer: Issuer, token: str, path: str = "/who", **settings: Any) -> int:
    """Return what a service answers to a token."""
    app = make_service(database_url, issuer, **settings)
    async with app.test_app() as running:
        return (await running.test_client().get(path, headers=bearer(token))).status_code


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256", "HS384", "", None, 5, ["ES256"]])
async def test_row_67_unsigned_and_symmetric_tokens(algorithm: Any) -> None:
    """Row 67: `alg` is one of the allowed ones, as a text; none, HS256, nothing and no text are refused."""
    with Issuer() as issuer:
        assert await refused(issuer.mint(header={"alg": algorithm}), issuer) == "algorithm"


def test_row_68_asymmetric_algorithms_by_default() -> None:
    """Row 68: nobody has to list algorithms; those of settings and verifier are the same, and all asymmetric."""
    assert trust(Issuer()).algorithms == Settings.load("testing").oidc_algorithms == DEFAULT_ALGORITHMS
    assert not {"none", "HS256", "HS384", "HS512"} & set(DEFAULT_ALGORITHMS)


@pytest.mark.parametrize("algorithm", ["HS256", "HS512", "none"])
def test_row_68_symmetric_algorithms_cannot_be_asked_for(algorithm: str) -> None:
    """Row 68: code cannot trust an issuer with a secret either. For settings see tests/settings/test_rules.py."""
    with pytest.raises(ValueError, match="asymmetric"):
        trust(Issuer(), algorithms=("ES256", algorithm))


@pytest.mark.parametrize(
    "header",
    [
        b'["alg"]',
        b'"alg"',
        b'{"alg":"ES256","typ":"at+jwt","crit":5}',
        b'{"alg":"ES256","typ":"at+jwt","crit":null}',
        b'{"alg":"ES256","typ":"at+jwt","crit":[{}]}',
        b'{"alg":"ES256","typ":"at+jwt","kid":"\\ud800"}',
        b'{"alg":"\\ud800"}',
        b"\xff",
    ],
)
async def test_row_69_headers_that_are_none(header: bytes) -> None:
    """Row 69: whatever a header is, the answer is a refusal and no other error."""
    with Issuer() as issuer:
        assert await refused(issuer.mint(header=header), issuer) in {
            "header",
            "header_extension",
            "key_id",
            "algorithm",
        }


@pytest.mark.parametrize("member", [{"crit": ["exp"]}, {"crit": []}, {"b64": False}, {"b64": True}])
async def test_row_70_header_extensions(member: dict[str, Any]) -> None:
    """Row 70: what would change how the rest is read is refused, also where it is signed."""
    with Issuer() as issuer:
        assert await refused(issuer.mint(header=member), issuer) == "header_extension"


@pytest.mark.parametrize("member", ["jku", "x5u", "jwk", "x5c"])
async def test_row_71_keys_in_the_token(member: str) -> None:
    """Row 71: keys and addresses in a token are not looked at; only the issuer's own addresses are asked."""
    rogue = SigningKey()
    with Issuer() as issuer, Issuer(keys=[rogue]) as other:
        value: Any = {"jwk": rogue.published(), "x5c": ["MIIB"]}.get(member, other.origin + KEYS)
        good, bad = issuer.mint(header={member: value}), issuer.mint(header={member: value}, key=rogue)

        assert (await verify(good, issuer)).subject == "ada"
        assert await refused(bad, issuer) == "signature"
        assert set(issuer.asked) == {METADATA, KEYS}
        assert not other.asked


async def test_row_72_unknown_key() -> None:
    """Row 72: an unknown kid is a refusal, and costs one fetch in 30 seconds, however many ask."""
    clock = Clock()
    with Issuer() as issuer:
        unknown = issuer.mint(key=SigningKey(key_id="unknown"))
        async with verifying(issuer, clock=clock) as verifier:
            await verifier.verify(issuer.mint())
            fetches = []
            for seconds in (29, 0, 0, 2, 0, 27, 4):
                clock.forward(seconds)
                with pytest.raises(InvalidToken):
                    await verifier.verify(unknown)
                fetches.append(issuer.asked[KEYS])

    assert fetches == [1, 1, 1, 2, 2, 2, 3]


async def test_row_72_rotated_key() -> None:
    """Row 72: a new key is found with the first token that it signed."""
    clock = Clock()
    with Issuer() as issuer:
        async with verifying(issuer, clock=clock) as verifier:
            await verifier.verify(issuer.mint())
            issuer.rotate()
            clock.forward(31)

            assert await verifier.verify(issuer.mint())


async def test_row_73_no_kid() -> None:
    """Row 73: a token without kid is accepted where the issuer has one key, and refused where it has several."""
    with Issuer(keys=[SigningKey(key_id=None)]) as issuer:
        assert await verify(issuer.mint(), issuer)
    with Issuer() as issuer:
        assert await verify(issuer.mint(header={"kid": None}), issuer)
    with Issuer(keys=[SigningKey(), SigningKey(key_id="second")]) as issuer:
        assert await refused(issuer.mint(header={"kid": None}), issuer) == "unknown_key"


@pytest.mark.parametrize("kind", ["at+jwt", "AT+JWT", "application/at+jwt"])
async def test_row_74_access_tokens_say_so(kind: str) -> None:
    """Row 74: the type of RFC 9068 is accepted, in any case."""
    with Issuer() as issuer:
        assert await verify(issuer.mint(header={"typ": kind}), issuer)


@pytest.mark.parametrize("kind", [None, "JWT", "jwt", "", "id_token+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt"])
async def test_row_74_other_tokens_are_refused(kind: str | None) -> None:
    """Row 74: without a type, or with another one, a token is refused by default: it may be an ID token."""
    with Issuer() as issuer:
        assert await refused(issuer.mint(header={"typ": kind}), issuer) == "type"


async def test_row_74_type_by_profile_and_by_issuer() -> None:
    """Row 74: a profile whose issuers send `JWT` accepts it, and an issuer can be trusted with other types."""
    with Issuer() as issuer:
        token = issuer.mint(header={"typ": "JWT"})

        assert await verify(token, trust(issuer, "auth0"))
        assert await verify(token, trust(issuer, token_types=("jwt",)))


@pytest.mark.parametrize(
    ("profile", "access", "other"),
    [
        ("keycloak", {"typ": "Bearer"}, {"typ": "ID"}),
        ("keycloak", {"typ": "Bearer", "nonce": "n"}, {"typ": "Refresh"}),
        ("keycloak", {"typ": "Bearer"}, {"typ": "Bearer", "at_hash": "x"}),
        ("keycloak", {"typ": "Bearer"}, {}),
        ("auth0", {}, {"nonce": "n"}),
        ("auth0", {}, {"at_hash": "x"}),
        ("entra", {"azp": "app"}, {"azp": "app", "nonce": "n"}),
        ("entra", {"appid": "app"}, {}),
        ("cognito", {"token_use": "access"}, {"token_use": "id"}),
        ("cognito", {"token_use": "access"}, {}),
        ("okta", {"cid": "app"}, {"cid": "app", "at_hash": "x"}),
        ("okta", {"cid": "app"}, {}),
        ("auth0", {}, {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
    ],
)
async def test_row_74_id_tokens_of_profiles(profile: str, access: dict[str, Any], other: dict[str, Any]) -> None:
    """Row 74: where the header does not tell an ID token from an access token, the claims do."""
    with Issuer() as issuer:
        trusted = trust(issuer, profile)

        assert await verify(issuer.mint(header={"typ": "JWT"}, **access), trusted)
        assert await refused(issuer.mint(header={"typ": "JWT"}, **other), trusted) == "not_an_access_token"


async def test_row_75_keycloak() -> None:
    """Row 75: a token as Keycloak makes it is accepted by its profile, and refused without it."""
    with Issuer("/realms/acme") as issuer:
        token = issuer.mint(
            header={"typ": "JWT"},
            aud=["account", AUDIENCE],
            typ="Bearer",
            azp="web",
            realm_access={"roles": ["admin"]},
            scope="openid email",
            without=["client_id"],
        )

        assert (await verify(token, trust(issuer, "keycloak"))).client_id == "web"
        assert await refused(token, issuer) == "type"


async def test_row_76_clocks_may_differ() -> None:
    """Row 76: up to 30 seconds past exp and up to 30 before iat and nbf a token is accepted, and not beyond."""
    clock = Clock()
    clock.now = now = float(int(clock.now))
    with Issuer() as issuer:
        good: tuple[dict[str, Any], ...] = ({"exp": now - 1}, {"exp": now - 29.9}, {"iat": now + 2}, {"nbf": now + 30})
        for claims in good:
            assert await verify(issuer.mint(**claims), issuer, clock=clock)
        assert await refused(issuer.mint(exp=now - 30), issuer, clock=clock) == "expired"
        assert await refused(issuer.mint(iat=now + 31), issuer, clock=clock) == "not_yet"
        assert await refused(issuer.mint(nbf=now + 31), issuer, clock=clock) == "not_yet"


@pytest.mark.parametrize("text", ['"4102444800"', "true", "false", "null", "[]", "{}"])
async def test_row_77_exp_is_a_number(text: str) -> None:
    """Row 77: exp that is a text, a boolean or anything but a number is refused."""
    with Issuer() as issuer:
        assert await refused(issuer.mint(payload=with_raw(issuer, exp=text)), issuer) == "exp"


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
async def test_row_77_exp_is_json(text: str) -> None:
    """Row 77: NaN is no JSON, and such a token is not read at all."""
    with Issuer() as issuer:
        assert await refused(issuer.mint(payload=with_raw(issuer, exp=text)), issuer) == "payload"


async def test_row_77_exp_is_required() -> None:
    """Row 77: a token that never ends is refused."""
    with Issuer() as issuer:
        assert await refused(issuer.mint(without=["exp"]), issuer) == "exp"


async def test_row_77_exp_may_have_a_fraction() -> None:
    """Row 77: a number of seconds may be no whole one (RFC 7519 section 2)."""
    clock = Clock()
    with Issuer() as issuer:
        assert await verify(issuer.mint(exp=clock.now + 60.5), issuer, clock=clock)


@pytest.mark.parametrize("text", ["1" + "0" * 400, "1e400", "1e308", "253402300800", "1" + "0" * 5000])
async def test_row_78_exp_beyond_all_calendars(text: str) -> None:
    """Row 78: an exp of 10^400, or past the year 9999, is refused."""
    with Issuer() as issuer:
        assert await refused(issuer.mint(payload=with_raw(issuer, exp=text)), issuer) in {"exp", "payload"}


async def test_row_79_issuer_is_exact() -> None:
    """Row 79: iss is the very text that is trusted: no list, slash, case, part or absence."""
    with Issuer("/tenant") as issuer:
        url = issuer.url
        for value in ([url], url + "/", url.upper(), url[:-1], url + "x", issuer.origin, "", 5, None):
            assert await refused(issuer.mint(iss=value), issuer) == "issuer"
        assert await refused(issuer.mint(without=["iss"]), issuer) == "issuer"


async def test_row_79_audience_is_exact() -> None:
    """Row 79: aud names this service, alone or in a list of texts: no slash, case, part or absence."""
    with Issuer() as issuer:
        odd: tuple[Any, ...] = (
            AUDIENCE + "/",
            AUDIENCE.upper(),
            AUDIENCE[:-1],
            AUDIENCE + "x",
            "",
            5,
            None,
            [],
            [AUDIENCE, 5],
            [[AUDIENCE]],
            {},
        )  # fmt: skip  (a table)
        for value in odd:
            assert await refused(issuer.mint(aud=value), issuer) == "audience"
        assert await refused(issuer.mint(without=["aud"]), issuer) == "audience"
        assert await verify(issuer.mint(aud=["other", AUDIENCE]), issuer)


@pytest.mark.parametrize("claim", ["exp", "iss", "aud", "sub", "jti", "roles"])
async def test_row_80_duplicate_claims(claim: str) -> None:
    """Row 80: a claim that is there twice is refused: two readers would take different ones."""
    with Issuer() as issuer:
        whole = json.dumps(issuer.claims() | {"roles": []})
        again = json.dumps((issuer.claims() | {"roles": ["admin"]})[claim])

        assert await refused(issuer.mint(payload=f'{whole[:-1]},"{claim}":{again}}}'.encode()), issuer) == "payload"


@pytest.mark.parametrize("text", ["[" * 4000 + "]" * 4000, '{"a":' * 1500 + "1" + "}" * 1500])
async def test_row_81_deep_json(text: str) -> None:
    """Row 81: signed JSON of thousands of levels is refused, and breaks nothing."""
    with Issuer() as issuer:
        assert await refused(issuer.mint(payload=with_raw(issuer, x=text)), issuer) == "payload"


async def test_row_82_refused_before_any_cryptography() -> None:
    """Row 82: more than 16 KiB, an encrypted token and a compressed one are refused before a key is looked for."""
    with Issuer() as issuer:
        async with verifying(issuer) as verifier:
            header, payload, signature = issuer.mint().split(".")
            jwe = f"{header}.{signature}.{signature}.{payload}.{signature}"
            for token in (issuer.mint(x="x" * 12_300), jwe, issuer.mint(header={"zip": "DEF"}), "x" * 1_000_000):
                with pytest.raises(InvalidToken):
                    await verifier.verify(token)
            assert issuer.asked[KEYS] == 0
            assert await verifier.verify(issuer.mint(x="x" * 11_000))
            assert issuer.asked[KEYS] == 1


@pytest.mark.parametrize(
    "subject", ["a\0b", "\0", "a\nb", "a\x1fb", "a\x7f", "a\x85b", "a\u202eb", "", "a" * 256, 5, None]
)
async def test_row_83_subject_can_be_printed(subject: Any) -> None:
    """Row 83: a subject with NUL, with what cannot be printed, too long or no text is refused."""
    with Issuer() as issuer:
        assert await refused(issuer.mint(sub=subject), issuer) == "sub"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "bEaReR", "BEARER"])
async def test_row_85_scheme_in_any_case(scheme: str, sqlite_url: str) -> None:
    """Row 85: the scheme's case means nothing (RFC 9110 section 11.1)."""
    with Issuer() as issuer:
        app = make_service(sqlite_url, issuer)
        async with app.test_app() as running:
            response = await running.test_client().get("/who", headers=bearer(issuer.mint(), scheme))

    assert response.status_code == 200


async def test_row_85_tokens_elsewhere_are_ignored(sqlite_url: str) -> None:
    """Row 85: a token in the query, in a form or in a cookie is no token: addresses end up in logs."""
    with Issuer() as issuer:
        token = issuer.mint()
        app = make_service(sqlite_url, issuer)
        async with app.test_app() as running:
            client = running.test_client()
            in_query = await client.get(f"/who?access_token={token}")
            in_form = await client.post("/who", form={"access_token": token})
            in_cookie = await client.get("/who", headers={"Cookie": f"access_token={token}"})

    assert [one.status_code for one in (in_query, in_form, in_cookie)] == [401, 401, 401]
    assert "error" not in in_query.headers["WWW-Authenticate"]


async def test_row_86_unsafe_keys_are_dropped() -> None:
    """Row 86: RSA of 1024 bits, secrets, keys for encryption and keys that share a kid verify nothing."""
    with make_issuer() as issuer:
        for key in (SigningKey("ES256", name) for name in ("short", "secret", "encryption", "operations", "twin")):
            assert await refused(issuer.mint(key=key), issuer) == "unknown_key"


async def test_row_87_one_odd_key() -> None:
    """Row 87: keys that nobody understands do not cost those beside them."""
    with make_issuer() as issuer:
        for key in issuer.keys:
            assert await verify(issuer.mint(key=key), issuer)

    assert {RSA, EDWARDS, P384} < set(issuer.keys)


@pytest.mark.parametrize(
    ("roles", "status"),
    [
        (None, 403),
        ("admin", 200),
        ("user admin", 403),
        (5, 401),
        (True, 401),
        ({"admin": True}, 401),
        ([["admin"]], 401),
        ([{"name": "admin"}], 401),
    ],
)
async def test_rows_91_130_roles_of_another_type(roles: Any, status: int, sqlite_url: str) -> None:
    """Rows 91, 130: no roles are a 403, a text is one role, and a token with anything else is not valid."""
    with Issuer() as issuer:
        assert await status_of(sqlite_url, issuer, issuer.mint(roles=roles), "/admin") == status


async def test_row_91_roles(sqlite_url: str) -> None:
    """Row 91: without roles a caller is known and may not; with the role it may."""
    with Issuer() as issuer:
        assert await status_of(sqlite_url, issuer, issuer.mint(), "/admin") == 403
        assert await status_of(sqlite_url, issuer, issuer.mint(roles=["user", "admin"]), "/admin") == 200


@pytest.mark.parametrize("path", ["realm_access.roles", "a.b.c.d", "https://x.example/roles"])
@pytest.mark.parametrize("value", [None, "x", 5, [], {"roles": "admin"}, {"roles": {"admin": 1}}, {"roles": [5, None]}])
async def test_rows_91_130_objects_on_the_way_of_another_type(path: str, value: Any, sqlite_url: str) -> None:
    """Rows 91, 130: nothing on the way is a 403; what is not an object on the way is a token that is not valid."""
    is_missing = value is None or (isinstance(value, dict) and path != "realm_access.roles")
    expected = 403 if is_missing else 200 if value == {"roles": "admin"} else 401
    with Issuer() as issuer:
        token = issuer.mint(**{"realm_access": value, "a": value, "https://x": value})

        assert await status_of(sqlite_url, issuer, token, "/admin", oidc_roles_claim=path) == expected
