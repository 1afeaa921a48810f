"""Access tokens changed by chance, the same for the same seed."""

import json
import random
from collections.abc import Callable
from typing import Any

from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from tests.auth.issuing import AUDIENCE, Issuer, SigningKey

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
ODD_CHARACTERS = "=+/ .,;:\"'~!{}[]%&*()"
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**15,
    10**400,
    float("nan"),
    float("inf"),
    "",
    "\0",
    "a",
    "none",
    "HS256",
    "x" * 300,
    [],
    [None],
    [AUDIENCE],
    {},
    {"a": {"b": []}},
    "https://api.example/",
    "\ud800",
    "at+jwt",
    "JWT",
    ["admin"],
)  # fmt: skip  (a table)
CLAIMS = ("iss", "aud", "sub", "exp", "nbf", "iat", "jti", "client_id", "azp", "roles", "scope", "x")
MEMBERS = ("alg", "typ", "kid", "crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c", "cty", "x")
ROGUE = SigningKey()


class Mutants:
    """Makes mutants of an issuer's good tokens.

    Args:
        issuer: The issuer.
        seed: What chance begins with.
    """

    def __init__(self, issuer: Issuer, seed: int) -> None:
        self.issuer = issuer
        self.chance = random.Random(seed)  # noqa: S311  (it is to be the same each time)
        self.good = [issuer.mint(key=key, roles=["user"], scope="a b") for key in issuer.keys]
        self.kinds: tuple[Callable[[str], str], ...] = (
            self.replace,
            self.insert,
            self.delete,
            self.swap,
            self.cut,
            self.flip,
            self.splice,
            self.rewrite,
            self.rename,
        )

    def unsigned(self) -> str:
        """Return a good token with one to three changes after it was signed."""
        token = self.chance.choice(self.good)
        for _ in range(self.chance.choice((1, 1, 1, 2, 3))):
            token = self.chance.choice(self.kinds)(token)
        return token

    def signed(self) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Return a token with odd members, correctly signed all the same, and what it holds."""
        key = self.chance.choice(self.issuer.keys)
        header: dict[str, Any] = {"alg": key.algorithm, "typ": "at+jwt", "kid": key.key_id}
        claims = self.issuer.claims() | {"roles": ["user"]}
        for _ in range(self.chance.choice((1, 1, 2, 3))):
            place, names = (header, MEMBERS) if self.chance.random() < 0.3 else (claims, CLAIMS)
            name = self.chance.choice(names)
            if self.chance.random() < 0.15:
                place.pop(name, None)
            else:
                place[name] = self.chance.choice(ODD_VALUES)
        token = self.issuer.mint(key=key, header=encoded(header), payload=encoded(claims))
        return token, header, claims

    def at(self, token: str) -> int:
        return self.chance.randrange(len(token)) if token else 0

    def letter(self) -> str:
        return self.chance.choice(ALPHABET if self.chance.random() < 0.8 else ODD_CHARACTERS)

    def replace(self, token: str) -> str:
        place = self.at(token)
        return token[:place] + self.letter() + token[place + 1 :]

    def insert(self, token: str) -> str:
        place = self.at(token)
        return token[:place] + self.letter() * self.chance.choice((1, 1, 4)) + token[place:]

    def delete(self, token: str) -> str:
        place = self.at(token)
        return token[:place] + token[place + self.chance.choice((1, 1, 4)) :]

    def swap(self, token: str) -> str:
        parts = token.split(".")
        self.chance.shuffle(parts)
        return ".".join(parts)

    def cut(self, token: str) -> str:
        place = self.at(token)
        return token[:place] if self.chance.random() < 0.5 else token[place:]

    def flip(self, token: str) -> str:
        """Flip a bit of what a part says."""
        return self.in_part(token, flip_bit)

    def splice(self, token: str) -> str:
        """Take a part of another good token."""
        parts, other = token.split("."), self.chance.choice(self.good).split(".")
        place = self.chance.randrange(min(len(parts), len(other)))
        return ".".join([*parts[:place], other[place], *parts[place + 1 :]])

    def rewrite(self, token: str) -> str:
        """Give a member another value."""
        return self.in_part(token, give_member)

    def rename(self, token: str) -> str:
        """Sign with a key of one's own that has the name of a published one."""
        signed = token.rpartition(".")[0]
        return f"{signed}.{text_of(ROGUE.sign(signed.encode()))}"

    def in_part(self, token: str, change: Callable[[bytes, random.Random], bytes]) -> str:
        parts = token.split(".")
        place = self.chance.randrange(len(parts))
        try:
            raw = urlsafe_b64decode(parts[place].encode())
        except ValueError:
            return self.replace(token)
        return ".".join([*parts[:place], text_of(change(raw, self.chance)), *parts[place + 1 :]])


def flip_bit(raw: bytes, chance: random.Random) -> bytes:
    if not raw:
        return b"\0"
    place = chance.randrange(len(raw))
    return raw[:place] + bytes([raw[place] ^ (1 << chance.randrange(8))]) + raw[place + 1 :]


def give_member(raw: bytes, chance: random.Random) -> bytes:
    try:
        document = json.loads(raw)
        document[chance.choice(CLAIMS + MEMBERS)] = chance.choice(ODD_VALUES)
    except (ValueError, TypeError):
        return flip_bit(raw, chance)
    return encoded(document)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def text_of(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode()
