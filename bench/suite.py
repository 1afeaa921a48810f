"""The benchmark against other frameworks: `make bench`, or `python -m bench.suite`.

The services of `bench/peers` answer the same requests on the same database. Each has an environment of its own. All
servers stay up; each works alone, in turn, in every round: one process, pinned to one core. PostgreSQL and the load
generator (wrk) are pinned to the other. Before and after each turn the answers of a service are compared with what
they must be. Errors under load are kept apart and are never throughput. What is compared is ratios within rounds: the
absolute figures of a shared machine swing.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import asyncpg

from bench.peers.issuer import AUDIENCE, Issuer
from bench.report import GOALS, WITHOUT, write_report
from bench.results import REFERENCE, RESULTS, ROUTES, Result, Run, Turn, median_ratio
from ligand_async.testing import ThrowawayPostgres

ROOT = Path(__file__).parent.parent
ENVIRONMENTS = ROOT / ".bench"
REQUIREMENTS = Path(__file__).parent / "peers" / "requirements"
STAMP = "installed.lock"
SERVER_CORE, LOAD_CORE = 0, 1  # PostgreSQL, the issuer and wrk are children of this process, on the second
ROWS = 1000
FIRST_PORT = 18_500
OPTIONS = {"max_connections": "1000"}  # every service keeps its pools
START_TIMEOUT = 30.0  # seconds
CLOCK = os.sysconf("SC_CLK_TCK")

UVICORN = "uvicorn {app} {factory} --port {port} --no-access-log --log-level warning --loop uvloop --http httptools"
HYPERCORN = "hypercorn {target} -k {worker} --bind 127.0.0.1:{port} --workers 0"
GRANIAN = "granian {app} {factory} --interface asgi --port {port} --no-access-log --workers 1 --loop uvloop"


@dataclass(frozen=True)
class Stack:
    """A service under a server.

    Attributes:
        environment: Where it is installed: a file in `peers/requirements`.
        app: The application, `module:name`.
        server: The command that serves it.
        variables: Of its environment.
    """

    environment: str
    app: str
    server: str
    is_factory: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)

    def command(self, port: int) -> list[str]:
        """Return the command line."""
        text = self.server.format(
            app=self.app,
            target=f"{self.app}()" if self.is_factory else self.app,
            factory="--factory" if self.is_factory else "",
            port=port,
            worker="uvloop",
        )
        program, *arguments = text.split()
        return [str(ENVIRONMENTS / self.environment / "bin" / program), *arguments]


LIGAND = "bench.peers.ligand_service:create_app"
FASTAPI = "bench.peers.fastapi_service:app"
TUNED = "bench.peers.fastapi_tuned_service:app"
LITESTAR = "bench.peers.litestar_service:app"
QUART = "bench.peers.quart_service:app"
RAW = "bench.peers.raw_service:app"
STACKS = {
    REFERENCE: Stack("fastapi", FASTAPI, UVICORN),
    "ligand serve": Stack("ligand", LIGAND, f"ligand --app {LIGAND} serve --port {{port}}"),
    "ligand serve, h11": Stack(
        "ligand",
        LIGAND,
        f"ligand --app {LIGAND} serve --port {{port}}",
        variables={"LIGAND_HTTP1_READER": "h11"},
    ),
    "ligand_async, hypercorn": Stack("ligand", LIGAND, HYPERCORN, is_factory=True),
    "ligand_async, uvicorn": Stack("ligand", LIGAND, UVICORN, is_factory=True),
    "ligand_async, granian": Stack("ligand", LIGAND, GRANIAN, is_factory=True),
    "fastapi, hypercorn": Stack("fastapi", FASTAPI, HYPERCORN),
    "fastapi, granian": Stack("fastapi", FASTAPI, GRANIAN),
    "tuned fastapi, uvicorn": Stack("fastapi", TUNED, UVICORN),
    "tuned fastapi, hypercorn": Stack("fastapi", TUNED, HYPERCORN),
    "litestar, uvicorn": Stack("litestar", LITESTAR, UVICORN),
    "quart, hypercorn": Stack("quart", QUART, HYPERCORN),
    "quart, uvicorn": Stack("quart", QUART, UVICORN),
    "raw ASGI, uvicorn": Stack("raw", RAW, UVICORN),
    "raw ASGI, granian": Stack("raw", RAW, GRANIAN),
}


class WrongAnswer(Exception):
    """A service did not answer as it must."""


class Server:
    """A running service.

    Attributes:
        start: Milliseconds from the start of the process to its first 200.
    """

    def __init__(self, name: str, variables: Mapping[str, str], directory: Path, port: int, cores: str = "") -> None:
        self.name = name
        self.port = port
        self._log = directory / f"{re.sub(r'[^a-z]+', '-', name)}.log"
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("LIGAND_", "QUART_"))}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # in production the compiled files are there
        environment |= {"PYTHONPATH": str(ROOT), "LIGAND_ENVIRONMENT": "local"}
        environment |= {**variables, **STACKS[name].variables}
        began = time.perf_counter()
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                ["taskset", "-c", cores or str(SERVER_CORE), *STACKS[name].command(port)],  # noqa: S607  (found by PATH)
                cwd=directory,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while True:
            with contextlib.suppress(OSError):
                if self.ask("GET", "/ping")[0] == 200:
                    break
            if self.process.poll() is not None or time.perf_counter() - began > START_TIMEOUT:
                self.stop()
                raise RuntimeError(f"{name} did not start:\n{self.log()}")
            time.sleep(0.005)
        self.start = (time.perf_counter() - began) * 1000

    def ask(self, method: str, path: str, token: str = "", document: Any = None) -> tuple[int, Any]:
        """Send one request; return the status and the document."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if document is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(document).encode()
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310  (our own server)
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, None

    def log(self) -> str:
        """Return the end of what it has printed."""
        return self._log.read_text(errors="replace")[-1500:]

    def processes(self) -> list[int]:
        """Return the process and its descendants."""
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    waiting += map(int, (thread / "children").read_text().split())
        return found

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far."""
        return sum(map(_cpu_seconds, self.processes()))

    def memory(self) -> float:
        """Return the resident memory in MB."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
                total += int(found[1]) if found else 0
        return total / 1024

    def stop(self) -> None:
        """End the process and those it started."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
                return


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / CLOCK


@dataclass(frozen=True)
class Load:
    """How to put load on one route.

    Attributes:
        status: The status of every answer.
    """

    method: str
    path: str
    status: int
    token: str = ""
    document: Any = None

    def body(self) -> str:
        """Return the body of a request."""
        return "" if self.document is None else json.dumps(self.document)

    def script(self) -> str:
        """Write it for wrk, with a count of the answers of another status."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        body = self.body()
        if body:
            headers["Content-Type"] = "application/json"
        lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
        return f"""
wrk.method = "{self.method}"
wrk.body = '{body}'
{lines}
wrong, last = 0, 0
local threads = {{}}
function setup(thread) table.insert(threads, thread) end
function response(status) if status ~= {self.status} then wrong, last = wrong + 1, status end end
function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  local wrong, last = 0, 0
  for _, thread in ipairs(threads) do wrong, last = wrong + thread:get("wrong"), thread:get("last") end
  io.write(string.format("RESULT %d %d %f %f %d %d %d\\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), wrong, last, failed))
end
"""


def run_load(server: Server, load: Load, directory: Path, *, seconds: int, connections: int) -> Turn:
    """Put load on a service and return what it did."""
    script = directory / "load.lua"
    script.write_text(load.script())
    address = f"http://127.0.0.1:{server.port}{load.path}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    before = server.cpu_seconds()
    ended = subprocess.run([*command, "-s", str(script), address], capture_output=True, text=True, check=True)
    cpu = server.cpu_seconds() - before
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+) (\d+) (\d+)", ended.stdout)
    if found is None:
        raise RuntimeError(f"wrk printed no result:\n{ended.stdout}{ended.stderr}")
    requests, micros, wrong, last, failed = (int(found[place]) for place in (1, 2, 5, 6, 7))
    if wrong or failed:
        kinds = f"{wrong} answers of another status, the last {last}, and {failed} of the connection or the time"
        print(f"{server.name} {load.path}: {kinds}\n{server.log()}", file=sys.stderr)
    requests -= wrong  # a wrong answer is not throughput, however fast it came
    return Turn(
        requests_per_second=round(requests / (micros / 1e6), 1),
        p50=round(float(found[3]) / 1000, 2),
        p99=round(float(found[4]) / 1000, 2),
        cpu=round(cpu / max(requests, 1) * 1e6, 1),
        errors=wrong + failed,
    )


def check(server: Server, loads: Mapping[str, Load], subject: str) -> None:
    """Compare each answer with what it must be.

    Raises:
        WrongAnswer: One is not.
    """
    for name, load in loads.items():
        status, document = server.ask(load.method, load.path, load.token, load.document)
        match name:
            case "ping":
                right = document == {"ping": "pong"}
            case "me":
                right = document == {"subject": subject, "roles": ["user"]}
            case "one":
                right = document["name"] == "Pet 7" and set(document) == PET and document["version"] == 1
            case "list":
                items = document["items"]
                right = document["total"] >= ROWS and [pet["name"] for pet in items] == [f"Pet {n}" for n in range(50)]
                right = right and set(items[0]) == PET
            case _:
                right = document["name"] == "Rex" and set(document) == PET
        if status != load.status or not right:
            raise WrongAnswer(f"{server.name} answered {name} with {status} {json.dumps(document)[:200]}")


PET = {"id", "name", "description", "created_at", "updated_at", "version"}
TABLE = """
CREATE TABLE pet (
    id uuid PRIMARY KEY, name varchar(255) NOT NULL, description text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(),
    version integer NOT NULL DEFAULT 1
);
CREATE INDEX ON pet (name);
CREATE INDEX ON pet (created_at, id);
"""


async def fill(url: str) -> None:
    """Make the table and its rows."""
    connection = await asyncpg.connect(url)
    await connection.execute(TABLE)
    await connection.executemany(
        "INSERT INTO pet (id, name, created_at) VALUES ($1, $2, timestamptz '2026-01-01' + $3 * interval '1 second')",
        [(UUID(int=number + 1), f"Pet {number}", number) for number in range(ROWS)],
    )
    await connection.execute("VACUUM ANALYZE pet")
    await connection.close()


async def forget_inserted(url: str) -> None:
    """Delete what a turn has inserted, so that each finds the table as the one before."""
    connection = await asyncpg.connect(url)
    await connection.execute("DELETE FROM pet WHERE name = 'Rex'")
    await connection.execute("VACUUM pet")
    await connection.close()


def prepare(names: list[str]) -> None:
    """Install what the stacks need, where it has changed.

    Raises:
        SystemExit: A program is missing.
    """
    for program in ("wrk", "taskset"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is missing; on Debian and Ubuntu: apt-get install wrk util-linux")
    for name in {STACKS[stack].environment for stack in names}:
        if is_installed(name):
            continue
        lock, place = REQUIREMENTS / f"{name}.lock", ENVIRONMENTS / name
        print(f"installing {name}", file=sys.stderr)
        venv.create(place, clear=True, with_pip=True)
        pip = [str(place / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "-r", str(lock)], check=True)
        if name == "ligand":
            subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / "requirements-build.lock")], check=True)
            subprocess.run([*pip, "--no-build-isolation", "--no-deps", "-e", str(ROOT)], check=True)
        (place / STAMP).write_text(lock.read_text())


def is_installed(environment: str) -> bool:
    """Return whether an environment has what its lock file says."""
    stamp = ENVIRONMENTS / environment / STAMP
    return stamp.exists() and stamp.read_text() == (REQUIREMENTS / f"{environment}.lock").read_text()


@contextlib.contextmanager
def serving(names: list[str], variables: Mapping[str, str], directory: Path) -> Iterator[dict[str, Server]]:
    """Serve all stacks, each at a port of its own."""
    servers: dict[str, Server] = {}
    try:
        for port, name in enumerate(names, FIRST_PORT + 1):
            servers[name] = Server(name, variables, directory, port)
        yield servers
    finally:
        for server in servers.values():
            server.stop()


@dataclass(frozen=True)
class Surroundings:
    """What services are measured in.

    Attributes:
        directory: A place for files.
        url: The database, filled.
        variables: The environment variables of a service.
        loads: The load on each route.
    """

    directory: Path
    url: str
    variables: dict[str, str]
    loads: dict[str, Load]


@contextlib.contextmanager
def surroundings() -> Iterator[Surroundings]:
    """Run a database and an issuer of tokens."""
    with tempfile.TemporaryDirectory() as place, ThrowawayPostgres(options=OPTIONS) as postgres, Issuer() as issuer:
        directory = Path(place)
        url = postgres.url().replace("postgresql+asyncpg", "postgresql")
        asyncio.run(fill(url))
        key = directory / "key.pem"
        key.write_bytes(issuer.public_key)
        variables = {
            "BENCH_DATABASE_URL": url,
            "BENCH_PUBLIC_KEY": str(key),
            "BENCH_ISSUER": issuer.address,
            "BENCH_AUDIENCE": AUDIENCE,
        }
        token = issuer.token("alice", ["user"])
        loads = {
            "ping": Load("GET", "/ping", 200),
            "me": Load("GET", "/me", 200, token),
            "one": Load("GET", f"/pets/{UUID(int=8)}", 200, token),
            "list": Load("GET", "/pets/?page=1&page_size=50", 200, token),
            "insert": Load("POST", "/pets/", 201, token, {"name": "Rex", "description": "A good dog."}),
        }
        yield Surroundings(directory, url, variables, loads)


def measure(names: list[str], *, rounds: int, seconds: int, connections: int) -> dict[str, Result]:
    """Run the rounds."""
    results = {name: Result(turns={route: [] for route in ROUTES}) for name in names}
    chance = Random(17)  # noqa: S311  (not a secret)
    with surroundings() as around:
        directory, loads = around.directory, around.loads
        for name in names:  # the start that is counted finds its files in the memory of the machine
            Server(name, around.variables, directory, FIRST_PORT).stop()
        with serving(names, around.variables, directory) as servers:
            for name, server in servers.items():
                results[name].start = round(server.start)
                check(server, loads, "alice")
            for number in range(rounds):
                for route in ROUTES:
                    for name in chance.sample(names, len(names)):
                        run_load(servers[name], loads[route], directory, seconds=1, connections=connections)  # warm
                        turn = run_load(
                            servers[name], loads[route], directory, seconds=seconds, connections=connections
                        )
                        check(servers[name], {route: loads[route]}, "alice")
                        results[name].turns[route].append(turn)
                        asyncio.run(forget_inserted(around.url))
                print(f"round {number + 1} of {rounds}", file=sys.stderr)
            for name, server in servers.items():
                results[name].memory = round(server.memory(), 1)
    return results


def format_table(results: Mapping[str, Result]) -> str:
    """Return the medians: ratio to the reference, CPU of the server per request, and the p99 of reading one row."""
    head = "".join(f"{route:>16}" for route in ROUTES)
    lines = [f"{'ratio · CPU in µs':<26}{head}{'p99 one':>10}{'MB':>7}{'start':>7}"]
    for name, result in results.items():
        cells = ""
        for route in ROUTES:
            cells += f"{median_ratio(results, name, route):>8.2f} ·{result.median(route, 'cpu'):>6,.0f}"
        p99 = result.median("one", "p99")
        lines.append(f"{name:<26}{cells}{p99:>10.1f}{result.memory:>7.0f}{result.start:>7.0f}")
    return "\n".join(lines)


def describe(options: argparse.Namespace) -> dict[str, str]:
    """Return the conditions of a run, for its reader."""
    processor = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607  (found by PATH)
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    versions = {}
    for lock in REQUIREMENTS.glob("*.lock"):
        versions |= dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE))
    return {
        "measured": f"{datetime.now(UTC):%-d %B %Y, %H:%M} UTC, on commit {commit.stdout.strip()}",
        "rounds": f"{options.rounds}, each turn {options.seconds} s after 1 s to warm up",
        "connections": str(options.connections),
        "machine": f"{os.cpu_count()} cores, {processor[1] if processor else platform.machine()}",
        "load of the machine before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "versions": ", ".join(f"{name} {versions[name]}" for name in NAMED if name in versions),
    }


NAMED = (
    *("quart", "hypercorn", "fastapi", "litestar", "advanced-alchemy", "uvicorn", "granian", "uvloop", "httptools"),
    *("sqlalchemy", "asyncpg", "pydantic"),
)
# The least that fills the goal table: --goals.
GOAL_STACKS = {REFERENCE, *WITHOUT.values(), *(name for goal in GOALS for name in (goal.stack, goal.against))}


def main() -> None:
    """Measure, print the table, and write the results if asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.suite", description="Measure against other frameworks.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of one turn")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--stack", action="append", choices=STACKS, help="only these, and the reference")
    parser.add_argument("--goals", action="store_true", help="only the stacks that the goals compare")
    parser.add_argument("--install", action="store_true", help="only install the environments")
    parser.add_argument("--write", action="store_true", help=f"renew {RESULTS.name}, the page and the chart")
    options = parser.parse_args()
    wanted = {*(options.stack or ()), *(GOAL_STACKS if options.goals else ())}
    names = [name for name in STACKS if not wanted or name in {*wanted, REFERENCE}]
    prepare(names)
    if options.install:
        return
    conditions = describe(options)
    os.sched_setaffinity(0, {LOAD_CORE})
    results = measure(names, rounds=options.rounds, seconds=options.seconds, connections=options.connections)
    print(format_table(results))
    if options.write:
        run = Run(conditions, results)
        run.save()
        write_report(run)


if __name__ == "__main__":
    main()
