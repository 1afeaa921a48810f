"""npm packages, of the provider and of others: what their lock says, installed once per lock and machine."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.machine import do_without

HERE = Path(__file__).parent
TIMEOUT = 120.0  # seconds


def install_packages(node: Path, home: Path = HERE) -> Path:
    """Return a directory with the packages, outside the checkout; skip the test where they cannot be had.

    Args:
        node: The program, beside which npm is.
        home: Where package.json and its lock are.
    """
    lock = (home / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ligand-async"
    target = cache / f"{home.name}-{hashlib.sha256(lock).hexdigest()[:16]}"
    if target.exists():
        return target / "node_modules"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as directory:
        made = Path(directory) / "made"
        made.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(home / name, made)
        command = [str(node), str(find_npm(node)), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        outcome = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False, timeout=TIMEOUT)
        if outcome.returncode != 0:
            do_without("node", f"npm could not install {home.name}: " + outcome.stderr.strip().partition("\n")[0])
        try:
            made.rename(target)  # whole or not at all
        except OSError:
            assert target.exists(), "somebody else was quicker"
    return target / "node_modules"


def find_npm(node: Path) -> Path:
    """Return npm's own program, which Node runs."""
    beside = node.resolve().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if beside.exists():
        return beside
    found = shutil.which("npm", path=f"{node.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if found is None:
        do_without("node", "npm is not installed")
    return Path(found).resolve()
