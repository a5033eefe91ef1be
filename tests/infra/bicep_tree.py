"""Bicep sources as trees: parsing, walking, and the few questions that the checks ask."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import tree_sitter_bicep
from tree_sitter import Language, Parser

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tree_sitter import Node

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
_PARSER = Parser(Language(tree_sitter_bicep.language()))
Sources = dict[str, str]


@dataclass(frozen=True, slots=True)
class Declaration:
    """A param, var, output, type, func, resource or module: its name, decorators, and nodes."""

    path: str
    kind: str
    name: str
    node: Node
    decorators: Mapping[str, Node]

    @property
    def description(self) -> str:
        """What `@description` says, or nothing."""
        return described(self.decorators)

    @property
    def place(self) -> str:
        """Where it stands, for a finding."""
        return f"{self.path}: {self.name}"

    @property
    def type_name(self) -> str:
        """The resource type and version of a resource, or the path of a module."""
        return next((text_of(n) for n in self.node.named_children if n.type == "string"), "")

    @property
    def existing(self) -> bool:
        """Whether a resource is referenced only."""
        return any(child.type == "existing" for child in self.node.children)

    @property
    def body(self) -> Node:
        """The object of a resource or module, below any loop and condition."""
        node = self.node.named_children[-1]
        while node.type in {"for_statement", "if_statement"}:
            node = node.named_children[-1]
        return node

    @property
    def value(self) -> Node:
        """The expression of a var or output, or the default of a param."""
        return self.node.named_children[-1]


def read_sources() -> Sources:
    """Every Bicep file of the project by its path below infra/."""
    return {f.relative_to(INFRA).as_posix(): f.read_text() for f in sorted(INFRA.rglob("*.bicep"))}


@cache
def parse(text: str) -> Node:
    """The root node of a Bicep source. Faulty text gives a tree with error nodes."""
    return _PARSER.parse(text.encode()).root_node


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for child in node.children:
        yield from walk(child)


def parse_errors(node: Node) -> list[int]:
    """The lines, from 1, where a tree has nodes of error or missing ones."""
    return sorted({n.start_point.row + 1 for n in walk(node) if n.is_error or n.is_missing})


def declarations(sources: Sources, *kinds: str) -> list[Declaration]:
    """All declarations of these kinds, such as `param` or `resource`."""
    return [d for path, source in sources.items() for d in _declared(path, source) if d.kind in kinds]


_KINDS = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "output_declaration": "output",
    "type_declaration": "type",
    "user_defined_function": "func",
    "resource_declaration": "resource",
    "module_declaration": "module",
}


@cache
def _declared(path: str, source: str) -> tuple[Declaration, ...]:
    return tuple(
        Declaration(path, _KINDS[node.type], text(_name_of(node)), node, decorators)
        for node, decorators in _decorated_below(parse(source))
        if node.type in _KINDS
    )


def _name_of(declaration: Node) -> Node:
    return next(c for c in declaration.named_children if c.type in {"identifier", "compatible_identifier"})


def _decorated_below(parent: Node) -> Iterator[tuple[Node, dict[str, Node]]]:
    pending: dict[str, Node] = {}
    for child in parent.named_children:
        if child.type == "decorators":
            pending |= {_decorator_name(d): d for d in child.named_children}
        elif child.type != "comment":
            yield child, pending
            pending = {}


def _decorator_name(decorator: Node) -> str:
    return text(decorator.named_children[0].named_children[0])


def described(decorators: Mapping[str, Node]) -> str:
    """What a `@description` among the decorators says, or nothing."""
    node = decorators.get("description")
    return next((text_of(n) for n in walk(node) if n.type == "string"), "") if node else ""


def text(node: Node) -> str:
    """The source of a node."""
    return (node.text or b"").decode()


def text_of(string: Node) -> str:
    """The content of a string literal, with interpolations left as written."""
    parts = (text(c) for c in string.named_children)
    return "".join(re.sub(r"^\\(.)$", r"\1", part) for part in parts)


@dataclass(frozen=True, slots=True)
class Property:
    """One entry of an object: its name, value, and decorators (in a type)."""

    name: str
    value: Node
    decorators: Mapping[str, Node]


def properties(node: Node) -> list[Property]:
    """The entries of an object node; the name of a wildcard entry of a type is `*`."""
    return [
        Property(_key(child), child.named_children[-1], decorators)
        for child, decorators in _decorated_below(node)
        if child.type == "object_property"
    ]


def _key(entry: Node) -> str:
    first = entry.children[0]
    return text_of(first) if first.type == "string" else text(first)


def at(node: Node, path: str) -> Node | None:
    """The value at a dotted path of property names below an object node."""
    for name in path.split("."):
        found = next((p.value for p in properties(node) if p.name == name), None)
        if found is None:
            return None
        node = found
    return node


def written(node: Node | None) -> str:
    """A value as a check compares it: a literal's content, else the source without line breaks."""
    if node is None:
        return "(absent)"
    return text_of(node) if node.type == "string" else " ".join(text(node).split())


def strings_below(node: Node) -> list[str]:
    """The content of every string literal below a node."""
    return [text_of(n) for n in walk(node) if n.type == "string"]
