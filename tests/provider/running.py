"""A running provider, and what its clients get from it over HTTP."""

import json
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx2

from tests.machine import require_tool
from tests.provider.packages import HERE, install_packages
from tests.servers import free_port

AUDIENCE = "https://petstore.example.test"  # resource indicators are absolute URIs (RFC 8707)
SECRET = "a secret+with/odd%signs:"
TIMEOUT = 20.0  # seconds, to start and for each request


class Provider:
    """node-oidc-provider in a process, with the clients of `provider.mjs`.

    Args:
        directory: Where it keeps its keys and its log.
        origin: Where the docs page is that may sign people in.
    """

    audience = AUDIENCE
    secret = SECRET

    def __init__(self, directory: Path, origin: str) -> None:
        self.directory = directory
        self.origin = origin
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None
        self.keys: list[str] = []

    def start(self) -> None:
        """Start it, again on the same port and with the same keys; opaque tokens are forgotten."""
        node = require_tool("node")
        modules = self.directory / "node_modules"
        if not modules.exists():
            modules.symlink_to(install_packages(node))
            shutil.copy(HERE / "provider.mjs", self.directory)
        options = {"port": self.port, "audience": AUDIENCE, "origin": self.origin}
        with (self.directory / "provider.log").open("a") as log:
            self.process = subprocess.Popen(
                [str(node), "provider.mjs", json.dumps(options)],
                cwd=self.directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.keys = self.hear()

    def stop(self) -> None:
        """End it, as a crash would, and wait until nobody listens."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate(timeout=TIMEOUT)
            self.process = None

    def rotate(self) -> None:
        """Sign with a new key from now on; the older ones stay in the key set."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write("rotate\n")
        self.process.stdin.flush()
        self.keys = self.hear()

    def hear(self) -> list[str]:
        """Return the ids of the keys, the signing one first, when the provider is ready."""
        assert self.process is not None
        assert self.process.stdout is not None
        heard, _, _ = select.select([self.process.stdout], [], [], TIMEOUT)
        line = self.process.stdout.readline() if heard else ""
        assert line, (self.directory / "provider.log").read_text()
        keys: list[str] = json.loads(line)["keys"]
        return keys

    def token(self, client: str = "svc", *, scope: str | None = None, resource: str | None = None) -> str:
        """Return an access token by the client credentials grant (RFC 6749 section 4.4).

        Args:
            client: `svc` with the roles user and admin, `reader` with none, `brief` whose tokens last for a second,
                `opaque` and `opaque-brief`, whose tokens say nothing.
            scope: Scopes, separated by spaces.
            resource: The audience, where it is another (RFC 8707).
        """
        form = {"grant_type": "client_credentials", "scope": scope, "resource": resource}
        token: str = self.post("token", client, **form)["access_token"]
        return token

    def revoke(self, token: str, client: str = "opaque") -> None:
        """Withdraw an opaque token (RFC 7009)."""
        self.post("token/revocation", client, token=token)

    def post(self, path: str, client: str, **form: str | None) -> dict[str, Any]:
        """Return what an endpoint answers a client."""
        data = {name: value for name, value in form.items() if value is not None}
        auth = httpx2.BasicAuth(quote_plus(client), quote_plus(SECRET))  # RFC 6749 section 2.3.1
        response = httpx2.post(f"{self.issuer}/{path}", data=data, auth=auth, timeout=TIMEOUT)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json() if response.content else {}
        return answer


@contextmanager
def running_provider(directory: Path, origin: str = "http://127.0.0.1:8000") -> Iterator[Provider]:
    """Run a provider of one's own; skip the test where there is no Node."""
    provider = Provider(directory, origin)
    try:
        provider.start()
        yield provider
    finally:
        provider.stop()
