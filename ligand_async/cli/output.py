"""The output of commands: tables, findings, and errors as one message without a traceback."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

format_option = click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", help="How to print them."
)


class ServiceError(click.ClickException):
    """The service cannot be loaded, or the command does not suit it: one message on stderr, exit code 2."""

    exit_code = 2


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below the names of their columns, aligned, without characters that a terminal would act on."""
    lines = [[_printable(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_findings(findings: Sequence[str]) -> None:
    """Print one finding a line on stdout, and end the command with exit code 1 if there are any."""
    for finding in findings:
        click.echo(finding)
    if findings:
        raise click.exceptions.Exit(1)


_Errors = tuple[type[Exception], ...]


@contextmanager
def one_message(*, misuse: _Errors = (), failure: _Errors = ()) -> Iterator[None]:
    """Turn errors into one message on stderr.

    Args:
        misuse: The command does not suit the service: exit code 2.
        failure: The work failed: exit code 1.
    """
    try:
        yield
    except misuse as error:
        raise ServiceError(_text_of(error)) from error
    except failure as error:
        raise click.ClickException(_text_of(error)) from error


def _text_of(error: Any) -> str:
    if isinstance(error, SQLAlchemyError):
        from ligand_async.data.migrations import words_of  # it imports Alembic, which a server does without

        return words_of(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror}"
    return str(error)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text)
