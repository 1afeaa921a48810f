"""A token is taken apart strictly, before anything else looks at it."""

import pytest

from ligand_async.auth import InvalidToken
from ligand_async.auth.tokens.compact import MAX_TOKEN, EitherVerifier, read_compact
from ligand_async.principal import Principal
from tests.auth.issuing import Issuer, SigningKey

KEY = SigningKey()

ISSUER = Issuer(keys=[KEY])


def test_parts_are_told() -> None:
    """Algorithm, key, type, claims, signed bytes and signature are those of the token; nothing is verified."""
    token = ISSUER.mint(header={"typ": "AT+JWT"}, signature=b"any")

    read = read_compact(token, {"ES256"})

    assert (read.algorithm, read.key_id, read.type) == ("ES256", "first", "at+jwt")
    assert read.claims["sub"] == "ada"
    assert (read.signed.decode(), read.signature) == (token.rpartition(".")[0], b"any")


@pytest.mark.parametrize("size", [MAX_TOKEN + 1, 10 * MAX_TOKEN])
def test_long_token_is_refused(size: int) -> None:
    """More than 16 KiB are not looked at."""
    with pytest.raises(InvalidToken) as caught:
        read_compact(ISSUER.mint().ljust(size, "A"), {"ES256"})

    assert caught.value.reason == "shape"


def test_refusal_holds_nothing_of_the_token() -> None:
    """The error that a token causes does not carry it, neither in its text nor in what caused it."""
    with pytest.raises(InvalidToken) as caught:
        read_compact(ISSUER.mint(payload=b'{"secret":1,"secret":2}'), {"ES256"})

    assert "secret" not in f"{caught.value!r} {caught.value} {caught.value.reason}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_only_allowed_algorithms_are_read() -> None:
    """The list is the caller's."""
    with pytest.raises(InvalidToken) as caught:
        read_compact(ISSUER.mint(), {"RS256"})

    assert caught.value.reason == "algorithm"


class Named:
    """A verifier that believes everything, and says that it did."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def verify(self, token: str) -> Principal:
        return Principal(subject=self.name, issuer="", client_id=token)


@pytest.mark.parametrize(
    ("token", "chosen"),
    [
        ("eyJ.eyJ.c2ln", "jwt"),
        ("a-_.b-_.c-_", "jwt"),
        ("2YotnFZFEjr1zCsicMWpAA", "opaque"),
        ("a.b", "opaque"),
        ("a.b.", "opaque"),
        ("a.b.c=", "opaque"),
        ("a.b.c~", "opaque"),
        ("a.b.c\n", "opaque"),
        ("a.b.c.d.e", "opaque"),
        ("", "opaque"),
    ],
    ids=ascii,
)
async def test_shape_chooses_the_verifier(token: str, chosen: str) -> None:
    """Three parts in base64url are a signed token; anything else is asked about, an encrypted token too."""
    assert (await EitherVerifier(Named("jwt"), Named("opaque")).verify(token)).subject == chosen
