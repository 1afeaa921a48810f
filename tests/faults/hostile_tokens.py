"""Access tokens that must be refused, most of them correctly signed."""

import functools
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import ECKey
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from tests.auth.issuing import AUDIENCE, Issuer, SigningKey, rsa_key

RSA = SigningKey("RS256", "rsa", key=rsa_key(2048))
EDWARDS = SigningKey("Ed25519", "edwards")
P384 = SigningKey("ES384", "p384")
# Published, and not to be used.
SHORT = SigningKey("RS256", "short", key=rsa_key(1024))
SECRET = SigningKey("HS256", "secret")
FOR_ENCRYPTION = SigningKey("ES256", "encryption")
FOR_SIGNING = SigningKey("ES256", "operations")
TWINS = (SigningKey("ES256", "twin"), SigningKey("ES256", "twin"))
FOR_ES384 = SigningKey("ES256", "for-es384")
NOT_PUBLISHED = SigningKey("ES256", "unknown")
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256


def make_issuer() -> Issuer:
    """Make an issuer with good keys and odd ones."""
    first = SigningKey()
    issuer = Issuer(keys=[first, RSA, EDWARDS, P384])
    issuer.published = [
        *(key.published() for key in issuer.keys),
        SHORT.published(),
        {**SECRET.key.as_dict(private=True), "kid": "secret", "alg": "HS256"},
        FOR_ENCRYPTION.published(use="enc"),
        FOR_SIGNING.published(key_ops=["sign"]),
        *(key.published() for key in TWINS),
        FOR_ES384.published(alg="ES384"),
        {"kty": "EC", "crv": "P-256", "kid": "broken", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-1", "kid": "curve"},
        {"kty": "AKP", "kid": "of-the-future"},
        None,
        "key",
    ]
    return issuer


@dataclass(frozen=True)
class Hostile:
    """A token that must be refused.

    Attributes:
        name: What is wrong with it.
        token: The token.
        status: How it is refused over HTTP.
    """

    name: str
    token: str
    status: int = 401


def hostile_tokens(issuer: Issuer) -> Iterator[Hostile]:
    """Yield tokens against an issuer, each wrong in one way."""
    for make in (shapes, headers, keys, times, names, payloads, signatures, injections):
        for name, token in make(issuer):
            yield Hostile(f"{make.__name__}: {name}", token)
    for name, token in malformed(issuer):
        yield Hostile(f"malformed: {name}", token, 400)
    # Longer than what the guard takes for all header fields together.
    yield Hostile("too long", issuer.mint(padding="x" * 12_300), 431)


def good_tokens(issuer: Issuer) -> Iterator[str]:
    """Yield tokens that must be accepted, without end."""
    while True:
        for key in (*issuer.keys, *issuer.keys):
            yield issuer.mint(key=key, aud=["other", AUDIENCE])
        yield issuer.mint(key=EDWARDS, algorithm="EdDSA")
        yield issuer.mint(header={"typ": "application/AT+JWT", "x5t": "x", "unknown": 1})


def with_raw(issuer: Issuer, **claims: str) -> bytes:
    """Return a payload in which claims have JSON texts for values."""
    whole = {name: json.dumps(value) for name, value in issuer.claims().items()} | claims
    return ("{" + ",".join(f'"{name}":{value}' for name, value in whole.items()) + "}").encode()


def shapes(issuer: Issuer) -> Iterator[tuple[str, str]]:
    good = issuer.mint()
    header, payload, signature = good.split(".")
    yield "one letter", "a"
    yield "one part", header
    yield "two parts", f"{header}.{payload}"
    yield "four parts", f"{good}.{signature}"
    yield "five parts, as a JWE", f"{header}.a.{payload}.{signature}.a"
    yield "three dots", "..."
    yield "only dots", ".."
    yield "no header", f".{payload}.{signature}"
    yield "no payload", f"{header}..{signature}"
    yield "no signature", f"{header}.{payload}."
    yield "padding", f"{header}.{payload}.{signature}=="
    yield "padding of the header", f"{header}=.{payload}.{signature}"
    yield "the other alphabet", f"{header}.{payload}.{'+/' + signature[2:]}"
    yield "quoted", f'"{good}"'
    yield "a letter of Latin-1", f"{header}.{payload}é.{signature}"
    yield "a letter too many in the header", f"{header}A.{payload}.{signature}"
    yield "a letter too many in the payload", f"{header}.{payload}A.{signature}"
    yield "a letter too many in the signature", f"{good}AAAA"
    yield "another spelling of the signature", good[:-1] + other_spelling(good[-1])
    yield "percent-encoded", good.replace(".", "%2E")


def malformed(issuer: Issuer) -> Iterator[tuple[str, str]]:
    """Yield what is not one token (RFC 6750 section 3.1, `invalid_request`)."""
    good = issuer.mint()
    header, payload, signature = good.split(".")
    yield "a space inside", f"{header}. {payload}.{signature}"
    yield "a tab inside", f"{header}.\t{payload}.{signature}"
    yield "twice", f"{good},{good}"
    yield "twice with a space", f"{good} {good}"
    yield "the scheme twice", f"Bearer {good}"
    yield "the JSON form", json.dumps({"protected": header, "payload": payload, "signature": signature})


def other_spelling(letter: str) -> str:
    """Return another last letter of the same bytes: two of its bits mean nothing after 64 bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(letter) + 1]


def headers(issuer: Issuer) -> Iterator[tuple[str, str]]:
    for name in ("none", "None", "NONE", "nOnE", "", "es256", " ES256", "ES256 ", "ES256\0", "ES512", "ES256K", "dir"):
        yield f"alg {name!r}", issuer.mint(header={"alg": name})
        yield f"alg {name!r} without a signature", issuer.mint(header={"alg": name}, signature=b"")
    public = issuer.keys[0].key.as_dict(private=False)
    pem = ECKey.import_key(public).as_pem(private=False)
    for name in ("HS256", "HS384", "HS512"):
        with_secret = functools.partial(hmac.digest, pem, digest=f"sha{name[2:]}")
        yield f"{name} with the public key for a secret", issuer.mint(header={"alg": name}, signature=with_secret)
    yield "RS256 with a key for ES256", issuer.mint(header={"alg": "RS256"})
    yield "no alg", issuer.mint(header={"alg": None})
    odd: tuple[Any, ...] = (["ES256"], {"ES256": 1}, 5, True, 1.5)
    for value in odd:
        yield f"alg {value}", issuer.mint(header={"alg": value})
    for raw in (b'["alg"]', b'"alg"', b"5", b"null", b"true", b"{}", b"", b"x", b"{'alg':'ES256'}", b'{"alg":"ES256"'):
        yield f"the header {raw!r}", issuer.mint(header=raw)
    whole = b'"typ":"at+jwt","kid":"first"'
    yield "null for alg", issuer.mint(header=b'{"alg":null,' + whole + b"}")
    yield "alg twice", issuer.mint(header=b'{"alg":"none","alg":"ES256",' + whole + b"}")
    yield "alg twice, escaped", issuer.mint(header=b'{"\\u0061lg":"none","alg":"ES256",' + whole + b"}")
    yield "kid twice", issuer.mint(header=b'{"alg":"ES256","kid":"rsa",' + whole + b"}")
    yield "a member twice, inside", issuer.mint(header=b'{"alg":"ES256","x":{"a":1,"a":2},' + whole + b"}")
    yield "NaN", issuer.mint(header=b'{"alg":"ES256","x":NaN,' + whole + b"}")
    yield "more after it", issuer.mint(header=b'{"alg":"ES256",' + whole + b"}{}")
    yield "a byte order mark", issuer.mint(header=b'\xef\xbb\xbf{"alg":"ES256",' + whole + b"}")
    yield "UTF-16", issuer.mint(header=('{"alg":"ES256",' + whole.decode() + "}").encode("utf-16"))
    yield "no UTF-8", issuer.mint(header=b'{"alg":"ES256","x":"\xff",' + whole + b"}")
    yield "a lone surrogate", issuer.mint(header=b'{"alg":"ES256","x":"\\ud800",' + whole + b"}")
    yield "a lone surrogate for alg", issuer.mint(header=b'{"alg":"\\ud800",' + whole + b"}")
    yield "a comment", issuer.mint(header=b'{"alg":"ES256"/**/,' + whole + b"}")
    yield "deep", issuer.mint(header=b'{"alg":"ES256","x":' + b"[" * 3000 + b"]" * 3000 + b"," + whole + b"}")
    odd = (5, [], [{}], ["b64"], ["exp"], ["alg"], "exp", {})
    for value in odd:
        yield f"crit {value}", issuer.mint(header={"crit": value, "exp": 1})
    yield "null for crit", issuer.mint(header=b'{"alg":"ES256","crit":null,' + whole + b"}")
    for flag in (True, False):
        yield f"b64 {flag}", issuer.mint(header={"b64": flag})
        yield f"b64 {flag}, critical", issuer.mint(header={"b64": flag, "crit": ["b64"]})
    yield "compressed", issuer.mint(header={"zip": "DEF"})
    yield "encrypted", issuer.mint(header={"enc": "A256GCM"})
    for value in ("JWT", "jwt", "at+jwt ", "at-jwt", "id_token+jwt", "logout+jwt", "dpop+jwt", "application/jwt", ""):
        yield f"typ {value!r}", issuer.mint(header={"typ": value})
    odd = (5, ["at+jwt"], {"at+jwt": 1}, True)
    for value in odd:
        yield f"typ {value}", issuer.mint(header={"typ": value})
    yield "no typ", issuer.mint(header={"typ": None})
    yield "null for typ", issuer.mint(header=b'{"alg":"ES256","typ":null,"kid":"first"}')
    yield "no kid", issuer.mint(header={"kid": None})
    yield "null for kid", issuer.mint(header=b'{"alg":"ES256","typ":"at+jwt","kid":null}')
    for value in ("", " first", "FIRST", "../../first", "' OR 1=1", "é", "fi\0rst", "first\n", "x" * 513, "http://x/"):
        yield f"kid {value[:20]!r}", issuer.mint(header={"kid": value})
    odd = (5, ["first"], {"first": 1}, False)
    for value in odd:
        yield f"kid {value}", issuer.mint(header={"kid": value})


def keys(issuer: Issuer) -> Iterator[tuple[str, str]]:
    yield "a key that is not published", issuer.mint(key=NOT_PUBLISHED)
    yield "a key that took the name of a published one", issuer.mint(key=SigningKey())
    yield "RSA with 1024 bits", issuer.mint(key=SHORT)
    yield "a published secret", issuer.mint(key=SECRET)
    yield "a key for encryption", issuer.mint(key=FOR_ENCRYPTION)
    yield "a key that does not verify", issuer.mint(key=FOR_SIGNING)
    yield "a name of two keys", issuer.mint(key=TWINS[0])
    yield "the other key of that name", issuer.mint(key=TWINS[1])
    yield "a key for another algorithm", issuer.mint(key=FOR_ES384)
    yield "a key for RS256, used for PS256", issuer.mint(key=RSA, algorithm="PS256")
    yield "a key for RS256, used for RS512", issuer.mint(key=RSA, algorithm="RS512")
    yield "a key that cannot be read", issuer.mint(header={"kid": "broken"})
    yield "a key of an unknown curve", issuer.mint(header={"kid": "curve"})
    yield "a key of an unknown type", issuer.mint(header={"kid": "of-the-future"})
    bitcoin = SigningKey("ES256K", "first", key=ECKey.generate_key("P-256"))
    yield "ES256K", issuer.mint(key=bitcoin, algorithm="ES256", header={"alg": "ES256K"})
    yield "the key of another name", issuer.mint(header={"kid": "p384"})
    rogue = SigningKey()
    jwk = rogue.published()
    yield "a key of its own", issuer.mint(key=rogue, header={"jwk": jwk})
    yield "a key of its own and no name", issuer.mint(key=rogue, header={"jwk": jwk, "kid": None})
    yield "a key elsewhere", issuer.mint(key=rogue, header={"jku": f"{issuer.origin}/rogue"})
    yield "a certificate elsewhere", issuer.mint(key=rogue, header={"x5u": f"{issuer.origin}/rogue"})
    yield "a certificate of its own", issuer.mint(key=rogue, header={"x5c": ["MIIB"]})


def times(issuer: Issuer) -> Iterator[tuple[str, str]]:
    now = issuer.claims()["iat"]
    yield "no exp", issuer.mint(without=["exp"])
    yield "expired 31 seconds ago", issuer.mint(exp=now - 31)
    odd: tuple[Any, ...] = (None, "", "5", str(now + 300), True, False, [now + 300], {}, 0, -1, 10**13, -(10**13))
    for value in odd:
        yield f"exp is {value!r}", issuer.mint(exp=value)
    raw = ("NaN", "Infinity", "-Infinity", "1e400", "1" + "0" * 400, "1" + "0" * 5000, "1e308", "0x7fffffff", "+1")
    for text in raw:
        yield f"exp {text[:12]} ({len(text)})", issuer.mint(payload=with_raw(issuer, exp=text))
    for name in ("nbf", "iat"):
        later: dict[str, Any] = {name: now + 40}
        yield f"{name} in 40 seconds", issuer.mint(**later)
        for value in (None, str(now), True, [now], {}, 10**400):
            changed: dict[str, Any] = {name: value}
            yield f"{name} {str(value)[:12]}", issuer.mint(**changed)
        for text in ("NaN", "1e400", "-1e400"):
            yield f"{name} {text}", issuer.mint(payload=with_raw(issuer, **{name: text}))


def names(issuer: Issuer) -> Iterator[tuple[str, str]]:
    url = issuer.url
    odd: tuple[Any, ...] = (
        None,
        "",
        [url],
        {"iss": url},
        5,
        True,
        url + "/",
        url.upper(),
        url[:-1],
        url + "x",
        " " + url,
    )
    for value in (*odd, url + "\0", url + "#", "https" + url[4:], "https://id.example"):
        yield f"iss {value!r}", issuer.mint(iss=value)
    yield "no iss", issuer.mint(without=["iss"])
    listed: tuple[Any, ...] = (
        [],
        [[AUDIENCE]],
        [AUDIENCE, 5],
        [AUDIENCE, None],
        {AUDIENCE: 1},
        ["other"],
        5,
        True,
        None,
    )
    texts = ("", AUDIENCE + "/", AUDIENCE.upper(), AUDIENCE[:-1], AUDIENCE + "x", f"{AUDIENCE} other", "*")
    for value in (*listed, *texts):
        yield f"aud {value!r}", issuer.mint(aud=value)
    yield "no aud", issuer.mint(without=["aud"])
    yield "the audience in client_id", issuer.mint(without=["aud"], client_id=AUDIENCE)
    subjects: tuple[Any, ...] = (
        None,
        "",
        5,
        True,
        ["ada"],
        {},
        "ada\0",
        "\0",
        "a\nb",
        "a\x7f",
        "a\x85",
        "a\u202eb",
        "a" * 256,
    )
    for value in subjects:
        yield f"sub {str(value)[:10]!r}", issuer.mint(sub=value)
    yield "no sub", issuer.mint(without=["sub"])
    for value in (5, None, ["x"], "", "x\0", "x" * 256, {}):
        yield f"jti {str(value)[:10]!r}", issuer.mint(jti=value)
    for value in (5, ["tests"], "\n"):
        yield f"client_id {value!r}", issuer.mint(client_id=value)


def payloads(issuer: Issuer) -> Iterator[tuple[str, str]]:
    good = json.dumps(issuer.claims()).encode()
    raw: dict[str, bytes] = {
        "nothing": b"",
        "no claims": b"{}",
        "a list": b"[" + good + b"]",
        "a text": b'"ada"',
        "a number": b"5",
        "null": b"null",
        "no JSON": b"ada",
        "a nested token": issuer.mint().encode(),
        "more after it": good + b"x",
        "two": good + good,
        "cut": good[:-1],
        "a byte order mark": b"\xef\xbb\xbf" + good,
        "UTF-16": good.decode().encode("utf-16"),
        "UTF-32": good.decode().encode("utf-32"),
        "no UTF-8": good[:-1] + b',"x":"\xff"}',
        "an overlong NUL": good[:-1] + b',"x":"\xc0\x80"}',
        "a lone surrogate": good[:-1] + b',"x":"\\ud800"}',
        "a bare control character": good[:-1] + b',"x":"\x01"}',
        "a comma too many": good[:-1] + b",}",
        "NaN in another claim": good[:-1] + b',"x":NaN}',
        "Infinity in another claim": good[:-1] + b',"x":[-Infinity]}',
        "1e400 in another claim": good[:-1] + b',"x":{"y":[1e400]}}',
        "5000 digits in another claim": good[:-1] + b',"x":' + b"9" * 5000 + b"}",
        "deep lists": good[:-1] + b',"x":' + b"[" * 4000 + b"]" * 4000 + b"}",
        "deep objects": good[:-1] + b',"x":' + b'{"a":' * 1500 + b"1" + b"}" * 1500 + b"}",
        "exp twice": good[:-1] + b',"exp":1}',
        "iss twice": good[:-1] + b',"iss":"https://other"}',
        "aud twice": good[:-1] + b',"aud":"other"}',
        "sub twice": good[:-1] + b',"sub":"root"}',
        "sub twice, alike": good[:-1] + b',"sub":"ada"}',
        "sub twice, escaped": good[:-1] + b',"s\\u0075b":"root"}',
        "roles twice": good[:-1] + b',"roles":[],"roles":["admin"]}',
        "a name twice, inside": good[:-1] + b',"x":{"roles":[],"roles":["admin"]}}',
    }
    for name, payload in raw.items():
        yield name, issuer.mint(payload=payload)


def signatures(issuer: Issuer) -> Iterator[tuple[str, str]]:
    good, other = issuer.mint(), issuer.mint(sub="root", roles=["admin"])
    header, payload, signature = good.split(".")
    raw = urlsafe_b64decode(signature.encode())

    def signed(value: bytes) -> str:
        return f"{header}.{payload}.{urlsafe_b64encode(value).decode()}"

    yield "of another token", f"{header}.{payload}.{other.split('.')[2]}"
    yield "with another payload", f"{header}.{other.split('.')[1]}.{signature}"
    yield "one bit off", signed(bytes([raw[0] ^ 1]) + raw[1:])
    yield "the last bit off", signed(raw[:-1] + bytes([raw[-1] ^ 1]))
    yield "cut", signed(raw[:-1])
    yield "one byte more", signed(raw + b"\0")
    yield "one byte before", signed(b"\0" + raw)
    yield "halves swapped", signed(raw[32:] + raw[:32])
    yield "nothing but zeros", signed(bytes(64))
    yield "nothing but ones", signed(b"\xff" * 64)
    yield "one byte", signed(b"\0")
    yield "r of zero", signed(bytes(32) + raw[32:])
    yield "s of zero", signed(raw[:32] + bytes(32))
    yield "r and s of the order", signed(ORDER.to_bytes(32, "big") * 2)
    yield "DER", signed(b"\x30\x44\x02\x20" + raw[:32] + b"\x02\x20" + raw[32:])
    yield "1000 bytes", signed(bytes(1000))
    for key, length in ((RSA, 256), (EDWARDS, 64), (P384, 96)):
        head, body, _ = issuer.mint(key=key).split(".")
        for name, value in (("zeros", bytes(length)), ("ones", b"\xff" * length), ("another's", raw)):
            yield f"{key.algorithm}, {name}", f"{head}.{body}.{urlsafe_b64encode(value).decode()}"
    yield "RS256, one", issuer.mint(key=RSA, signature=bytes(255) + b"\1")


def injections(issuer: Issuer) -> Iterator[tuple[str, str]]:
    header, _, signature = issuer.mint().split(".")
    for name, changes in (
        ("a role added", {"roles": ["admin"]}),
        ("another subject", {"sub": "root"}),
        ("a longer life", {"exp": 4_000_000_000}),
        ("nothing changed but the id", {}),
    ):
        payload = urlsafe_b64encode(json.dumps(issuer.claims() | changes).encode()).decode()
        yield name, f"{header}.{payload}.{signature}"
    yield "another issuer's", issuer.mint(iss="https://accounts.example", key=NOT_PUBLISHED)
