"""A Quart on which no error is lost: whatever fails on the way to an answer, there is one, and it is a problem."""

from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from quart import got_request_exception, got_websocket_exception, websocket
from werkzeug.exceptions import InternalServerError

from ligand_async.web.answers import last_answer, problem_of_answer
from ligand_async.web.exchange import CLOSE_CODE
from ligand_async.web.problems import blueprints_of_current, renderer_of
from ligand_async.web.scrubbing import without_values
from ligand_async.web.teardown import IsolatedTeardown
from ligand_async.web.trackers import named_to_trackers

unhandled_var: ContextVar[list[BaseException] | None] = ContextVar("ligand_unhandled", default=None)
"""Where a test client collects what nothing handled."""


class UnfailingQuart(IsolatedTeardown):
    """Answers with a problem where Quart 0.22 answers with HTML, with nothing, or not at all."""

    async def make_response(self, result: Any) -> Any:
        """Make the response of what a view returned; an error that is not JSON becomes a problem."""
        response = await super().make_response(result)
        problem = problem_of_answer(result, response)
        return response if problem is None else renderer_of(self)(problem)

    async def finalize_websocket(self, result: Any, *arguments: Any, **options: Any) -> Any:
        """Finish a websocket; one that was accepted and ends in an error is closed as RFC 6455 section 7.4.1 has it."""
        response = await super().finalize_websocket(result, *arguments, **options)
        if response is not None and response.status_code >= 400:
            websocket.scope[CLOSE_CODE] = 1011 if response.status_code >= 500 else 1008  # type: ignore[literal-required]  # ASGI lets a scope hold more
        return response

    async def handle_exception(self, error: Exception) -> Any:
        """Tell, log and answer what nothing handled."""
        return await self._handle_unhandled(error, got_request_exception, self.finalize_request)

    async def handle_websocket_exception(self, error: Exception) -> Any:
        """Do the same for a websocket."""
        return await self._handle_unhandled(error, got_websocket_exception, self.finalize_websocket)

    async def _handle_unhandled(self, error: Exception, signal: Any, finalize: Callable[..., Any]) -> Any:
        clean = without_values(error)
        unhandled = unhandled_var.get()
        if unhandled is not None:
            unhandled.append(clean)
        with named_to_trackers():
            await self._tell(signal, clean)
            if self.config["PROPAGATE_EXCEPTIONS"]:
                raise clean
            self.log_exception((type(clean), clean, clean.__traceback__))
        try:
            answer: Any = InternalServerError(original_exception=clean)
            handler = self._find_error_handler(answer, blueprints_of_current())
            if handler is not None:
                answer = await self.ensure_async(handler)(answer)
            return await finalize(answer, from_error_handler=True)
        except Exception:
            self.logger.exception("the answer to an unhandled exception could not be made; a plain one was sent")
            return last_answer()

    def log_exception(
        self, exception_info: tuple[type, BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> None:
        """Log an exception without the values that pydantic writes into its own."""
        error = exception_info[1]
        if error is not None:
            clean = without_values(error)
            exception_info = (type(clean), clean, clean.__traceback__)
        super().log_exception(exception_info)  # type: ignore[arg-type]  # an exception that was never raised has no traceback

    async def _tell(self, signal: Any, error: Exception) -> None:
        try:
            await signal.send_async(self, _sync_wrapper=self.ensure_async, exception=error)
        except Exception:
            self.logger.exception("a receiver of the signal of an exception failed")
