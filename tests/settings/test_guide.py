"""The guide of the settings says what is."""

import re
import runpy
from pathlib import Path

import pytest

from ligand_async.settings import read_database_url, read_postgres_url
from tests.machine import leave_bare

PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")


def test_python_of_the_guide_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its blocks run one after the other, in an empty directory."""
    leave_bare(monkeypatch, tmp_path)
    file = tmp_path / "guide.py"
    file.write_text("\n\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)))
    names = runpy.run_path(str(file))

    assert {"PetSettings", "settings"} <= set(names)


def test_parameters_of_the_guide_are_known() -> None:
    """Each parameter in the table of database URLs is read, or refused by name."""
    table = PAGE.partition("| parameter | what it does here |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]

    assert len(names) > 30
    for name in names:
        url = read_database_url(f"postgresql:///d?{name}=")
        assert url is not None
        with pytest.raises(ValueError, match=f"its parameter {name} is (empty|refused)"):
            read_postgres_url(url)
