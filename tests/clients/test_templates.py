"""The templates of the Python client."""

from pathlib import Path

import pytest

from ligand_async.docs.clients import ClientError
from ligand_async.docs.clients.templates import write_templates


def test_another_release_of_the_generator_is_not_used_unseen(tmp_path: Path) -> None:
    """If a text that is changed is not there, the error names the template and the release that has it."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "types.py.jinja").write_text("import httpx\n")

    with pytest.raises(ClientError, match=r"another types\.py\.jinja than 0\.29; install"):
        write_templates(source, tmp_path / "target")


def test_only_templates_that_differ_are_written(tmp_path: Path) -> None:
    """The library has another name, and names that contain its name stay."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "client.py.jinja").write_text("import httpx\nget_httpx_client(httpx_args): httpx.Client\n")
    (source / "errors.py.jinja").write_text("class UnexpectedStatus(Exception): ...\n")

    write_templates(source, target)

    written = {path.name: path.read_text() for path in target.iterdir()}
    assert written == {"client.py.jinja": "import httpx2\nget_httpx_client(httpx_args): httpx2.Client\n"}
