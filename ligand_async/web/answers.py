"""What a view returned that is an error, however it was made: turned into a problem."""

import json
from typing import Any

from quart import Response
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from ligand_async.context import current_request_id
from ligand_async.errors import PROBLEM_JSON, InternalServerError, Problem, problem_for
from ligand_async.web.problems import OF_THE_BODY, instance_of, problem_of_http

LONGEST_DETAIL = 500  # characters; what is longer is a page


class InvalidStatus(RuntimeError):
    """A view answered with a status that no final answer has."""


def check_status(status: int) -> None:
    """Refuse a status that no final answer has (RFC 9110 section 15).

    Raises:
        InvalidStatus: It is below 200 or above 599.
    """
    if not 200 <= status <= 599:
        raise InvalidStatus(f"an answer has the status {status}; final ones are 200 to 599")


def problem_of_answer(result: Any, response: Response | WerkzeugResponse) -> Problem | None:
    """Return the problem that an answer is but does not look like, or None where the answer can stay as it is.

    Args:
        result: What the view returned, or what its error was turned into.
        response: What Quart made of it.

    Raises:
        InvalidStatus: Its status is none of a final answer.
    """
    check_status(response.status_code)
    if response.status_code < 400:
        return None
    if isinstance(result, HTTPException) and result.response is None:
        return problem_of_http(result)
    if is_json(response):
        return None
    problem = problem_for(response.status_code, detail_of(result))
    for name, value in response.headers:
        if name.lower() not in OF_THE_BODY:
            problem.headers.add(name, value)
    return problem


def is_json(response: Response | WerkzeugResponse) -> bool:
    """Tell whether an answer is JSON, of which a problem document is one kind."""
    mimetype = response.mimetype or ""
    return mimetype == "application/json" or (mimetype.startswith("application/") and mimetype.endswith("+json"))


def detail_of(result: Any) -> str | None:
    """Return the sentence that a view gave with a status, as in `return "no such room", 404`; a page is none."""
    text = result[0] if isinstance(result, tuple) else None
    if isinstance(text, str) and 0 < len(text) <= LONGEST_DETAIL and not text.lstrip().startswith("<"):
        return text
    return None


def last_answer() -> Response:
    """Make the 500 that is left when nothing else could be made: of constants alone."""
    request_id = current_request_id()
    document = InternalServerError().document(instance=instance_of(request_id), request_id=request_id)
    return Response(json.dumps(document, separators=(",", ":")), 500, content_type=PROBLEM_JSON)
