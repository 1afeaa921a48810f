"""Hostile requests to the petstore, made from a seed: each holds a word that no answer may hold.

A name that the schema does not know is sent back in a pointer where it is short and plain, and so is a sane
`X-Request-ID`: that is promised. The word stands in values, and in names that are neither.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote
from uuid import UUID

PET = f"/pets/{UUID(int=1)}"
TOKEN = "{token}"  # stands for one where a request is made
JSON = "application/json"


@dataclass(frozen=True)
class Hostile:
    """A request as bytes, and the word in it."""

    kind: str
    sent: bytes
    word: bytes


def hostile_requests(seed: int, amount: int, token: str) -> Iterator[Hostile]:
    """Make so many requests, the same for the same seed.

    Args:
        seed: Of the dice.
        amount: How many.
        token: With which they may do everything, so that they are refused for what they are.
    """
    dice = random.Random(seed)  # noqa: S311  (not for secrets)
    makers: list[Callable[[random.Random, str], bytes]] = [hostile_body, hostile_path, hostile_query, hostile_header]
    for _ in range(amount):
        word = f"w{dice.getrandbits(80):020x}"
        maker = dice.choice(makers)
        sent = maker(dice, word).replace(TOKEN.encode(), token.encode())
        yield Hostile(maker.__name__.removeprefix("hostile_"), sent, word.encode())


def request(method: str, target: bytes | str, *fields: tuple[str, bytes | str], body: bytes = b"") -> bytes:
    """Write a request; a field that is given goes before the usual one."""
    target = target.encode() if isinstance(target, str) else target
    given = {name.lower() for name, _ in fields}
    usual: list[tuple[str, bytes | str]] = [
        ("Host", "127.0.0.1"),
        ("Connection", "close"),
        ("Authorization", f"Bearer {TOKEN}"),
    ]
    if body or method in {"POST", "PUT", "PATCH"}:
        usual.append(("Content-Length", str(len(body))))
    lines = [f"{method} ".encode() + target + b" HTTP/1.1"]
    for name, value in [*(field for field in usual if field[0].lower() not in given), *fields]:
        lines.append(name.encode() + b": " + (value.encode() if isinstance(value, str) else value))
    return b"\r\n".join([*lines, b"", b""]) + body


def hostile_body(dice: random.Random, word: str) -> bytes:
    """Send a body that is malformed, misfit or of another media type."""
    method, path = dice.choice([("POST", "/pets/"), ("PUT", PET), ("PATCH", PET)])
    others = ["text/plain", f"application/{word}", f"multipart/form-data; boundary={word}", "", "/"]
    kind = dice.choice([JSON] * 8 + others)
    fields: list[tuple[str, bytes | str]] = [("Content-Type", kind)] if kind else []
    if dice.random() < 0.05:
        fields.append(("Content-Encoding", dice.choice(["gzip", word, "identity, br"])))
    return request(method, path, *fields, body=body_of(dice, word))


def body_of(dice: random.Random, word: str) -> bytes:
    """Make a body that no pet is made of."""
    text = json.dumps(word)
    wrong = dice.choice(["null", "true", "-0", "[]", "{}", f"[{text}]", f'{{"a": {text}}}', "1e999", "NaN", "9" * 400])
    odd = dice.choice([f"<{word}>", f"{word}\n", word * 4, f"\u2028{word}", f"{word}\u0000", f'{word}"'])
    choices: list[Callable[[], str | bytes]] = [
        lambda: f'{{"name": {wrong}, "description": {text}}}' if wrong != text else "{}",
        lambda: f'{{"name": "", "description": {text}}}',
        lambda: f'{{"name": {text}, "name": {text}}}',
        lambda: json.dumps({"name": word, odd: word}),
        lambda: f'{{"name": {text}, "description": "hate {word}"}}',
        lambda: f'{{"name": "{word}\\ud800"}}',
        lambda: f'{{"name": "{word}\\u0000"}}',
        lambda: f'{{"name": "{word * 20}"}}',
        lambda: f'{{"name": {"[" * (depth := dice.randrange(1, 3000))}{text}{"]" * depth}}}',
        lambda: f'{{"name": {text}, "extra": {wrong}, "{word * 4}": 1}}',
        lambda: f"[{text}]",
        lambda: text,
        lambda: f"{{'name': '{word}'}}",
        lambda: f'{{"name": {text},}}',
        lambda: f'{{"name": {text}'.encode() + dice.randbytes(dice.randrange(40)),
        lambda: dice.randbytes(dice.randrange(200)) + word.encode(),
        lambda: f'{{"name": {text}}}'.encode(dice.choice(["utf-16", "utf-32", "utf-16-be"])),
        lambda: b'{"name": "' + word.encode() + b'\xff"}',
        lambda: b"\x1f\x8b" + word.encode(),
        lambda: b"",
        lambda: flipped(dice, f'{{"name": 5, "description": {text}}}'.encode()),
    ]
    made = dice.choice(choices)()
    return made if isinstance(made, bytes) else made.encode()


def flipped(dice: random.Random, raw: bytes) -> bytes:
    """Change some bytes."""
    changed = bytearray(raw)
    for _ in range(dice.randrange(1, 5)):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


ESCAPED = "%00 %ff %0a %0d%0a %2e%2e %2f %5c % %zz %u0041 %c0%80 %ed%a0%80".split()  # noqa: SIM905  (a line each would take a dozen)
QUOTED = [quote(character) for character in "\u0663\u00e9\u202e\U0010ffff<>\"'`|{}^\\\x7f "]
PLAIN = ["..", ".", "//", ";", "@", ":", "&", "=", "+", "$", "!", "*", "~", "(", ",", "\\", "|", '"', "<", "{{7*7}}"]


def odd_text(dice: random.Random, word: str) -> str:
    """Write a word among odd characters."""
    parts = [dice.choice(ESCAPED + QUOTED + PLAIN) for _ in range(dice.randrange(1, 8))]
    parts.insert(dice.randrange(len(parts) + 1), word)
    return "".join(parts)


def hostile_path(dice: random.Random, word: str) -> bytes:
    """Ask for what is nowhere."""
    method = dice.choice(["GET"] * 6 + ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "get"])
    text = odd_text(dice, word)
    targets: list[str | bytes] = [
        f"/pets/{text}",
        f"/{text}",
        f"/pets/{text}/",
        f"{PET}{text}",
        f"{PET}/{word}",
        f"/problems/{text}",
        f"/docs/{text}",
        f"//{word}/..",
        word,
        f"http://[{word}",
        f"http://127.0.0.1/{word}",
        f"?{word}",
        f"/{word * dice.randrange(1, 900)}",
        f"/{word}".encode() + bytes(dice.randrange(128, 256) for _ in range(5)),
    ]
    return request(method, dice.choice(targets))


def hostile_query(dice: random.Random, word: str) -> bytes:
    """Ask for a list in ways that it does not know."""
    text = odd_text(dice, word).replace("&", "").replace("=", "")  # it stands in values
    number = dice.choice(["-1", "0", "1e3", "9" * 30, "9" * 5000, "NaN", "\u0663", "1.0", "", " 1", "0x10", "1_0"])
    query = dice.choice(
        [
            f"page={text}",
            f"page_size={word}",
            f"page={quote(number)}&page_size={word}",
            f"page=1&page={word}",
            f"%3C{text}=1",
            f"{word * 4}={word}",
            "&".join(f"page={word}" for _ in range(dice.randrange(300))),
            f"={text}&page=={text}",
            f"page[]={word}",
            f"page={number}&%00={word}".replace(" ", "+").replace("\u0663", "3"),
        ]
    )
    return request(dice.choice(["GET", "HEAD"]), f"/pets/?{query}")


def hostile_header(dice: random.Random, word: str) -> bytes:
    """Ask politely, with headers that are not."""
    odd = bytes(dice.choice([*range(33, 127), *range(128, 256)]) for _ in range(dice.randrange(1, 30)))
    value = odd + word.encode()
    fields: list[tuple[str, bytes | str]] = dice.choice(
        [
            [(dice.choice(NAMES), value)],
            [(dice.choice(NAMES), word)],
            [(dice.choice(NAMES), value), (dice.choice(NAMES), value)],
            [("Host", value)],
            [("Host", "127.0.0.1"), ("Host", word)],
            [("Host", f"{word}/?#@")],
            [("X-Request-ID", f"<{word}>")],
            [("X-Request-ID", word * 10)],
            [("Content-Length", dice.choice(["-1", "+5", word, "5, 5", "1" * 30, "99999999"]))],
            [("Cookie", f"{word}={word}; =;;{word}")],
            [
                (
                    "Authorization",
                    dice.choice([f"Bearer {word}", f"bearer a.{word}.b", f"Basic {word}", f"Bearer  ,{word}"]),
                )
            ],
            [("Authorization", f"Bearer {TOKEN}{word}")],
            [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {word}")],
            [("X-Long", word * dice.randrange(1, 1500))],
            [(f"X-{number}", word) for number in range(dice.randrange(150))],
            [(word, value)],
            [("Upgrade", dice.choice(["websocket", "h2c", word])), ("Connection", "Upgrade")],
        ]
    )
    path = dice.choice(["/pets/", PET, f"/{word}", "/livez"])  # `/readyz` is a 503 on a busy machine
    return request("GET", path, *fields)


NAMES = [
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "Content-Type",
    "Cookie",
    "Expect",
    "Forwarded",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Idempotency-Key",
    "Origin",
    "Prefer",
    "Range",
    "Referer",
    "TE",
    "User-Agent",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-HTTP-Method-Override",
    "X-Original-URL",
]
