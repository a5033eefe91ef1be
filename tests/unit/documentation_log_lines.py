"""The log lines that the code writes, read from its source: each event and the fields that its calls give."""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import TYPE_CHECKING

from gateway_tokens.renewal.report import Outcome
from tests.unit.documentation_reading import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def log_lines() -> dict[str, set[str]]:
    """The fields of every event in the app's source."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    modules = {
        path: ast.parse(path.read_text("utf-8")) for path in sorted((ROOT / "gateway_tokens").rglob("*.py"))
    }
    imported = {name: keys for tree in modules.values() for name, keys in _dictionaries(tree).items()}
    for path, tree in modules.items():
        for event, fields in _in_module(path, tree, imported | _dictionaries(tree)):
            found[event] |= fields
    return dict(found)


def _in_module(path: Path, tree: ast.Module, dicts: dict[str, set[str]]) -> Iterator[tuple[str, set[str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) == "log_line":
            event = node.args[0]
            assert isinstance(event, ast.Constant), f"{path.name}: an event's name must stand in the source"
            fields = {word.arg for word in node.keywords if word.arg is not None}
            for word in node.keywords:
                if word.arg is None:
                    fields |= _spread(word.value, dicts)
            yield str(event.value), fields


def _dictionaries(tree: ast.Module) -> dict[str, set[str]]:
    """The keys of dictionaries by the name of the variable or function that gives them."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict):
            found[_name(node.target)] = _keys(node.value)
        if isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Return):
            given = node.body[-1].value
            if isinstance(given, ast.Dict):
                found[node.name] = _keys(given)
    return found


def _spread(value: ast.expr, dicts: dict[str, set[str]]) -> set[str]:
    if isinstance(value, ast.DictComp):
        # One count for each outcome is the only such line.
        assert _name(value.generators[0].iter) == "Outcome"
        return set(Outcome)
    return dicts[_name(value.func if isinstance(value, ast.Call) else value)]


def _keys(literal: ast.Dict) -> set[str]:
    return {str(key.value) for key in literal.keys if isinstance(key, ast.Constant)}


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""
