"""What generators leave in a client that is not the service's: files of their own, and names that nobody gave."""

import json
import shutil
from pathlib import Path

LEFTOVERS = (
    "git_push.sh",
    ".travis.yml",
    ".gitlab-ci.yml",
    ".openapi-generator",
    ".openapi-generator-ignore",
    ".ruff_cache",
)
# openapi-generator 7.26 says that it is the author, of a repository GIT_USER_ID/GIT_REPO_ID, under the Unlicense.
PLACEHOLDERS = ("author", "license", "repository")


def tidy(directory: Path) -> None:
    """Take away the leftovers of a generator.

    Args:
        directory: What it made.
    """
    for name in LEFTOVERS:
        leftover = directory / name
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)
    metadata = directory / "package.json"
    told = json.loads(metadata.read_text(encoding="utf-8")) if metadata.is_file() else None
    if isinstance(told, dict):
        kept = {name: value for name, value in told.items() if name not in PLACEHOLDERS}
        metadata.write_text(json.dumps(kept, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
