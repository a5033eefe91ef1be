"""Whether the names in the Bicep files hang together: what a compiler would say first."""

from __future__ import annotations

import posixpath
import re
from functools import cache
from typing import TYPE_CHECKING

from tests.infra.bicep_tree import Sources, at, declarations, parse, properties, text, walk

if TYPE_CHECKING:
    from tree_sitter import Node

    from tests.infra.bicep_tree import Declaration

_BUILT_IN = """
    contains empty endsWith environment filter flatten format guid items join length map mapValues replace
    resourceGroup shallowMerge split string subscription subscriptionResourceId take tenant toLower union uniqueString
"""
_DECORATORS = {
    "description",
    "discriminator",
    "export",
    "maxLength",
    "maxValue",
    "minLength",
    "minValue",
    "sealed",
}
_BINDERS = {"identifier", "loop_variable", "loop_enumerator"}


def that_every_name_is_declared(sources: Sources) -> list[str]:
    """Every identifier in an expression is a declaration, an import, a loop or lambda variable, or built in."""
    return [f"{path}: {found}" for path, source in sources.items() for found in _undeclared(source)]


@cache
def _undeclared(source: str) -> tuple[str, ...]:
    known = _known(source) | set(_BUILT_IN.split())
    return tuple(
        f"{text(node)} (line {node.start_point.row + 1})"
        for node in _used(source)
        if text(node) not in known and text(node) not in _bound_above(node)
    )


def _known(source: str) -> set[str]:
    declared = declarations({"": source}, "param", "var", "func", "resource", "module", "type")
    return {d.name for d in declared} | {name for name, _ in _imports(source)}


def _imports(source: str) -> list[tuple[str, str]]:
    found = re.findall(r"^import \{([^}]*)\} from '([^']+)'", source, re.MULTILINE)
    return [(name.strip(), origin) for names, origin in found for name in names.split(",")]


@cache
def _used(source: str) -> tuple[Node, ...]:
    """The identifiers that use a name."""
    identifiers = (node for node in walk(parse(source)) if node.type == "identifier")
    return tuple(n for n in identifiers if not _names_something(n) and not _within_decorator_name(n))


def _names_something(node: Node) -> bool:
    """Whether an identifier introduces a name or a key, rather than using one."""
    parent = node.parent
    if parent is None or parent.type in {"metadata_declaration", "import_functionality"}:
        return True
    if parent.type == "object_property":
        return node == parent.children[0]
    if parent.type in {"parameter", "user_defined_function"}:
        return node.next_sibling is None or node != parent.named_children[-1]
    if parent.type == "lambda_expression":
        return node == parent.named_children[0] and _is_binder(node)
    if parent.type == "for_statement":
        return node.prev_sibling is not None and node.prev_sibling.type == "for"
    return parent.type.endswith("_declaration") and node == parent.named_children[0]


def _is_binder(node: Node) -> bool:
    return node.next_sibling is not None and node.next_sibling.type == "=>"


def _within_decorator_name(node: Node) -> bool:
    call = node.parent
    return (
        call is not None
        and call.parent is not None
        and call.parent.type == "decorator"
        and text(node) in _DECORATORS
    )


def _bound_above(node: Node) -> set[str]:
    bound: set[str] = set()
    above = node.parent
    while above is not None:
        if above.type in {"for_statement", "lambda_expression"}:
            head = next(c for c in above.named_children if c.type != "comment")
            bound |= {text(n) for n in walk(head) if n.type in _BINDERS}
        if above.type == "user_defined_function":
            bound |= {text(p.named_children[0]) for p in walk(above) if p.type == "parameter"}
        above = above.parent
    return bound


def that_imports_are_exported(sources: Sources) -> list[str]:
    """Every imported name is exported by the file it is taken from."""
    findings = []
    for path, source in sources.items():
        for name, origin in _imports(source):
            there = _beside(path, origin)
            exported = {
                d.name
                for d in declarations({there: sources.get(there, "")}, "type", "func", "var")
                if "export" in d.decorators
            }
            findings += [] if name in exported else [f"{path}: {name} from {origin}"]
    return findings


def _beside(path: str, relative: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), relative))


def that_modules_get_their_parameters(sources: Sources) -> list[str]:
    """Every module exists, gets each parameter it requires and none that it does not know."""
    findings = []
    for module in declarations(sources, "module"):
        target = _beside(module.path, module.type_name)
        if target not in sources:
            findings.append(f"{module.place}: no {target}")
            continue
        params = declarations({target: sources[target]}, "param")
        given = {p.name for p in properties(node)} if (node := at(module.body, "params")) else set()
        required = {p.name for p in params if p.description.startswith("Required.")}
        wrong = (required - given) | (given - {p.name for p in params})
        findings += [f"{module.place}: {name}" for name in sorted(wrong)]
    return findings


def that_outputs_exist(sources: Sources) -> list[str]:
    """Every output that is read of a module is put out by it."""
    modules = {(m.path, m.name): m for m in declarations(sources, "module")}
    findings = []
    for path, source in sources.items():
        for name, output in re.findall(r"\b(\w+)(?:\[\w+\])?!?\.\??outputs\.(\w+)", source):
            module = modules.get((path, name))
            target = _beside(path, module.type_name) if module else ""
            known = {d.name for d in declarations({target: sources.get(target, "")}, "output")}
            findings += [] if output in known else [f"{path}: {name}.outputs.{output}"]
    return findings


def that_nothing_is_unused(sources: Sources) -> list[str]:
    """Every parameter, variable, import and referenced resource is used."""
    findings = []
    for path, source in sources.items():
        here = declarations({path: source}, "param", "var", "resource")
        names = [d.name for d in here if d.kind != "resource" or d.existing]
        names += [name for name, _ in _imports(source)]
        used = [text(node) for node in _used(source)]
        findings += [f"{path}: {name}" for name in names if name not in used]
    return findings


def that_the_parameter_file_fits(sources: Sources, parameter_file: str) -> list[str]:
    """The parameter file uses main.bicep, names only its parameters and gives those it requires."""
    params: list[Declaration] = declarations({"main.bicep": sources["main.bicep"]}, "param")
    given = set(re.findall(r"^param (\w+) =", parameter_file, re.MULTILINE))
    required = {p.name for p in params if p.description.startswith("Required.")}
    wrong = (required - given) | (given - {p.name for p in params})
    uses = re.findall(r"^using '(.+)'", parameter_file, re.MULTILINE)
    return sorted(wrong) + ([] if uses == ["./main.bicep"] else [f"using {uses}"])
