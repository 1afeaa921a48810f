"""Stubs: what type checkers and editors read in the place of a module that derives schemas.

A stub (PEP 484) has all of its module: derived schemas with their fields, and everything else as it is written, without
the bodies of functions. Checkers do not read the module itself any more.
"""

import ast
import builtins
import copy
import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import MISSING, JsonValue
from pydantic.fields import FieldInfo

from ligand_async.data.schemas.derived import DerivedSchema, own_annotations

_HEAD = (
    "# Written by `ligand schemas stub`; run it again after a change.",
    "# ruff: noqa",
    "# fmt: off",
)
_DERIVING = frozenset({"model", "include", "exclude"})  # keywords that mean nothing to a checker
# Other decorators do not change what a checker knows of the method, or are not for those who call it.
_KEPT_DECORATORS = frozenset(
    {
        *("property", "cached_property", "setter", "deleter", "classmethod", "staticmethod"),
        *("abstractmethod", "overload", "override", "final", "deprecated"),
    }
)


def is_stub(text: str) -> bool:
    """Return whether a text is a stub of ours."""
    return text.startswith(_HEAD[0])


def schemas_by_module(directory: Path) -> dict[str, list[type[DerivedSchema]]]:
    """Return the derived schemas of imported modules below a directory, by the names of the modules.

    Args:
        directory: The directory. Packages that are installed in it do not count.
    """
    found: dict[str, list[type[DerivedSchema]]] = {}
    for schema in sorted(_derived_schemas(DerivedSchema), key=lambda cls: (cls.__module__, cls.__qualname__)):
        module = sys.modules.get(schema.__module__)
        file = Path(getattr(module, "__file__", None) or "/")
        is_own = file.is_relative_to(directory) and "site-packages" not in file.relative_to(directory).parts
        if is_own and vars(module).get(schema.__name__) is schema:
            found.setdefault(schema.__module__, []).append(schema)
    return found


def _derived_schemas(cls: type[DerivedSchema]) -> Iterator[type[DerivedSchema]]:
    for child in cls.__subclasses__():
        if child.__ligand_model__ is not None:
            yield child
        yield from _derived_schemas(child)


def stub_of(module: types.ModuleType) -> str:
    """Return the stub of a module; the same module always has the same stub.

    Args:
        module: An imported module, with its source.

    Raises:
        OSError: Its source is not there.
    """
    source = inspect.getsource(module)
    writer = _Writer(module, source)
    future, body = list[str](), list[str]()
    apart = True
    for node in ast.parse(source).body:
        lines = writer.write(node, "")
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            future += lines
            continue
        is_definition = isinstance(node, _DEFINITIONS)
        body += [*([""] if lines and (apart or is_definition) else []), *lines]
        apart = is_definition if lines else apart
    imports = [f"import {name} as {alias}" for alias, name in sorted(writer.imports.items())]
    if writer.needs_missing:
        imports.append("from pydantic import MISSING")
    return "\n".join([*_HEAD, *future, *imports, *body, ""])


_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class _Writer:
    """Writes the nodes of one module.

    Attributes:
        imports: The modules that the types of derived fields need, by their names in the stub.
        needs_missing: Whether a field may be absent, and the module does not import `MISSING` itself.
    """

    def __init__(self, module: types.ModuleType, source: str) -> None:
        self._module = module
        self._lines = source.splitlines()
        self.imports: dict[str, str] = {}
        self.needs_missing = False

    def write(self, node: ast.stmt, indent: str, *, is_optional: bool = False) -> list[str]:
        """Return the lines of a statement of the module, or of a class in it.

        Args:
            node: The statement.
            indent: The white space before it.
            is_optional: Whether it is a field that may be absent.
        """
        match node:
            case ast.ClassDef():
                schema = vars(self._module).get(node.name) if not indent else None
                is_derived = isinstance(schema, type) and issubclass(schema, DerivedSchema)
                return self._class(node, schema if is_derived else None, indent)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return self._function(node, indent)
            case ast.Expr():
                return []
            case ast.AnnAssign(value=None) if is_optional:
                self._need_missing()
                return self._text_of(node, indent, " | MISSING = ...")
            case _:
                return self._text_of(node, indent)

    def _class(self, node: ast.ClassDef, schema: type[DerivedSchema] | None, indent: str) -> list[str]:
        head = copy.copy(node)
        head.body = [ast.Pass()]
        if schema is not None:
            head.keywords = [keyword for keyword in node.keywords if keyword.arg not in _DERIVING]
        lines = [indent + line for line in ast.unparse(head).splitlines()[:-1]]
        inner = self._margin_of(node.body[0]) or f"{indent}    "
        body = [] if schema is None else [inner + line for line in self._derived_fields(schema, node)]
        for member in node.body:
            body += self.write(member, inner, is_optional=schema is not None and _became_optional(schema, member))
        return [*lines, *body] if body else [*lines[:-1], f"{lines[-1]} ..."]

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, indent: str) -> list[str]:
        """Return the head of a function; of a method only with the decorators that checkers need."""
        decorators = [one for one in node.decorator_list if not indent or _last_name(one) in _KEPT_DECORATORS]
        lines = [line for one in decorators for line in self._lines[one.lineno - 1 : one.end_lineno]]
        first = node.body[0]
        margin = self._margin_of(first)
        if margin is None:
            *more, last = self._lines[node.lineno - 1 : first.lineno]
            return [*lines, *more, f"{_cut(last, first.col_offset)}..."]
        end = min(one.lineno for one in (first, *getattr(first, "decorator_list", ())))
        lines += self._lines[node.lineno - 1 : end - 1]
        return [*lines[:-1], f"{lines[-1]} ..."] if lines[-1].endswith(":") else [*lines, f"{margin}..."]

    def _margin_of(self, node: ast.stmt) -> str | None:
        """Return the white space before a statement, or None if another one begins its line."""
        before = _cut(self._lines[node.lineno - 1], node.col_offset)
        return before if not before or before.isspace() else None

    def _text_of(self, node: ast.stmt, indent: str, more: str = "") -> list[str]:
        """Return a statement as it is written, with the comment behind it.

        Args:
            node: The statement.
            indent: The white space before it.
            more: Written behind it.
        """
        *lines, last = self._lines[node.lineno - 1 : node.end_lineno]
        behind = last[len(_cut(last, node.end_col_offset)) :]
        comment = behind if behind.lstrip().startswith("#") else ""
        lines.append(_cut(last, node.end_col_offset) + more + comment)
        lines[0] = indent + lines[0][len(_cut(lines[0], node.col_offset)) :]
        return lines

    def _derived_fields(self, schema: type[DerivedSchema], node: ast.ClassDef) -> Iterator[str]:
        """Yield the fields of a schema that its body does not declare."""
        written = _fields_in(node)
        fields: Mapping[str, FieldInfo] = schema.model_fields
        for name in own_annotations(schema):
            if name in fields and name not in written:
                default = "" if fields[name].is_required() else " = ..."
                # A patch makes a field optional that a base declares as required.
                excuse = "" if name in schema.__ligand_derived__ else "  # type: ignore[assignment]  # optional here"
                yield f"{name}: {self._type(fields[name].annotation, set(fields))}{default}{excuse}"

    def _need_missing(self) -> None:
        self.needs_missing |= vars(self._module).get("MISSING") is not MISSING

    def _type(self, hint: Any, taken: set[str]) -> str:
        """Return the type of a field as source.

        Args:
            hint: The type.
            taken: The names of the fields, which hide those of the module in their class.
        """
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self._type(arguments[0], taken)
        if origin in (Union, types.UnionType):
            return " | ".join(dict.fromkeys(self._type(argument, taken) for argument in arguments))
        if hint is None or hint is type(None):
            return "None"
        if hint is MISSING:
            self._need_missing()
            return "MISSING"
        if hint is JsonValue or hint is Any:
            return f"{self._import('typing')}.Any"
        if origin is Literal:
            values = ", ".join(self._literal(value, taken) for value in arguments)
            return f"{self._import('typing')}.Literal[{values}]"
        if origin is not None:
            return f"{self._type(origin, taken)}[{', '.join(self._type(one, taken) for one in arguments)}]"
        return self._name(hint, taken)

    def _literal(self, value: Any, taken: set[str]) -> str:
        return f"{self._name(type(value), taken)}.{value.name}" if isinstance(value, Enum) else repr(value)

    def _name(self, hint: Any, taken: set[str]) -> str:
        """Return the name of a class, or `Any` if it cannot be imported."""
        if hint is ...:
            return "..."
        module, name = getattr(hint, "__module__", None), getattr(hint, "__qualname__", None)
        head = str(name).partition(".")[0]
        if module is None or name is None or "<" in name or head not in vars(sys.modules.get(module, builtins)):
            return f"{self._import('typing')}.Any"
        is_here = module == self._module.__name__ or (module == "builtins" and head not in vars(self._module))
        return str(name) if is_here and head not in taken else f"{self._import(module)}.{name}"

    def _import(self, module: str) -> str:
        alias = f"_{module.replace('.', '_')}"
        self.imports[alias] = module
        return alias


def _fields_in(node: ast.ClassDef) -> set[str]:
    """Return the names that the body of a class annotates."""
    return {
        member.target.id
        for member in node.body
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name)
    }


def _became_optional(schema: type[DerivedSchema], member: ast.stmt) -> bool:
    """Return whether a body declares a field without a default that a patch gives one."""
    if not isinstance(member, ast.AnnAssign) or not isinstance(member.target, ast.Name):
        return False
    field = schema.model_fields.get(member.target.id)
    return field is not None and not field.is_required()


def _cut(line: str, offset: int | None) -> str:
    """Return the begin of a line, up to an offset in bytes of UTF-8, as `ast` counts them."""
    return line.encode()[:offset].decode()


def _last_name(decorator: ast.expr) -> str:
    """Return the last part of a decorator's name: `setter` of `name.setter`, `property` of `functools.property`."""
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
