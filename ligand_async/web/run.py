"""One handler at work: from its request to its response, with its services and in its unit of work."""

from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

from quart import Quart, Response, current_app, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response as WerkzeugResponse

from ligand_async.auth.enforcement import enforcement_of
from ligand_async.context import current_principal, service_of
from ligand_async.data.database import Database
from ligand_async.data.unit import UnitOfWork
from ligand_async.marks import OperationMark, idempotent_mark, is_conditional
from ligand_async.tasks import current_deadline, finish_in_time
from ligand_async.web.answers import check_status
from ligand_async.web.conditional import SAFE_METHODS, expect_preconditions, preconditions_var
from ligand_async.web.fields import refuse_unknown
from ligand_async.web.idempotency import attempt_var, read_attempt
from ligand_async.web.inputs import Inputs
from ligand_async.web.location import build_location
from ligand_async.web.output import RESPONSES, Output
from ligand_async.web.pages.page import Page
from ligand_async.web.services import current_services
from ligand_async.web.validators import validate


@dataclass(frozen=True, slots=True)
class Run:
    """One handler at work."""

    handler: Callable[..., Coroutine[Any, Any, Any]]
    inputs: Inputs
    output: Output
    mark: OperationMark

    async def __call__(self, instance: tuple[Any, ...], path: dict[str, Any], view: Callable[..., Any]) -> Response:
        """Serve the current request, as the marks of its view say."""
        preconditions_var.set(expect_preconditions() if is_conditional(view) else None)
        mark = idempotent_mark(view)
        attempt_var.set(None if mark is None else await read_attempt(mark))
        arguments = await self.read_arguments(path)
        services = {name: kind for name, kind in self.inputs.others.items() if name not in path}
        if not services and self.inputs.session is None:
            return self.answer(await self.handler(*instance, **arguments))
        return await finish_in_time(self.run_with_services(instance, arguments, services))

    async def read_arguments(self, path: dict[str, Any]) -> dict[str, Any]:
        """Read what comes from the request: principal, query string, headers, cookies, body; 401 comes before 422."""
        inputs, arguments = self.inputs, dict[str, Any]()
        if inputs.principal is not None:
            principal = current_principal()
            if principal is None and inputs.principal_required:
                raise enforcement_of(current_app_itself()).refuse()
            arguments[inputs.principal] = principal
        if inputs.query is not None:
            if path and (hidden := inputs.query_scalars.keys() & path.keys() & request.args.keys()):
                raise refuse_unknown(sorted(hidden))  # under this rule they are variables of the path
            query = inputs.query.read(request.args)
            arguments.update({name: getattr(query, name) for name in inputs.query_scalars})
            if inputs.takes_query_args:
                arguments["query_args"] = query
        elif request.query_string and request.args:
            raise refuse_unknown(request.args)
        if inputs.headers is not None:
            arguments["headers"] = inputs.headers.read_known(request.headers)
        if inputs.cookies is not None:
            arguments["cookies"] = inputs.cookies.read_known(request.cookies)
        if inputs.data is not None:
            arguments["data"] = await inputs.data.read()
        arguments.update(path)
        return arguments

    async def run_with_services(
        self, instance: tuple[Any, ...], arguments: dict[str, Any], services: dict[str, Any]
    ) -> Response:
        """Make the services, run the unit of work, close the services."""
        if not services:
            return await self.run_with_session(instance, arguments)
        async with current_services().container() as container:
            async with current_deadline().limit():
                made = {name: await container.aget(kind) for name, kind in services.items()}
            return await self.run_with_session(instance, arguments | made)

    async def run_with_session(self, instance: tuple[Any, ...], arguments: dict[str, Any]) -> Response:
        """Run the handler in a unit of work, where it takes a session."""
        name = self.inputs.session
        if name is None:
            async with current_deadline().limit():
                return self.answer(await self.handler(*instance, **arguments))

        preconditions, attempt, database = preconditions_var.get(), attempt_var.get(), database_of_app()

        async def work(unit: UnitOfWork) -> Response:
            if attempt is not None and (reply := await attempt.find_reply(unit.session, database)) is not None:
                return reply
            if preconditions is not None:
                preconditions.begin()
            returned = await self.handler(*instance, **arguments, **{name: unit.session})
            if not is_error(returned):
                await unit.flush()
            response = self.answer(returned)
            if response.status_code >= 400:
                unit.abandon()
                return response
            if preconditions is not None:
                preconditions.check_were_checked(self.handler.__qualname__)
                await preconditions.confirm(unit.session)
            if attempt is not None:
                await attempt.keep_reply(unit.session, database, response)
            return response

        mode = self.mark.session or ("read" if request.method in SAFE_METHODS else "write")
        try:
            with nullcontext() if attempt is None else attempt.in_flight():
                return await database.run(work, mode=mode, retry_safe=self.mark.retry_safe)
        except SQLAlchemyError as error:
            problem = None if preconditions is None else preconditions.problem_of(error, database.metadata)
            if problem is None:
                raise
            raise problem from error

    def answer(self, returned: Any) -> Response:
        """Turn what the handler returned into a response, before anything is committed."""
        if isinstance(returned, RESPONSES):
            check_status(returned.status_code)
            return cast(Response, returned)
        result = self.output.take_apart(returned)
        check_status(result.status)
        if isinstance(result.value, RESPONSES):
            result.value.status_code = result.status
            result.value.headers.update(result.headers)
            return cast(Response, result.value)
        response = self.output.make_response(result)
        if self.mark.location is not None and "Location" not in response.headers:
            response.headers["Location"] = build_location(self.mark.location, result.value)
        if isinstance(result.value, Page):
            for name, value in result.value.headers.items():
                response.headers.setdefault(name, value)
        return validate(response, result.value, from_replica=self.mark.session == "replica")


def is_error(returned: Any) -> bool:
    """Tell whether a handler returned an error: nothing of it is kept, so the database is not asked about it."""
    match returned:
        case Response() | WerkzeugResponse():
            return returned.status_code >= 400
        case (_, int() as status, *_):
            return status >= 400
        case _:
            return False


def database_of_app() -> Database:
    """Return the current app's database.

    Raises:
        RuntimeError: It has none.
    """
    database = service_of(current_app_itself()).database
    if not isinstance(database, Database):
        raise RuntimeError("a handler asks for an AsyncSession; give create_app() a database")
    return database


def current_app_itself() -> Quart:
    """Return the current app itself."""
    app: Quart = current_app._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy
    return app
