"""Strict validation of JSON that counts mistakes before it makes them, so that refusing costs no more than taking.

pydantic makes an error for every wrong part of a document, and 1 MiB has room for 340,000 of them. Here a schema is
changed so that it stops:

- A part that may be repeated (an item of a list, a value of a mapping, a class inside itself) is counted when it is
  wrong, and beyond `MAX_WRONG` the validation ends. Then the first mistakes are looked for: the document is read until
  the first mistake of each list, and the items that follow it are read once more.
- Where a wrong part is an ordinary thing, as in the members of a union, lists and mappings end at their first mistake.
- An object may have `MAX_UNKNOWN` keys more than its class knows. Large documents are looked at before they are
  validated.

A document without mistakes is validated as ever, and nothing of this runs.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from threading import local
from typing import Any

from pydantic import ValidationError
from pydantic_core import CoreConfig, PydanticCustomError, SchemaValidator, core_schema, to_json

_Node = dict[str, Any]
_Place = tuple[str | int, ...]

MAX_WRONG = 100
"""Repeated parts of a document that may be wrong before its validation ends."""
_MAX_COUNTED = 2 * MAX_WRONG  # the lists around a wrong item are wrong, too
MAX_UNKNOWN = 100
"""Keys that an object may have beyond those of its class before it is refused without a look at their values."""
MAX_ERRORS = 1000
"""Errors of pydantic that are read."""
COUNTED = "ligand_counted"
"""The step in pydantic's locations, and the type of the errors, that the counting adds."""
LARGE = 16 * 1024
"""Bytes of a document for which `check_size` must be called; a smaller one has few keys."""
_UNKNOWN_KEYS = PydanticCustomError("extra_forbidden", "Extra inputs are not permitted")
_COUNTED_ERROR = PydanticCustomError(COUNTED, "counted")


# The keys of a schema whose values are schemas.
PARTS = frozenset(
    {
        "schema",
        "items_schema",
        "keys_schema",
        "values_schema",
        "extras_schema",
        "extras_keys_schema",
        "fields",
        "choices",
        "definitions",
        "steps",
        "lax_schema",
        "strict_schema",
        "json_schema",
        "python_schema",
    }
)


class TooManyMistakes(Exception):
    """A document has more wrong parts than are counted."""


class UnknownKeys(Exception):
    """An object has many more keys than its class.

    Attributes:
        place: Where the object is.
        names: The first keys that the class does not know.
    """

    def __init__(self, place: _Place, names: list[str]) -> None:
        super().__init__("an object has many unknown keys")
        self.place = place
        self.names = names


class StrictValidator:
    """Validates one type from JSON.

    Args:
        schema: Its core schema.

    Attributes:
        validate_json: Validates bytes; raises `pydantic.ValidationError` or `TooManyMistakes`. After any exception
            `find_mistakes` or `reset` must be called.
        validate_python: Validates an object.
    """

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._count = _Count()
        self._definitions = definitions_of(schema)
        main = _Bounding(self._definitions, self._count, is_first=False)
        validator = _validator_of(main.change_all(schema))
        self.validate_json: Callable[[bytes], Any] = validator.validate_json
        self.validate_python = validator.validate_python
        self._first: SchemaValidator | None = None
        self._look = _Widths(self._definitions).look_of(schema)
        self._is_tree = main.is_tree

    def check_size(self, raw: bytes, document: Any) -> None:
        """Look for objects that are far too large, in a document of more than `LARGE` bytes.

        Args:
            raw: The document.
            document: The same as plain data.

        Raises:
            UnknownKeys: There is one.
            pydantic.ValidationError: The type is a tree of unions, and the document does not fit it.
        """
        found = None if self._look is None else self._look(document)
        if found:
            raise UnknownKeys(*found)
        if self._is_tree:
            self._read_first(raw)

    def find_mistakes(self, error: Exception, raw: bytes, document: Any) -> list[Any]:
        """Return the errors of a document, as pydantic writes them, after `validate_json` has failed.

        Args:
            error: What it raised.
            raw: The document.
            document: The same as plain data.

        Returns:
            The errors: all of them, or the first ones if there are too many; empty if they cannot be told.
        """
        self.reset()
        if isinstance(error, ValidationError) and error.error_count() <= MAX_ERRORS:
            return errors_of(error)
        try:
            self._read_first(raw)
        except ValidationError as first:
            if first.error_count() <= MAX_ERRORS:
                found = errors_of(first)
                return self._read_on(found[0]["loc"], document) or found
        except TooManyMistakes:
            pass
        finally:
            self.reset()
        return []

    def _read_on(self, place: _Place, document: Any) -> list[Any]:
        """Return the errors of the item of a list at a place, and of the items that follow it; empty if too many."""
        window = _Window(document, place)
        if not window.is_found:
            return []
        self.reset()
        try:
            self.validate_json(to_json(window.document))
        except ValidationError as error:
            return window.own_errors(errors_of(error)) if error.error_count() <= MAX_ERRORS else []
        except TooManyMistakes:
            pass
        return []

    def reset(self) -> None:
        """Forget what was counted."""
        self._count.number = 0

    def _read_first(self, raw: bytes) -> None:
        """Validate until the first mistake of each list."""
        if self._first is None:
            first = _Bounding(self._definitions, self._count, is_first=True)
            self._first = _validator_of(first.change_all(self._schema))
        self._first.validate_json(raw)


def errors_of(error: ValidationError) -> list[Any]:
    """Return pydantic's errors without those that only count."""
    found = error.errors(include_url=False)
    return [
        {**item, "loc": tuple(step for step in item["loc"] if step != COUNTED)} if COUNTED in item["loc"] else item
        for item in found
        if item["type"] != COUNTED
    ]


class _Window:
    """A part of a document: of the lists on the way to a place some items only.

    Args:
        document: Plain data.
        place: A location of pydantic, which may have steps that are not in the document.

    Attributes:
        document: The same, with at most `MAX_WRONG` items of the innermost list, and one item of the others.
        is_found: Whether there is such a list.
    """

    def __init__(self, document: Any, place: _Place) -> None:
        steps = _steps_in(document, place)
        indices = [at for at, step in enumerate(steps) if isinstance(step, int)]
        self.is_found = bool(indices)
        self._last = indices[-1] if indices else -1
        self._steps = steps
        self.document = self._cut(document, 0)

    def own_errors(self, errors: list[Any]) -> list[Any]:
        """Return the errors of the items, at their places in the whole document."""
        found = []
        for error in errors:
            steps = _steps_in(self.document, error["loc"])
            way = tuple(0 if isinstance(step, int) else step for step in self._steps[: self._last])
            if steps[: self._last] == way and len(steps) > self._last:
                pairs = zip(steps, self._steps[: self._last + 1], strict=False)
                shifted = [a + b if isinstance(a, int) and isinstance(b, int) else a for a, b in pairs]
                rest = error["loc"][-1:] if error["type"] == "missing" else ()
                found.append({**error, "loc": (*shifted, *steps[self._last + 1 :], *rest)})
        return found

    def _cut(self, part: Any, at: int) -> Any:
        if at > self._last:
            return part
        step: Any = self._steps[at]
        if at == self._last:
            return part[step : step + MAX_WRONG]
        inner = self._cut(part[step], at + 1)
        return [inner] if isinstance(step, int) else {**part, step: inner}


def _steps_in(document: Any, place: _Place) -> _Place:
    """Return the steps of a location that lead through a document."""
    found: list[str | int] = []
    for step in place:
        is_there = (
            isinstance(step, int) and 0 <= step < len(document)
            if isinstance(document, list)
            else isinstance(document, dict) and step in document
        )
        if is_there:
            document = document[step]
            found.append(step)
    return tuple(found)


class _Count(local):
    """The wrong parts of the document that this thread validates."""

    number = 0

    def add(self, _value: Any) -> Any:
        """Count one, and stay wrong.

        Raises:
            TooManyMistakes: It is one too many.
        """
        self.number += 1
        if self.number > _MAX_COUNTED:
            raise TooManyMistakes
        raise _COUNTED_ERROR


_SEQUENCES = frozenset({"list", "deque", "set", "frozenset", "tuple"})
_MAPPINGS = frozenset({"dict", "frozen-dict", "ordered-dict", "counter"})
_FAST = _SEQUENCES | _MAPPINGS


class _Bounding:
    """Changes a schema so that the number of its errors is bounded.

    Args:
        definitions: The schemas that have names.
        count: Counts the wrong parts.
        is_first: Whether lists and mappings end at their first mistake everywhere.
    """

    def __init__(self, definitions: Mapping[str, Any], count: _Count, *, is_first: bool) -> None:
        self._is_first = is_first
        self._recursive = {name for name in definitions if name in _reached(definitions[name], definitions)}
        self._tried = {
            name
            for node in nodes_of([*definitions.values()])
            if _is_trial(node)
            for name in _reached(node, definitions)
        }
        self._definitions = definitions
        self.is_tree = False
        # It fails without a look at the value, calls `count`, and fails again.
        counts = core_schema.chain_schema(
            [core_schema.none_schema(), core_schema.no_info_plain_validator_function(count.add)]
        )
        self._counter = core_schema.with_default_schema(counts, default=None, on_error="default", validate_default=True)

    def change_all(self, schema: Any) -> Any:
        """Change a whole schema."""
        self._tried |= {
            name for node in nodes_of(schema) if _is_trial(node) for name in _reached(node, self._definitions)
        }
        return self._change(schema, is_tried=False)

    def _change(self, node: Any, *, is_tried: bool, is_closed: bool = False) -> Any:
        if isinstance(node, list):
            return [self._change(part, is_tried=is_tried) for part in node]
        if isinstance(node, tuple):  # a choice and its label
            return (self._change(node[0], is_tried=is_tried), *node[1:])
        if not isinstance(node, dict):
            return node
        kind = node.get("type")
        if not isinstance(kind, str):  # schemas by name
            return {name: self._change(part, is_tried=is_tried) for name, part in node.items()}
        if kind == "definitions":
            return self._change_definitions(node, is_tried=is_tried)
        is_inside = is_tried or _is_trial(node)
        is_closed = _is_closed(node) if kind in _CLASSES else is_closed and kind.startswith("function-")
        changed = {
            key: self._change(part, is_tried=is_inside, is_closed=is_closed) if key in PARTS else part
            for key, part in node.items()
        }
        if kind in {"function-before", "function-wrap"}:
            changed = {**changed, "schema": self._guarded(changed["schema"], is_closed=is_closed)}
        if kind == "definition-ref" and node["schema_ref"] in self._recursive:
            return self._bound_recursion(changed, is_tried=is_tried)
        if kind in _FAST and (is_tried or self._is_first):
            return {**changed, "fail_fast": True}
        if is_tried or self._is_first:
            return changed
        return self._count_parts(changed)

    def _change_definitions(self, node: _Node, *, is_tried: bool) -> _Node:
        definitions = [self._change(one, is_tried=one["ref"] in self._tried) for one in node["definitions"]]
        return {**node, "schema": self._change(node["schema"], is_tried=is_tried), "definitions": definitions}

    def _bound_recursion(self, node: _Node, *, is_tried: bool) -> Any:
        """Let a class inside itself count as a repeated part; in unions it has one error for all that is inside."""
        if not (is_tried or node["schema_ref"] in self._tried):
            return self._counted(node)
        self.is_tree = True
        if not self._is_first:
            return node  # bounded by the size of small documents; large ones are read with `is_first` before
        return core_schema.custom_error_schema(
            node,
            custom_error_type="invalid_part",
            custom_error_message="Input is not valid",
        )

    def _guarded(self, node: Any, *, is_closed: bool) -> Any:
        """Refuse an object that a function of the service has made, if its class knows far fewer keys."""
        look = _Widths(self._definitions).look_of(node, is_closed=is_closed)
        if look is None:
            return node

        def check(value: Any) -> Any:
            if type(value) is dict and look(value):
                raise _UNKNOWN_KEYS
            return value

        return core_schema.no_info_before_validator_function(check, node)

    def _count_parts(self, node: _Node) -> _Node:
        kind = node["type"]
        if kind == "tuple":
            index = node.get("variadic_item_index")
            if index is None:
                return node
            items = [self._counted(part) if at == index else part for at, part in enumerate(node["items_schema"])]
            return {**node, "items_schema": items}
        keys: tuple[str, ...] = ("extras_schema", "extras_keys_schema")
        if kind in _SEQUENCES:
            keys = ("items_schema",)
        elif kind in _MAPPINGS:
            keys = ("keys_schema", "values_schema")
        return {key: self._counted(part) if key in keys else part for key, part in node.items()}

    def _counted(self, node: Any) -> Any:
        if node["type"] == "union" and any(type(one) is tuple and one[0] is self._counter for one in node["choices"]):
            return node  # a class inside itself is counted already
        return core_schema.union_schema([(node, COUNTED), (self._counter, COUNTED)], mode="left_to_right")


def _is_trial(node: Any) -> bool:
    """Return whether a document may be right although what is inside this schema finds it wrong."""
    return node["type"] in {"union", "function-wrap"} or (
        node["type"] == "default" and node.get("on_error", "raise") != "raise"
    )


def nodes_of(schema: Any) -> Iterator[_Node]:
    """Yield a schema and every schema inside it."""
    if isinstance(schema, list | tuple):
        for part in schema:
            yield from nodes_of(part)
    if not isinstance(schema, dict):
        return
    is_node = isinstance(schema.get("type"), str)
    if is_node:
        yield schema
    for key, part in schema.items():
        if key in PARTS or not is_node:
            yield from nodes_of(part)


def definitions_of(schema: Any) -> dict[str, Any]:
    """Return the schemas that have names, by their names."""
    return {
        one["ref"]: one for node in nodes_of(schema) if node["type"] == "definitions" for one in node["definitions"]
    }


def _reached(schema: Any, definitions: Mapping[str, Any]) -> set[str]:
    """Return the names of the schemas that are used inside a schema, directly or by others."""
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        names = {node["schema_ref"] for node in nodes_of(waiting.pop()) if node["type"] == "definition-ref"} - found
        found |= names
        waiting += [definitions[name] for name in names if name in definitions]
    return found


def _validator_of(schema: Any) -> SchemaValidator:
    # False: otherwise pydantic-core 2.50 uses the validators of nested classes, and our changes are lost.
    return SchemaValidator(schema, CoreConfig(strict=True), False)


# Objects with far too many keys.

_Wide = tuple[_Place, list[str]]
_Look = Callable[[Any], _Wide | None]
_CLASS_PARTS = frozenset({"model-fields", "typed-dict", "dataclass-args"})
_CLASSES = frozenset({"model", "dataclass"})


class _Widths:
    """Makes functions that look for an object with far too many keys in a document.

    They look where a class refuses unknown keys, and stop at functions of the service, which may change an object
    before its class sees it.
    """

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._looks: dict[str, _Look | None] = {}

    def look_of(self, node: Any, *, is_closed: bool = False) -> _Look | None:
        """Return the function of a schema, or None if there is nothing to look at."""
        kind = node["type"]
        if kind in _CLASSES:
            return self.look_of(node["schema"], is_closed=_is_closed(node))
        if kind in _CLASS_PARTS:
            config = (node.get("config") or {}).get("extra_fields_behavior")
            behavior = node.get("extra_behavior") or config or ("forbid" if is_closed else "ignore")
            return self._look_of_class(node, is_closed=behavior == "forbid")
        if kind == "definition-ref":
            return self._look_of_reference(node["schema_ref"])
        if kind in {"union", "tagged-union"}:
            choices = node["choices"]
            parts = choices.values() if isinstance(choices, dict) else choices
            return self._look_of_choices([part[0] if isinstance(part, tuple) else part for part in parts])
        if kind in _FAST:
            return self._look_of_parts(node)
        inner = {"lax-or-strict": "strict_schema", "json-or-python": "json_schema"}.get(kind, "schema")
        if kind in {"function-before", "function-wrap", "json"} or not isinstance(node.get(inner), dict):
            return None
        return self.look_of(node[inner])

    def _look_of_parts(self, node: _Node) -> _Look | None:
        inner = node.get("values_schema", node.get("items_schema"))
        if isinstance(inner, list):
            inner = inner[0] if len(inner) == 1 and "variadic_item_index" in node else None
        look = None if inner is None else self.look_of(inner)
        if look is None:
            return None
        kind = dict if node["type"] in _MAPPINGS else list

        def look_at(value: Any) -> _Wide | None:
            if type(value) is not kind:
                return None
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for step, item in items:
                if found := look(item):
                    return (step, *found[0]), found[1]
            return None

        return look_at

    def _look_of_class(self, node: _Node, *, is_closed: bool) -> _Look | None:
        fields = node["fields"]
        named = fields.items() if isinstance(fields, dict) else ((field["name"], field) for field in fields)
        known: set[str] = set()
        looks: list[tuple[str, _Look]] = []
        for name, field in named:
            names = {name, *_first_steps(field.get("validation_alias"))}
            known |= names
            look = self.look_of(field["schema"])
            looks += [(one, look) for one in names] if look is not None else []
        if not (is_closed or looks):
            return None
        most = len(known) + MAX_UNKNOWN

        def look_at(value: Any) -> _Wide | None:
            if type(value) is not dict:
                return None
            if is_closed and len(value) > most:
                return (), [key for key in value if key not in known][:MAX_UNKNOWN]
            for name, look in looks:
                if name in value and (found := look(value[name])):
                    return (name, *found[0]), found[1]
            return None

        return look_at

    def _look_of_reference(self, name: str) -> _Look | None:
        if name not in self._looks:
            self._looks[name] = lambda value: look(value) if (look := self._looks[name]) else None
            made = self.look_of(self._definitions[name]) if name in self._definitions else None
            self._looks[name] = made
            return made
        return lambda value: look(value) if (look := self._looks[name]) else None

    def _look_of_choices(self, choices: list[Any]) -> _Look | None:
        """Look with each choice that takes objects or lists; all of them must find something."""
        taking = [(self._kinds_of(choice), self.look_of(choice)) for choice in choices]
        found = {kind: [look for kinds, look in taking if kind in kinds] for kind in (dict, list)}

        def look_at(value: Any) -> _Wide | None:
            looks = found.get(type(value), [])
            wide = [None if look is None else look(value) for look in looks]
            return wide[0] if wide and all(wide) else None

        return look_at if any(look is not None for _, look in taking) else None

    def _kinds_of(self, node: Any) -> Collection[type]:
        """Return the kinds of documents that a schema can take, of objects and lists."""
        kind = node["type"]
        if kind in _SINGLE:
            return ()
        if kind in _SEQUENCES:
            return (list,)
        if kind in _CLASSES and not node.get("root_model"):
            return (dict,)
        if kind in _MAPPINGS or kind in _CLASS_PARTS:
            return (dict,)
        if kind in {"default", "nullable", "definitions", "function-after", "model"}:
            return self._kinds_of(node["schema"])
        return (dict, list)


_SINGLE = frozenset(
    "none bool int float decimal str bytes date time datetime timedelta literal enum uuid url multi-host-url".split()  # noqa: SIM905  (a line each would take fifteen)
)


def _is_closed(node: Any) -> bool:
    return bool((node.get("config") or {}).get("extra_fields_behavior") == "forbid")


def _first_steps(alias: Any) -> Iterator[str]:
    """Yield the keys that a field is read from: pydantic's aliases are a name, a path, or several paths."""
    if isinstance(alias, str):
        yield alias
    elif alias and isinstance(alias[0], list):
        yield from (str(path[0]) for path in alias)
    elif alias:
        yield str(alias[0])
