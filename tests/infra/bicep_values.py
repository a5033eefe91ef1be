"""What Bicep expressions come to: literals, the operators and functions that this project's files use.

The grammar binds a lambda's body more tightly than Bicep does, so bodies that are no call stand in parentheses there.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.infra.bicep_tree import INFRA, declarations, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tree_sitter import Node

    from tests.infra.bicep_tree import Declaration, Sources

Value = Any  # what JSON can hold, and functions of it
_ESCAPES = {"\\'": "'", "\\\\": "\\", "\\n": "\n", "\\t": "\t", "\\$": "$"}
_BUILT_IN: dict[str, Callable[..., Value]] = {
    "contains": lambda where, what: what in where,
    "empty": lambda value: not value,
    "endsWith": lambda value, end: value.lower().endswith(end.lower()),
    "filter": lambda values, keep: [v for v in values if keep(v)],
    "flatten": lambda values: [v for inner in values for v in inner],
    "items": lambda value: [{"key": k, "value": value[k]} for k in sorted(value)],
    "join": lambda values, between: between.join(values),
    "last": lambda values: values[-1] if values else None,
    "length": len,
    "map": lambda values, change: [change(v) for v in values],
    "mapValues": lambda value, change: {k: change(v) for k, v in value.items()},
    "readEnvironmentVariable": lambda _, default: default,
    "replace": lambda value, old, new: value.replace(old, new),
    "shallowMerge": lambda values: {k: v for value in values for k, v in value.items()},
    "split": lambda value, between: value.split(between),
    "string": lambda value: value if isinstance(value, str) else json.dumps(value),
    "take": lambda value, count: value[:count],
    "toLower": lambda value: value.lower(),
    "union": lambda *values: list(dict.fromkeys(v for value in values for v in value)),
}


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that an expression may use: values, and the functions of the file."""

    values: Mapping[str, Value] = field(default_factory=dict)
    functions: Mapping[str, Declaration] = field(default_factory=dict)

    def with_values(self, **values: Value) -> Scope:
        """The same with more names."""
        return Scope({**self.values, **values}, self.functions)


def functions_of(sources: Sources, path: str) -> Scope:
    """The functions that a file declares."""
    declared = declarations({path: sources[path]}, "func")
    return Scope(functions={d.name: d for d in declared})


def call(scope: Scope, name: str, *arguments: Value) -> Value:
    """What a declared function answers."""
    return _called(name, list(arguments), scope)


def parameters_of(parameter_file: str) -> dict[str, Value]:
    """The values of a .bicepparam file by name. Its `param` lines are read as variables, which parse."""
    source = re.sub(r"^using .*$", "", parameter_file, flags=re.MULTILINE)
    source = re.sub(r"^param (?=\w+ =)", "var ", source, flags=re.MULTILINE)
    return {d.name: value_of(d.value, Scope()) for d in declarations({"": source}, "var")}


def example_parameters() -> dict[str, Value]:
    """The values of the example that this project ships."""
    return parameters_of((INFRA / "main.bicepparam").read_text())


def value_of(node: Node, scope: Scope) -> Value:
    """What an expression comes to. Raises NotImplementedError for what these files do not use."""
    kind = _KINDS.get(node.type)
    if kind is None:
        raise NotImplementedError(f"{node.type}: {text(node)}")
    return kind(node, scope)


def _parts(node: Node) -> list[Node]:
    return [child for child in node.named_children if child.type != "comment"]


def _string(node: Node, scope: Scope) -> str:
    said = ""
    for part in _parts(node):
        if part.type == "interpolation":
            said += str(value_of(_parts(part)[0], scope))
        else:
            said += _ESCAPES[text(part)] if part.type == "escape_sequence" else text(part)
    return said


def _object(node: Node, scope: Scope) -> dict[str, Value]:
    entries = [_parts(entry) for entry in _parts(node)]
    return {
        _string(key, scope) if key.type == "string" else text(key): value_of(value, scope)
        for key, value in entries
    }


def _member(node: Node, scope: Scope) -> Value:
    owner, name = _parts(node)[0], text(_parts(node)[-1])
    value = value_of(owner, scope)
    if any(child.type == ".?" for child in node.children):
        return None if value is None else value.get(name)
    return value[name]


def _subscript(node: Node, scope: Scope) -> Value:
    owner, index = _parts(node)
    return value_of(owner, scope)[value_of(index, scope)]


def _ternary(node: Node, scope: Scope) -> Value:
    condition, then, otherwise = _parts(node)
    return value_of(then if value_of(condition, scope) else otherwise, scope)


def _binary(node: Node, scope: Scope) -> Value:
    left, right = _parts(node)
    operator = text(node.children[1])
    value = value_of(left, scope)
    if operator == "??":
        return value_of(right, scope) if value is None else value
    if operator in {"&&", "||"}:
        return value and value_of(right, scope) if operator == "&&" else value or value_of(right, scope)
    return _OPERATORS[operator](value, value_of(right, scope))


def _call(node: Node, scope: Scope) -> Value:
    name, arguments = _parts(node)
    return _called(text(name), [value_of(a, scope) for a in _parts(arguments)], scope)


def _called(name: str, arguments: list[Value], scope: Scope) -> Value:
    if name in scope.values:
        return scope.values[name](*arguments)
    if name not in scope.functions:
        return _BUILT_IN[name](*arguments)
    function = scope.functions[name].node
    names = [text(_parts(p)[0]) for p in _parts(_parts(function)[1])]
    inner = Scope(dict(zip(names, arguments, strict=True)), scope.functions)
    return value_of(_parts(function)[-1], inner)


def _lambda(node: Node, scope: Scope) -> Callable[[Value], Value]:
    name, body = _parts(node)
    return lambda value: value_of(body, scope.with_values(**{text(name): value}))


_OPERATORS: dict[str, Callable[[Value, Value], Value]] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "-": lambda left, right: left - right,
}
_KINDS: dict[str, Callable[[Node, Scope], Value]] = {
    "array": lambda node, scope: [value_of(part, scope) for part in _parts(node)],
    "binary_expression": _binary,
    "boolean": lambda node, _: text(node) == "true",
    "call_expression": _call,
    "identifier": lambda node, scope: scope.values[text(node)],
    "lambda_expression": _lambda,
    "member_expression": _member,
    "null": lambda *_: None,
    "number": lambda node, _: int(text(node)),
    "object": _object,
    "parenthesized_expression": lambda node, scope: value_of(_parts(node)[0], scope),
    "string": _string,
    "subscript_expression": _subscript,
    "ternary_expression": _ternary,
    "unary_expression": lambda node, scope: not value_of(_parts(node)[0], scope),
}
