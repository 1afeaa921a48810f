"""The signature of a handler, read once, when it is decorated, and where each parameter comes from under each rule."""

import inspect
import warnings
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Container,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from dataclasses import dataclass, field, is_dataclass
from typing import Annotated, Any, NoReturn, get_origin, get_type_hints
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from quart import Request
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import is_typeddict
from werkzeug.routing.converters import BaseConverter, FloatConverter, IntegerConverter, NumberConverter, UUIDConverter

from ligand_async.annotations import bare, members_of, plain, without_none
from ligand_async.principal import Principal
from ligand_async.settings import Settings
from ligand_async.web.body import Body, BodyReader, Form, body_mark_of, is_raw, make_body, takes_upload, upload_hint
from ligand_async.web.core_schemas import Readable, describe, leaves, readable, schema_of
from ligand_async.web.depends import Depends, ServiceError, dependency_of, parameters_of_dependencies
from ligand_async.web.fields import Cookie, Fields, Header, Place, named_mark_of, takes_list
from ligand_async.web.plan import Plan

REQUIRED = inspect.Parameter.empty
_MODELS = ("query_args", "headers", "cookies")
NAMED_INPUTS = frozenset({"data", *_MODELS})
_MISTAKES = (PydanticUserError, PydanticUndefinedAnnotation, NameError, TypeError)


class OperationError(TypeError):
    """A handler cannot be an operation; the message names it, its parameter and the remedy."""


@dataclass(frozen=True, slots=True)
class TakenBody:
    """The body, and the parameters that take it.

    Attributes:
        reader: Reads it.
        names: The parameter that takes the whole body, or those that take parts of a form.
        is_whole: Whether one parameter takes the whole body.
        is_marked: Whether the parameter is marked with `Body()` or `Form()`, so that it is meant for any method.
    """

    reader: BodyReader
    names: tuple[str, ...]
    is_whole: bool = True
    is_marked: bool = False


@dataclass(frozen=True, slots=True)
class Inputs:
    """The parameters of a handler, by what their annotations say without the rule and the app.

    Attributes:
        name: The handler's qualified name, for messages.
        parameters: The names of all parameters.
        body: The body, if a name or a mark says what takes it.
        texts: Read from the path or else the query string: the annotation and the default of each.
        structures: Provided, or else the body: the annotation and the default of each.
        needed: Needed by functions in `Depends` only, and read from the path or else the query string: the annotations.
        marked: Read from a header or a cookie each: `headers` and `cookies`, with the parameters of each by name.
        others: The annotations of services, and of variables that a converter of the service's own makes.
        annotations: Those of all that may be read from the request, by name.
        query_model: The model of `query_args`, or None.
        headers_model: The model of `headers`, or None.
        cookies_model: The model of `cookies`, or None.
        session: The name of the parameter that takes the `AsyncSession`, or None.
        principal: The name of the parameter that takes the `Principal`, or None.
        principal_required: Whether an anonymous request is refused.
        request: The name of the parameter that takes Quart's request, or None.
        returns: The return annotation.
        title: What models of single parameters are called.
        module: The handler's module.
    """

    name: str
    parameters: frozenset[str]
    body: TakenBody | None
    texts: dict[str, tuple[Any, Any]]
    structures: dict[str, tuple[Any, Any]]
    needed: dict[str, Any]
    marked: "_Marked"
    others: dict[str, Any]
    annotations: dict[str, Any]
    query_model: type[BaseModel] | None
    headers_model: type[BaseModel] | None
    cookies_model: type[BaseModel] | None
    session: str | None
    principal: str | None
    principal_required: bool
    request: str | None
    returns: Any
    title: str
    module: str
    _queries: dict[Any, Fields | None] = field(default_factory=dict, repr=False, compare=False)

    def query(self, names: tuple[str, ...], model: type[BaseModel] | None) -> Fields | None:
        """Return the reader of the query string, which is validated once, as a whole.

        Args:
            names: The single parameters that are read from it under a rule.
            model: The model of `query_args`, which may be that of a service, or None.

        Raises:
            OperationError: A single parameter cannot be read from text, or `query_args` has a field of its name.
        """
        key = names, model
        if key not in self._queries:
            scalars = {name: self.texts.get(name) or (self.needed[name], REQUIRED) for name in names}
            self._queries[key] = _join_query(self, model, scalars)
        return self._queries[key]


@dataclass(frozen=True, slots=True)
class Binding:
    """Where the parameters of an operation, and of the services that it takes, come from under one rule of one app.

    Attributes:
        path: Reads the variables of the path whose annotations say more than their converters, or None.
        query: Reads the query string, or None.
        query_names: The single parameters that are read from it.
        takes_query_args: Whether `query_args` is read from it.
        headers: The headers, or None.
        header_names: The parameters that are read from them; `headers` takes all that is declared.
        cookies: The cookies, or None.
        cookie_names: The parameters that are read from them; `cookies` takes all that is declared.
        body: The body, or None.
        plan: How the services are made, or None without services.
    """

    path: Fields | None
    query: Fields | None
    query_names: tuple[str, ...]
    takes_query_args: bool
    headers: Fields | None
    header_names: tuple[str, ...]
    cookies: Fields | None
    cookie_names: tuple[str, ...]
    body: TakenBody | None
    plan: Plan | None


def read_inputs(handler: Callable[..., Any]) -> Inputs:
    """Read a handler's signature.

    Raises:
        OperationError: It is not a coroutine function, an annotation is missing or cannot be resolved, or a parameter
            cannot come from a request.
    """
    name = handler.__qualname__
    _check_coroutine(handler)
    hints = _resolve_hints(handler)
    if "return" not in hints:
        raise OperationError(f"{name} has no return annotation; annotate the body of its response, or `-> None`")
    _check_returns(name, hints["return"])
    found = _Found(name)
    for position, parameter in enumerate(inspect.signature(handler).parameters.values()):
        if position == 0 and parameter.name == "self":
            continue
        if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            raise OperationError(
                f"{name}: parameter {parameter} cannot be passed by name; make it an ordinary parameter"
            )
        if parameter.name not in hints:
            raise OperationError(f"{name}: parameter {parameter.name!r} has no annotation")
        found.parameters.append(parameter.name)
        found.add(parameter.name, hints[parameter.name], parameter.default)
    for function, parameter, hint in _parameters_of_dependencies(name, found.others):
        found.join(function, parameter, hint)
    principal, anyone = found.injected.get(Principal, (None, False))
    inputs = Inputs(
        name=name,
        parameters=frozenset(found.parameters),
        body=found.body(handler),
        texts=found.texts,
        structures=found.structures,
        needed=found.needed,
        marked=found.marked,
        others=found.others,
        annotations=found.annotations(),
        query_model=_check_model(found.named.get("query_args"), name, "query_args"),
        headers_model=_check_model(found.named.get("headers"), name, "headers"),
        cookies_model=_check_model(found.named.get("cookies"), name, "cookies"),
        session=found.injected.get(AsyncSession, (None, False))[0],
        principal=principal,
        principal_required=not anyone,
        request=found.injected.get(Request, (None, False))[0],
        returns=hints["return"],
        title="".join(word.title() for word in handler.__name__.split("_")),
        module=handler.__module__,
    )
    names = tuple(name for name, (_, default) in found.texts.items() if default is not REQUIRED)
    inputs.query(names, inputs.query_model)  # what cannot be joined is refused at once
    _join_marked(inputs, "headers", {})
    _join_marked(inputs, "cookies", {})
    return inputs


def _check_coroutine(handler: Callable[..., Any]) -> None:
    name = handler.__qualname__
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        raise OperationError(
            f"{name} yields, and an operation returns; move what yields into a function of its own and write "
            f"`return Response(stream(), mimetype=...)`, annotated `-> Response`"
        )
    if not inspect.iscoroutinefunction(handler):
        raise OperationError(f"{name} is not a coroutine function; write `async def {handler.__name__}`")


_ITERATORS = {AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator}


def _check_returns(name: str, returns: Any) -> None:
    if any((get_origin(member) or member) in _ITERATORS for member in members_of(returns)):
        raise OperationError(
            f"{name}: its return annotation is an iterator, and a response is made at once; annotate it as a list, or "
            "stream with `return Response(stream(), mimetype=...)`, annotated `-> Response`"
        )


_Marked = dict[str, dict[str, tuple[Any, Any]]]


class _Found:
    """The parameters of a handler and of the functions in `Depends`, by their kind."""

    def __init__(self, handler: str) -> None:
        self.handler = handler
        self.parameters: list[str] = []
        self.named: dict[str, Any] = {}
        self.injected: dict[type, tuple[str, bool]] = {}
        self.bodies: dict[str, tuple[Any, Any]] = {}
        self.parts: dict[str, tuple[Any, Any]] = {}  # of a form
        self.texts: dict[str, tuple[Any, Any]] = {}
        self.structures: dict[str, tuple[Any, Any]] = {}
        self.needed: dict[str, Any] = {}
        self.marked: _Marked = {"headers": {}, "cookies": {}}
        self.others: dict[str, Any] = {}

    def add(self, name: str, hint: Any, default: Any) -> None:
        """Add a parameter of the handler."""
        kind, optional = without_none(hint)
        mark = body_mark_of(hint)
        if isinstance(default, _MARKS):
            written = f"Annotated[{_type_name(hint)}, {type(default).__name__}(...)]"
            self.refuse(name, f"has {type(default).__name__}() as its default; write {name}: {written}")
        elif name in _MODELS:
            self.named[name] = hint
        elif (place := _place_of(hint)) is not None:
            self.marked[place][name] = (hint, default)
        elif (injected := _injected(kind)) is not None:
            if injected in self.injected:
                raise OperationError(
                    f"{self.handler}: two parameters are annotated {injected.__name__}; a request has one"
                )
            self.injected[injected] = (name, optional)
        elif dependency_of(hint) is not None or (isinstance(kind, type) and issubclass(kind, Settings)):
            self.others[name] = hint
        elif isinstance(mark, Form) or takes_upload(hint):
            self.parts[name] = (hint, default)
        elif isinstance(mark, Body) or name == "data":
            self.bodies[name] = (hint, default)
        elif is_raw(hint):
            written = "bytes" if kind is bytes else "AsyncIterator[bytes]"
            self.refuse(
                name, f'takes the body as it is sent; write Annotated[{written}, Body("application/octet-stream")]'
            )
        else:
            self.add_by_type(name, hint, default)

    def add_by_type(self, name: str, hint: Any, default: Any) -> None:
        """Add a parameter that only its type tells apart."""
        match _readable(hint):
            case "text":
                self.texts[name] = (hint, default)
            case "structure":
                self.structures[name] = (hint, default)
            case _ if default is REQUIRED:
                self.others[name] = hint
            case _:
                self.refuse(
                    name,
                    "cannot be read from a query string, and it has a default; annotate it with a type that a text "
                    "can hold, or remove the default to have it injected",
                )

    def join(self, function: str, parameter: inspect.Parameter, hint: Any) -> None:
        """Add a parameter of a function in `Depends`, if it is read from the request.

        Raises:
            OperationError: The handler, or another function, takes the same input as something else.
        """
        name, default = parameter.name, parameter.default
        kind, _ = without_none(hint)
        if isinstance(default, _MARKS):
            self.handler = f"{self.handler} -> {function}"
            self.add(name, hint, default)
        if name in _MODELS:
            is_same = self.named.setdefault(name, hint) == hint
        elif (place := _place_of(hint)) is not None:
            is_same = self.marked[place].setdefault(name, (hint, default)) == (hint, default)
        elif name == "data":
            is_same = self.bodies.setdefault(name, (hint, REQUIRED))[0] == hint if name not in self.parts else True
        elif (
            _injected(kind) is not None
            or (isinstance(kind, type) and issubclass(kind, Settings))
            or dependency_of(hint) is not None
        ):
            return
        elif default is REQUIRED:
            # Of what is read for the handler or for another function, the planner compares the annotations.
            if name not in self.annotations() and _readable(hint) == "text":
                self.needed.setdefault(name, hint)
            return
        else:
            if name not in self.texts:
                self.add_by_type(name, hint, default)
            is_same = self.texts.get(name, (hint, default)) == (hint, default)
        if not is_same:
            raise OperationError(
                f"{self.handler} -> {function}: parameter {name!r} is read once for the request, and is declared "
                "otherwise elsewhere; give it the same annotation and default, or another name"
            )

    def annotations(self) -> dict[str, Any]:
        """Return the annotations of all that may be read from the request."""
        marked = self.marked["headers"] | self.marked["cookies"]
        single = self.texts | self.structures | self.bodies | self.parts | marked
        return self.named | self.others | {name: hint for name, (hint, _) in single.items()}

    def body(self, handler: Callable[..., Any]) -> TakenBody | None:
        """Return the body that a name or a mark tells, after looking for a second one."""
        taken = [*self.bodies, *self.parts]
        if len(self.bodies) > 1 or (self.bodies and self.parts):
            raise OperationError(
                f"{self.handler}: parameters {_listed(taken)} take the body, and a request has one; join them in one "
                "model, or mark each as a part of a form: Annotated[..., Form()]"
            )
        models = [name for name, (hint, _) in self.structures.items() if _is_model(hint)]
        if not taken and len(models) > 1:
            raise OperationError(
                f"{self.handler}: parameters {_listed(models)} are models, and a request has one body; join them in "
                f"one model, name the one from the query string query_args, or mark the body: "
                f"{models[0]}: Annotated[{_type_name(self.structures[models[0]][0])}, Body()]"
            )
        for name, (hint, default) in self.bodies.items():
            reader = _body_reader(self.handler, name, hint, default)
            return TakenBody(reader, (name,), is_marked=body_mark_of(hint) is not None)
        return self.form(handler) if self.parts else None

    def form(self, handler: Callable[..., Any]) -> TakenBody:
        """Return the form: the one model that is all of it, or a model that joins its parts."""
        (name, (hint, default)), *more = self.parts.items()
        if not more and (name == "data" or _is_model(hint)) and not takes_upload(hint):
            return TakenBody(_body_reader(self.handler, name, hint, default), (name,), is_marked=True)
        fields = {name: (upload_hint(hint), default) for name, (hint, default) in self.parts.items()}
        joined = _create_model(handler.__name__, "Form", handler.__module__, fields, self.handler, "a form")
        reader = _body_reader(self.handler, _listed(fields), Annotated[joined, Form()], REQUIRED)
        return TakenBody(reader, tuple(fields), is_whole=False, is_marked=True)

    def refuse(self, name: str, words: str) -> NoReturn:
        """Raise the error of a parameter."""
        raise OperationError(f"{self.handler}: parameter {name!r} {words}")


_MARKS = (Body, Cookie, Depends, Form, Header)


def _place_of(hint: Any) -> str | None:
    """Return the place that a mark names, `headers` or `cookies`, or None."""
    mark = named_mark_of(hint)
    return None if mark is None else "headers" if isinstance(mark, Header) else "cookies"


def _injected(kind: Any) -> type | None:
    """Return the type by which a parameter is given the session, the caller or the request, or None."""
    if kind in {AsyncSession, Principal}:
        found: type = kind
        return found
    return Request if isinstance(kind, type) and issubclass(kind, Request) else None


def _readable(hint: Any) -> Readable:
    """Return what can be read into an annotation. Classes with fields are not looked into: they may be services."""
    if any(_is_structure(member) for member in members_of(hint)):
        return "structure"
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # an alias is for the field to come
            return readable(schema_of(TypeAdapter(hint)))
    except _MISTAKES:
        return "nothing"


def _is_structure(member: Any) -> bool:
    kind = plain(member)
    kind = get_origin(kind) or kind
    if not isinstance(kind, type):
        return False
    return _is_model(kind) or issubclass(kind, dict) or is_dataclass(kind) or is_typeddict(kind)


def _is_model(hint: Any) -> bool:
    return any(isinstance(one := plain(member), type) and issubclass(one, BaseModel) for member in members_of(hint))


def _type_name(hint: Any) -> str:
    kind = bare(hint)
    return str(kind if get_origin(kind) is not None else getattr(kind, "__name__", kind))


def _listed(names: Iterable[str]) -> str:
    return " and ".join(map(repr, names))


def _parameters_of_dependencies(handler: str, others: dict[str, Any]) -> Iterator[tuple[str, inspect.Parameter, Any]]:
    try:
        yield from parameters_of_dependencies(others.values())
    except ServiceError as error:
        raise OperationError(f"{handler} -> {error}") from error


def _resolve_hints(handler: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(handler, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise OperationError(
            f"{handler.__qualname__}: an annotation cannot be resolved ({error}); "
            "import the name at run time, at the top of the module, and not under TYPE_CHECKING"
        ) from error


def _body_reader(handler: str, name: str, hint: Any, default: Any) -> BodyReader:
    absent = (default,) if default is not REQUIRED else (None,) if without_none(hint)[1] else ()
    try:
        return make_body(hint, absent)
    except _MISTAKES as error:
        raise OperationError(f"{handler}: parameter {name!r} cannot be read from a body: {error}") from error


def _join_query(inputs: Inputs, base: type[BaseModel] | None, scalars: dict[str, tuple[Any, Any]]) -> Fields | None:
    if not scalars:
        return None if base is None else _fields_of(base, inputs.name, "query_args", "parameter")
    for name in scalars:
        if base is not None and name in base.model_fields:
            raise OperationError(f"{inputs.name}: {name!r} is a field of query_args and a parameter; keep one of them")
    joined = _create_model(inputs.title, "Query", inputs.module, scalars, inputs.name, "a query string", base=base)
    return _fields_of(joined, inputs.name, _listed(scalars), "parameter")


def _join_marked(inputs: Inputs, place: str, more: Mapping[str, Any]) -> tuple[Fields | None, tuple[str, ...]]:
    """Return the reader of the headers or the cookies, and the parameters that are read from them.

    Args:
        inputs: The handler's.
        place: `headers` or `cookies`.
        more: The annotations of what only services take.

    Raises:
        OperationError: A parameter cannot be read from text, or the model has a field of its name.
    """
    declared = inputs.headers_model if place == "headers" else inputs.cookies_model
    base = declared or _check_model(more.get(place), inputs.name, place)
    single = inputs.marked[place] | {name: (hint, REQUIRED) for name, hint in more.items() if _place_of(hint) == place}
    kind: Place = "header" if place == "headers" else "cookie"
    names = (*(() if base is None else (place,)), *single)
    if not single:
        return None if base is None else _fields_of(base, inputs.name, place, kind), names
    fields = {}
    for name, (hint, default) in single.items():
        if base is not None and name in base.model_fields:
            raise OperationError(f"{inputs.name}: {name!r} is a field of {place} and a parameter; keep one of them")
        mark = named_mark_of(hint)
        assert mark is not None  # noqa: S101  (that is why it is here)
        named = hint if mark.name is None else Annotated[hint, Field(alias=mark.name)]
        fields[name] = (named, default)
    title = f"{place.title()}"
    joined = _create_model(inputs.title, title, inputs.module, fields, inputs.name, f"a {kind}", base=base)
    return _fields_of(joined, inputs.name, _listed(single), kind), names


def _create_model(
    title: str,
    suffix: str,
    module: str,
    parameters: Mapping[str, tuple[Any, Any]],
    handler: str,
    place: str,
    *,
    base: type[BaseModel] | None = None,
) -> type[BaseModel]:
    """Join single parameters into one model.

    Raises:
        OperationError: One of them cannot be a field.
    """
    words = "".join(word[:1].upper() + word[1:] for word in title.split("_"))
    config: dict[str, Any] = {"__config__": ConfigDict(extra="forbid")} if base is None else {"__base__": base}
    fields: dict[str, Any] = {
        name: (hint, ... if default is REQUIRED else default) for name, (hint, default) in parameters.items()
    }
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # a parameter may be called `json`
            joined: type[BaseModel] = create_model(f"{words}{suffix}", __module__=module, **config, **fields)
            describe(TypeAdapter(joined))
    except _MISTAKES as error:
        raise OperationError(f"{handler}: {_listed(parameters)} cannot be read from {place}: {error}") from error
    return joined


def _fields_of(model: type[BaseModel], handler: str, name: str, place: Place) -> Fields:
    try:
        return Fields(model, place)
    except _MISTAKES as error:
        raise OperationError(f"{handler}: {name}: {error}") from error


def _check_model(model: Any, handler: str, name: str) -> type[BaseModel] | None:
    if model is None:
        return None
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise OperationError(f"{handler}: {name} needs a pydantic model as its annotation")
    try:
        describe(TypeAdapter(model))
    except _MISTAKES as error:
        raise OperationError(f"{handler}: parameter {name!r} cannot be read or described: {error}") from error
    return model


_MakePlan = Callable[[str, Mapping[str, Any], Mapping[str, Any]], Plan]


def bind(
    inputs: Inputs, converters: Mapping[str, BaseConverter | None], services: Container[Any], make_plan: _MakePlan
) -> Binding:
    """Find where each parameter comes from under one rule: the path, a service, the query string, or the body.

    Args:
        inputs: The handler's.
        converters: The variables of the rule, with their converters; None for one that `defaults` gives.
        services: Contains the types that are provided.
        make_plan: Plans the services. Arguments: the handler's name, the annotations of the services, and those of all
            that is read from the request, None where they are not known.

    Raises:
        OperationError: A parameter cannot come from where the rule or the app puts it.
        ServiceError: The services do not fit together.
    """
    elsewhere = {*_MODELS, *inputs.marked["headers"], *inputs.marked["cookies"]}
    for name in sorted(converters.keys() & {*elsewhere, *(() if inputs.body is None else inputs.body.names)}):
        raise OperationError(
            f"the rule's variable {name!r} has the name of a parameter that is read from elsewhere; rename the variable"
        )
    needs = {name: hint for name, hint in inputs.others.items() if name not in converters}
    query_names = []
    for name, (hint, default) in inputs.texts.items():
        if name in converters:
            continue
        if default is REQUIRED and without_none(hint)[0] in services:
            needs[name] = hint
        else:
            query_names.append(name)
    bodies = {}
    for name, (hint, default) in inputs.structures.items():
        if name in converters:
            raise OperationError(f"{name!r} is a variable of the path, which cannot hold {_type_name(hint)}")
        if without_none(hint)[0] not in services:
            bodies[name] = (hint, default)
        elif name in inputs.parameters:
            needs[name] = hint
    body = _find_body(inputs, bodies)
    named_inputs = [name for name in _MODELS if name in inputs.annotations]
    marked = [name for place in inputs.marked.values() for name in place]
    read = (*converters, *query_names, *named_inputs, *marked, *(() if body is None else body.names))
    given = inputs.needed | {name: inputs.annotations.get(name) for name in read}
    plan = make_plan(inputs.name, needs, given) if needs else None
    named = {} if plan is None else plan.named
    query_names += [name for name in inputs.needed if name in named and name not in read]
    read = (*read, *query_names)
    more = {name: hint for name, hint in named.items() if name not in read}  # only services take these
    headers, header_names = _join_marked(inputs, "headers", more)
    cookies, cookie_names = _join_marked(inputs, "cookies", more)
    query_model = inputs.query_model or _check_model(more.get("query_args"), inputs.name, "query_args")
    return Binding(
        path=_path_fields(inputs, converters, named),
        query=inputs.query(tuple(query_names), query_model),
        query_names=tuple(query_names),
        takes_query_args=query_model is not None,
        headers=headers,
        header_names=header_names,
        cookies=cookies,
        cookie_names=cookie_names,
        body=_body_of_services(inputs, body, more["data"]) if "data" in more else body,
        plan=plan,
    )


def _body_of_services(inputs: Inputs, body: TakenBody | None, hint: Any) -> TakenBody:
    """Return the body that only services take."""
    if body is not None:
        raise OperationError(
            f"a service takes the body as 'data', and the body is {_listed(body.names)}; call both parameters the same"
        )
    reader = _body_reader(inputs.name, "data", hint, REQUIRED)
    return TakenBody(reader, ("data",), is_marked=body_mark_of(hint) is not None)


def _find_body(inputs: Inputs, bodies: dict[str, tuple[Any, Any]]) -> TakenBody | None:
    if not bodies:
        return inputs.body
    name, (hint, default) = next(iter(bodies.items()))
    written = _type_name(hint)
    if inputs.body is not None:
        raise OperationError(
            f"parameter {name!r}: the body is {_listed(inputs.body.names)} already, and nothing provides {written}; "
            f"add it to create_app(provide=…), or write Annotated[{written}, Depends(function)]"
        )
    if len(bodies) > 1:
        raise OperationError(
            f"parameters {_listed(bodies)} could each be the body; join them in one model, add the services among them "
            f"to create_app(provide=…), or mark the body: {name}: Annotated[{written}, Body()]"
        )
    return TakenBody(_body_reader(inputs.name, name, hint, default), (name,))


_NUMBERS = frozenset({"int", "float", "decimal", "enum", "literal"})
_FUNCTIONS = frozenset({"function-before", "function-plain", "function-wrap"})


def _made_by(converter: BaseConverter) -> tuple[type, frozenset[str]] | None:
    """Return the type that a converter makes and the schemas that take it; None for one of the service's own."""
    method = type(converter).to_python
    if method is BaseConverter.to_python:
        return str, frozenset()
    if isinstance(converter, UUIDConverter) and method is UUIDConverter.to_python:
        return UUID, frozenset({"uuid"}) | _FUNCTIONS
    if isinstance(converter, IntegerConverter) and method is NumberConverter.to_python:
        return int, _NUMBERS | _FUNCTIONS
    if isinstance(converter, FloatConverter) and method is NumberConverter.to_python:
        return float, _NUMBERS - {"int"} | _FUNCTIONS
    return None


def _path_fields(
    inputs: Inputs, converters: Mapping[str, BaseConverter | None], of_services: Mapping[str, Any]
) -> Fields | None:
    """Return the reader of the variables that are read by more than their converters.

    Raises:
        OperationError: An annotation and a converter do not agree.
    """
    fields = {}
    for name, converter in converters.items():
        hint = inputs.annotations.get(name, of_services.get(name))
        made = None if converter is None else _made_by(converter)
        if made is None or hint in (None, Any, object) or hint is made[0]:
            continue
        type_, schemas = made
        if takes_list(hint):
            raise OperationError(f"{name!r} is a variable of the path, which holds one value, not {_type_name(hint)}")
        if not _takes(hint, schemas):
            raise OperationError(f"{name!r} is annotated {_type_name(hint)}, and its converter makes {type_.__name__}")
        fields[name] = (hint, REQUIRED)
    if not fields:
        return None
    return Fields(_create_model(inputs.title, "Path", inputs.module, fields, inputs.name, "a path"), "parameter")


def _takes(hint: Any, schemas: frozenset[str]) -> bool:
    """Return whether an annotation takes what a converter makes; without schemas that is text."""
    if _readable(hint) != "text":
        return False
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        return not schemas or not schemas.isdisjoint(leaves(schema_of(TypeAdapter(hint))))
