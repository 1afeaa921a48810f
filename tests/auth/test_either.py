"""Which verifier a token goes to."""

import pytest

from ligand_async.auth.tokens.compact import EitherVerifier
from ligand_async.principal import Principal


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
