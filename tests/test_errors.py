"""The Problem tree."""

import json
from http import HTTPStatus

import pytest
from werkzeug import exceptions

from ligand_async import errors
from ligand_async.errors import (
    Conflict,
    InvalidPart,
    NotFound,
    Problem,
    UnprocessableContent,
    abort,
    problem_class,
    problem_for,
    title_of,
)

ERRORS = [status for status in HTTPStatus if status >= HTTPStatus.BAD_REQUEST]


@pytest.mark.parametrize("status", ERRORS, ids=str)
def test_every_error_of_http_is_a_problem(status: HTTPStatus) -> None:
    """With its status, its title and, where werkzeug has one, as its exception."""
    with pytest.raises(Problem) as raised:
        abort(status, "because", colour="red")

    problem = raised.value
    assert problem.document() == {
        "type": "about:blank",
        "title": title_of(status),
        "status": status,
        "detail": "because",
        "colour": "red",
    }
    assert isinstance(problem, exceptions.default_exceptions.get(status, Problem))


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (413, "Content Too Large"),
        (414, "URI Too Long"),
        (416, "Range Not Satisfiable"),
        (418, "I'm a Teapot"),
        (422, "Unprocessable Content"),
        (404, "Not Found"),
        (599, "Unknown Error"),
    ],
)
def test_titles_are_the_same_on_every_python(status: int, title: str) -> None:
    """RFC 9110's words; Python 3.13 changed its own."""
    assert title_of(status) == title


@pytest.mark.parametrize("status", [499, 599])
def test_other_statuses_of_errors_are_problems_too(status: int) -> None:
    """Beyond what `http.HTTPStatus` knows."""
    assert problem_for(status).status == status


@pytest.mark.parametrize("status", [0, 200, 302, 399, 600])
def test_what_is_no_error_is_a_fault(status: int) -> None:
    """`abort` says so; an exception that came with it is a 500."""
    with pytest.raises(ValueError, match=f"abort\\({status}\\)"):
        abort(status)
    assert problem_for(status).status == 500


def test_a_class_is_made_once() -> None:
    """One class a status: a handler for it is for all."""
    assert problem_class(404) is NotFound
    assert problem_class(402) is problem_class(402)
    assert type(problem_for(402)) is type(problem_for(402, "again"))


def test_a_problem_without_a_status_is_a_500() -> None:
    """What is raised as `Problem` itself."""
    assert (Problem("x").status, Problem("x").name) == (500, "Internal Server Error")


def test_a_class_of_ones_own() -> None:
    """Two lines: a type and a title."""

    class OutOfStock(Conflict):
        type = "https://shop.example/out-of-stock"
        title = "Out of Stock"

    assert OutOfStock("3 left", left=3).document() == {
        "type": "https://shop.example/out-of-stock",
        "title": "Out of Stock",
        "status": 409,
        "detail": "3 left",
        "left": 3,
    }


def test_no_detail_is_no_member() -> None:
    """werkzeug's stock sentences are not ours."""
    assert "detail" not in NotFound().document()


@pytest.mark.parametrize("member", ["type", "title", "status", "instance", "request_id"])
def test_reserved_members_are_refused(member: str) -> None:
    """A member cannot pass for one of RFC 9457's or of ours."""
    with pytest.raises(TypeError, match=f"reserved problem members: {member}; choose other names"):
        Problem("x", **{member: 1})  # type: ignore[arg-type]  # the mistake


def test_a_part_has_only_what_is_set() -> None:
    """One place, a detail and a code."""
    part = InvalidPart("too many", "max", parameter="limit")

    assert part.document() == {"detail": "too many", "parameter": "limit", "code": "max"}
    assert UnprocessableContent(errors=[part]).document()["errors"] == [part.document()]


def test_it_answers_without_our_handlers() -> None:
    """As a WSGI or ASGI exception it is still a problem document, with its headers."""
    problem = NotFound("no pet", headers={"X-Any": "thing"})

    assert json.loads(problem.get_body()) == problem.document()
    assert problem.get_headers() == [("Content-Type", "application/problem+json"), ("X-Any", "thing")]


CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Problem)]


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind is not Problem], ids=lambda kind: kind.__name__)
def test_classes_are_werkzeugs_too(kind: type[Problem]) -> None:
    """`except werkzeug.exceptions.NotFound` catches ours."""
    assert issubclass(kind, exceptions.default_exceptions[kind.code])
