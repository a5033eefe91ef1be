"""The log lines that the code writes, read from its source: each event and the fields that its calls give."""

import ast
from collections import defaultdict
from functools import cache

from gateway_tokens.renewal.rows import Outcome
from tests.docs.documentation_reading import ROOT


@cache
def log_lines() -> dict[str, set[str]]:
    """The fields of every event in the app's source."""
    fields: defaultdict[str, set[str]] = defaultdict(set)
    modules = [ast.parse(path.read_text("utf-8")) for path in (ROOT / "gateway_tokens").rglob("*.py")]
    shared = {name: keys for tree in modules for name, keys in _dictionaries(tree).items()}
    for tree in modules:
        known = shared | _dictionaries(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _name(node.func) == "log_line":
                event = ast.literal_eval(node.args[0])  # an event's name must stand in the source
                for word in node.keywords:
                    fields[event] |= {word.arg} if word.arg else _spread(word.value, known)
    return dict(fields)


def _dictionaries(tree: ast.Module) -> dict[str, set[str]]:
    """The keys of dictionaries by the name of the variable or function that gives them."""
    events: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict):
            events[_name(node.target)] = _keys(node.value)
        elif isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Return):
            given = node.body[-1].value
            if isinstance(given, ast.Dict):
                events[node.name] = _keys(given)
    return events


def _spread(value: ast.expr, known: dict[str, set[str]]) -> set[str]:
    if isinstance(value, ast.DictComp):
        # One count for each outcome is the only such line.
        assert _name(value.generators[0].iter) == "Outcome"
        return set(Outcome)
    return known[_name(value.func if isinstance(value, ast.Call) else value)]


def _keys(literal: ast.Dict) -> set[str]:
    return {str(key.value) for key in literal.keys if isinstance(key, ast.Constant)}


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""
