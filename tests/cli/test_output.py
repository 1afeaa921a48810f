"""What commands print."""

import click
import pytest
from click.testing import CliRunner, Result

from ligand_async.cli.output import ServiceError, one_message, print_findings, print_table


def run(error: Exception) -> Result:
    @click.command
    def fail() -> None:
        with one_message(misuse=(LookupError,), failure=(ArithmeticError, OSError)):
            raise error

    return CliRunner().invoke(fail)


def test_table_is_aligned_and_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns are as wide as their widest cell, and what would move a terminal's cursor is replaced."""
    print_table(("name", "value"), [("a", "1"), ("longer", "\x1b[2J")])
    assert capsys.readouterr().out == "name    value\na       1\nlonger  �[2J\n"


def test_findings_fail_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Each finding is one line on stdout, and any finding is exit code 1."""
    print_findings([])
    with pytest.raises(click.exceptions.Exit) as ended:
        print_findings(["one", "two"])
    assert (ended.value.exit_code, capsys.readouterr().out) == (1, "one\ntwo\n")


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (LookupError("no such service"), 2, "Error: no such service\n"),
        (ZeroDivisionError("nothing left"), 1, "Error: nothing left\n"),
        (FileNotFoundError(2, "No such file or directory", "a.txt"), 1, "Error: a.txt: No such file or directory\n"),
    ],
)
def test_an_error_is_one_message(error: Exception, code: int, text: str) -> None:
    """Exit code 2 for a command that does not suit the service, 1 for work that failed, without a traceback."""
    result = run(error)
    assert (result.exit_code, result.stderr, result.stdout) == (code, text, "")


def test_other_errors_pass() -> None:
    """An error that is not listed is a bug, and keeps its traceback."""
    assert isinstance(run(RuntimeError("bug")).exception, RuntimeError)
    assert ServiceError.exit_code == 2
