"""Send hostile requests to the petstore and print what answers them: `make probes`.

Two servers are asked: `ligand serve`, and the `hypercorn` command, which makes some replies itself. The exit status is
1 if `ligand serve` answers an error that is no problem document, a 5xx that the matrix does not want, or another status
than the matrix has.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.http import PROBLEM, WireReply, exchange_now, request
from tests.servers import get_token, served

JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
LIMIT = 1024 * 1024  # bytes, the default of max_body_bytes


@dataclass(frozen=True, slots=True)
class Probe:
    """One hostile request to the petstore.

    Attributes:
        row: Of the fault matrix.
        name: What is wrong with it.
        sent: Its bytes.
        statuses: Those that may answer it.
    """

    row: int
    name: str
    sent: bytes
    statuses: tuple[int, ...]


def get(target: str, *fields: str) -> bytes:
    return request("GET", target, *fields)


def post(body: bytes | str, *fields: str) -> bytes:
    raw = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    return request("POST", "/pets/", *(fields or (JSON,)), body=raw)


def pet(members: str) -> bytes:
    return post(f'{{"name": "Rex", {members}}}')


PROBES = (
    Probe(1, "unknown path", get("/nowhere"), (404,)),
    Probe(1, "unknown method for the path", request("PUT", "/pets/", JSON, body=b"{}"), (405,)),
    Probe(11, "target is a query alone", get("?x"), (400,)),
    Probe(12, "target is a broken URL", get("http://["), (400,)),
    Probe(12, "target is another host's URL", get("http://example.org/pets/"), (400, 421)),
    Probe(13, "no Host", request("GET", "/", host=None), (400,)),
    Probe(13, "two Hosts", get("/", "Host: other"), (400,)),
    Probe(13, "Content-Length: -1", request("POST", "/pets/", JSON, "Content-Length: -1"), (400,)),
    Probe(13, "Content-Length: 1e3", request("POST", "/pets/", JSON, "Content-Length: 1e3"), (400,)),
    Probe(13, "two Content-Lengths", request("POST", "/pets/", "Content-Length: 1", "Content-Length: 2"), (400,)),
    Probe(13, "Transfer-Encoding: gzip", request("POST", "/pets/", "Transfer-Encoding: gzip"), (501,)),
    Probe(13, "chunk without a length", request("POST", "/pets/", JSON, CHUNKED) + b"zz\r\n\r\n", (400,)),
    Probe(13, "space before a colon", get("/", "X-Odd : 1"), (400,)),
    Probe(13, "folded header", get("/", "X-Odd: 1\r\n folded"), (200, 400, 404)),
    Probe(13, "NUL in a header", get("/", "X-Odd: a\0b"), (400,)),
    Probe(13, "no HTTP at all", b"hello\r\n\r\n", (400,)),
    Probe(13, "TLS on a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400,)),
    Probe(14, "websocket without a key", get("/", *UPGRADE, "Sec-WebSocket-Version: 13"), (400,)),
    Probe(14, "websocket of version 8", get("/", *UPGRADE, KEY, "Sec-WebSocket-Version: 8"), (400,)),
    Probe(14, "websocket where there is none", get("/pets/", *UPGRADE, KEY, "Sec-WebSocket-Version: 13"), (404, 405)),
    Probe(23, "slash missing", get("/pets"), (308, 404)),
    Probe(24, "OPTIONS", request("OPTIONS", "/pets/"), (200, 204)),
    Probe(24, "HEAD", request("HEAD", "/pets/"), (200,)),
    Probe(26, "header of 20 KB", get("/pets/", "X-Long: " + "a" * 20_000), (431,)),
    Probe(26, "header of 60 KB", get("/pets/", "X-Long: " + "a" * 60_000), (431,)),
    Probe(26, "header of 200 KB", get("/pets/", "X-Long: " + "a" * 200_000), (431,)),
    Probe(26, "200 headers", get("/pets/", *(f"X-{n}: 1" for n in range(200))), (431,)),
    Probe(26, "15,000 headers", get("/pets/", *(f"X-{n}: 1" for n in range(15_000))), (431,)),
    Probe(27, "target of 20 KB", get("/" + "a" * 20_000), (414,)),
    Probe(27, "target of 200 KB", get("/" + "a" * 200_000), (414,)),
    Probe(27, "query of 20 KB", get("/pets/?name=" + "a" * 20_000), (414,)),
    Probe(28, "HTTP/9.9", b"GET /pets/ HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n", (505,)),
    Probe(28, "HTTP/1.0", b"GET /pets/ HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", (200,)),
    Probe(
        29,
        "Content-Length and Transfer-Encoding",
        request("POST", "/pets/", JSON, CHUNKED, "Content-Length: 3") + b"0\r\n\r\n",
        (400,),
    ),
    Probe(31, "Host: a b/c?d", request("GET", "/pets/", host="a b/c?d"), (400,)),
    Probe(31, "Host: a@b", request("GET", "/pets/", host="a@b"), (400,)),
    Probe(31, "Host: empty", request("GET", "/pets/", host=""), (400,)),
    Probe(32, "a host that is not trusted", request("GET", "/pets/", host="evil.example"), (421,)),
    Probe(33, "X-Forwarded-For", get("/pets/", "X-Forwarded-For: 1.2.3.4"), (200,)),
    Probe(34, "X-Forwarded-Proto: javascript", get("/pets/", "X-Forwarded-Proto: javascript"), (200,)),
    Probe(35, "%ff in the path", get("/pets/%ff"), (400,)),
    Probe(35, "%ff in the query", get("/pets/?name=%ff"), (400,)),
    Probe(35, "% alone", get("/pets/%zz"), (400,)),
    Probe(36, "%00 in the path", get("/pets/%00"), (400,)),
    Probe(36, "%00 in the query", get("/pets/?name=%00"), (400,)),
    Probe(37, "Arabic digit in the path", get("/pets/%D9%A3"), (404,)),
    Probe(37, "Arabic digit in the query", get("/pets/?page=%D9%A3"), (200, 422)),
    Probe(39, "TRACE", request("TRACE", "/pets/"), (405, 501)),
    Probe(39, "CONNECT", request("CONNECT", "127.0.0.1:80"), (400, 405, 501)),
    Probe(39, "a method of its own", request("BREW", "/pets/"), (405, 501)),
    Probe(40, "body is no JSON", post("{"), (400,)),
    Probe(40, "body is bad UTF-8", post(b'{"name": "\xff"}'), (400,)),
    Probe(40, "body is UTF-16", post('{"name": "Rex"}'.encode("utf-16")), (400,)),
    Probe(40, "body with a byte order mark", post(b'\xef\xbb\xbf{"name": "Rex"}'), (400,)),
    Probe(40, "no body", request("POST", "/pets/", JSON), (400, 422)),
    Probe(41, "5,000 levels", post("[" * 5_000 + "]" * 5_000), (400,)),
    Probe(41, "100,000 levels", post("[" * 100_000 + "]" * 100_000), (400,)),
    Probe(42, "compressed body", post(b"\x1f\x8b\x08\x00", JSON, "Content-Encoding: gzip"), (415,)),
    Probe(43, "Content-Type: text/plain", post('{"name": "Rex"}', "Content-Type: text/plain"), (415,)),
    Probe(43, "no Content-Type", post('{"name": "Rex"}', "Accept: */*"), (415,)),
    Probe(43, "a form", post("name=Rex", "Content-Type: application/x-www-form-urlencoded"), (415,)),
    Probe(44, "integer of 400 digits", pet('"description": ' + "9" * 400), (400, 422)),
    Probe(44, "page of 400 digits", get("/pets/?page=" + "9" * 400), (400, 422)),
    Probe(45, "NaN", pet('"description": NaN'), (400, 422)),
    Probe(45, "1e999", pet('"description": 1e999'), (400, 422)),
    Probe(46, "duplicate key", pet('"name": "Max"'), (400,)),
    Probe(47, "lone surrogate, escaped", post('{"name": "\\ud800"}'), (400,)),
    Probe(47, "lone surrogate, raw", post('{"name": "\ud800"}'), (400,)),
    Probe(48, "unknown key", pet('"colour": "red"'), (422,)),
    Probe(48, "unknown parameter", get("/pets/?colour=red"), (422,)),
    Probe(49, "number for a text", post('{"name": 5}'), (422,)),
    Probe(49, "true for a text", post('{"name": true}'), (422,)),
    Probe(36, "NUL in a text", post('{"name": "a\\u0000b"}'), (400, 422)),
    Probe(50, "body over the limit", post(b" " * (LIMIT + 1)), (413,)),
    Probe(
        50,
        "body over the limit in chunks",
        request("POST", "/pets/", JSON, CHUNKED) + b"100001\r\n" + b" " * 0x100001 + b"\r\n0\r\n\r\n",
        (413,),
    ),
    Probe(51, "Content-Length over the limit", request("POST", "/pets/", JSON, f"Content-Length: {LIMIT + 1}"), (413,)),
    Probe(51, "and nobody who reads it", request("GET", "/pets/", f"Content-Length: {10**12}"), (413,)),
    Probe(54, "body that does not come", request("POST", "/pets/", JSON, "Content-Length: 9"), (408,)),
    Probe(54, "head that does not end", b"GET /pets/ HTTP/1.1\r\nHo", (408,)),
    Probe(60, "%0a in the path", get("/pets/a%0aforged"), (400,)),
    Probe(65, "preflight of a foreign origin",
          request("OPTIONS", "/pets/", "Origin: https://evil.example", "Access-Control-Request-Method: POST"),
          (200, 204, 403)),
)  # fmt: skip


FACTORY = "examples.petstore.app:create_app"
SETTINGS = {"LIGAND_DATABASE_AUTO_UPGRADE": "true", "LIGAND_TRUSTED_HOSTS": "127.0.0.1"}
PATIENCE = 20.0  # seconds; a body that does not come is waited for by the server
TOGETHER = 8  # requests at once
HEADINGS = ("row", "input", "ligand serve", "content type", "problem type", "hypercorn", "content type", "")


def ask_all(*, by_ligand: bool) -> list[WireReply]:
    """Serve the petstore on a SQLite file, and send it everything."""
    target = FACTORY if by_ligand else f"{FACTORY}()"
    with (
        TemporaryDirectory() as directory,
        served(target, Path(directory), SETTINGS, by_ligand=by_ligand) as address,
        ThreadPoolExecutor(TOGETHER) as pool,
    ):
        field = f"\r\nAuthorization: Bearer {get_token(address, roles=['user'])}\r\n".encode()
        return list(
            pool.map(lambda probe: exchange_now(address, authorized(probe.sent, field), timeout=PATIENCE), PROBES)
        )


def authorized(sent: bytes, field: bytes) -> bytes:
    """Return a request with an access token if it would store a pet: it is to be refused for what it is."""
    return sent.replace(b"\r\n", field, 1) if sent.startswith(b"POST /pets/ ") else sent


def find_fault(probe: Probe, reply: WireReply) -> str:
    """Return what is wrong with an answer of our server, or nothing."""
    if reply.status is None:
        return "no answer"
    if reply.status >= 400 and kind_of(reply) != PROBLEM:
        return "no problem document"
    if reply.status not in probe.statuses:
        return f"should be {' or '.join(map(str, probe.statuses))}"
    return ""


def kind_of(reply: WireReply) -> str:
    """Return an answer's media type."""
    return reply.headers.get("content-type", "-").partition(";")[0]


def problem_of(reply: WireReply) -> str:
    """Return the type of the problem that an answer is."""
    return str(reply.document.get("type", "-")) if kind_of(reply) == PROBLEM and reply.body else "-"


def rows(ours: list[WireReply], stock: list[WireReply]) -> Iterator[tuple[str, ...]]:
    """Return the lines of the table."""
    for probe, mine, theirs in zip(PROBES, ours, stock, strict=True):
        yield (
            str(probe.row),
            probe.name,
            str(mine.status or "-"),
            kind_of(mine),
            problem_of(mine),
            str(theirs.status or "-"),
            kind_of(theirs),
            find_fault(probe, mine),
        )


def main() -> int:
    """Print the table, and return the exit status."""
    with ThreadPoolExecutor() as pool:
        ours, stock = pool.map(lambda by_ligand: ask_all(by_ligand=by_ligand), (True, False))
    table = [HEADINGS, *sorted(rows(ours, stock), key=lambda line: int(line[0]))]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    faults = sum(1 for line in table[1:] if line[-1])
    print(f"\n{len(PROBES)} inputs, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
