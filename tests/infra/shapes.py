"""One notation for the types in Bicep and for JSON Schema, so that the two can be compared name by name.

A shape is `string`, `boolean`, the words of an enumeration, or a dict: of properties (a `?` closes the names of those
that may be left out), of a map (`*`), of an array (`[]`), or of kinds told apart by their property `kind` (`kind=x`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.infra.bicep_tree import declarations, properties, text, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tree_sitter import Node

    from tests.infra.bicep_tree import Sources

Shape = str | dict[str, Any]


def shape_of_type(sources: Sources, path: str, name: str) -> Shape:
    """The shape of a type that a Bicep file declares."""
    types = {d.name: d.value for d in declarations({path: sources[path]}, "type")}
    return _typed(types[name], types)


def _typed(node: Node, types: Mapping[str, Node]) -> Shape:
    inner = node.named_children[0] if node.named_children else node
    if node.type == "identifier":
        return _typed(types[text(node)], types)
    if node.type in {"type", "parenthesized_type", "nullable_type"}:
        return _typed(inner, types)
    if node.type == "array_type":
        return {"[]": _typed(inner, types)}
    if node.type == "object":
        return {_entry(p.name, p.value): _typed(p.value, types) for p in properties(node)}
    if node.type == "union_type":
        return _union(node, types)
    return text_of(node) if node.type == "string" else {"bool": "boolean"}.get(text(node), text(node))


def _entry(name: str, value: Node) -> str:
    return f"{name}?" if value.type == "nullable_type" else name


def _union(node: Node, types: Mapping[str, Node]) -> Shape:
    parts = node.named_children
    if all(part.type == "string" for part in parts):
        return "|".join(sorted(text_of(part) for part in parts))
    return _by_kind([_typed(part, types) for part in parts])


def _by_kind(shapes: list[Shape]) -> Shape:
    return {f"kind={s['kind']}": s for s in shapes if isinstance(s, dict)}


def shape_of_schema(schema: Mapping[str, Any]) -> Shape:
    """The shape of a JSON Schema document. `$schema` is for editors of JSON and is left out."""
    return _described(schema, schema["$defs"])


def _described(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Shape:
    if "$ref" in schema:
        return _described(defs[schema["$ref"].rsplit("/", 1)[1]], defs)
    if "anyOf" in schema:
        return _described(next(s for s in schema["anyOf"] if s != {"type": "null"}), defs)
    if "oneOf" in schema:
        return _by_kind([_described(s, defs) for s in schema["oneOf"]])
    return _plain(schema, defs)


def _plain(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Shape:
    words = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if words:
        return "|".join(sorted(words))
    if schema["type"] == "array":
        return {"[]": _described(schema["items"], defs)}
    return _object(schema, defs) if schema["type"] == "object" else str(schema["type"])


def _object(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Shape:
    if "properties" not in schema:
        values = [*schema.get("patternProperties", {}).values()] or [schema["additionalProperties"]]
        return {"*": _described(values[0], defs)}
    required = schema.get("required", [])
    named = {name: part for name, part in schema["properties"].items() if name != "$schema"}
    return {n if n in required else f"{n}?": _described(part, defs) for n, part in named.items()}


def differences(one: Shape, other: Shape, path: str = "") -> list[str]:
    """Where two shapes differ."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return [] if one == other else [f"{path}: {one} is not {other}"]
    missing = [f"{path}.{name}" for name in sorted(one.keys() ^ other.keys())]
    return missing + [
        d for n in one.keys() & other.keys() for d in differences(one[n], other[n], f"{path}.{n}")
    ]
