"""The house: imports point one way, the front door is light, one room reads the environment, rooms are small."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "gateway_tokens"
FRONT_DOOR = ROOT / "function_app.py"

PURE, PORTS, USE_CASES, SHELL, WIRING, DOOR = range(6)
ROOMS = {
    "errors": PURE,
    "model": PURE,
    "patterns": PURE,
    "policy": PURE,
    "checks": PURE,
    "decisions": PURE,
    "access": PURE,
    "schedule": PURE,
    "callers": PURE,
    "documents": PURE,
    "requests": PURE,
    "forms": PURE,
    "settings": PURE,
    "settings_faults": PURE,
    "destination_settings": PURE,
    "app_settings": PURE,
    "sign_in": PURE,
    "events": PURE,
    "ledger": PURE,
    "health": PURE,
    "log_lines": PURE,
    "report": PURE,
    "sweep_record": PURE,
    "timing": PURE,
    "timestamps": PURE,
    "sweep_lines": PURE,
    "ports": PORTS,
    "issuing": USE_CASES,
    "renewing": USE_CASES,
    "delivery": USE_CASES,
    "units": USE_CASES,
    "discovery": USE_CASES,
    "sweeping": USE_CASES,
    "reacting": USE_CASES,
    "arm": SHELL,
    "background": SHELL,
    "azure_access": SHELL,
    "signing_keys": SHELL,
    "azure_errors": SHELL,
    "destinations": SHELL,
    "http_answers": SHELL,
    "http_api": SHELL,
    "http_renewals": SHELL,
    "http_reports": SHELL,
    "azure_calls": SHELL,
    "arm_budget": PURE,
    "identity": SHELL,
    "sweep_store": SHELL,
    "wrong_python": SHELL,
    "wiring": WIRING,
    "function_app": DOOR,
}
# What rooms below the shell may not even name, and what the front door must not load.
OUTSIDE = {"azure", "aiohttp", "os", "msal", "requests"}
HEAVY = (
    "azure.identity",
    "azure.mgmt",
    "azure.core",
    "azure.keyvault",
    "azure.storage",
    "aiohttp",
    "pydantic",
    "jwt",
    "cryptography",
)
# A list of classes, each read by itself.
LONG_BY_NATURE = {"errors"}
MOST_LINES, MOST_FUNCTION_LINES = 200, 40

MODULES = [*(path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"), FRONT_DOOR]
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
modules = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))


def room_of(path: Path) -> str:
    """The room a file belongs to: a module of the package, a folder of it, or the front door."""
    return path.stem if path == FRONT_DOOR else path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, tree: ast.AST | None = None) -> Iterator[str]:
    """Full names of all that a file imports, also inside functions and for type checking."""
    for node in ast.walk(tree or TREES[path]):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = path.relative_to(ROOT).with_suffix("").parts
            base = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            whole = ".".join(filter(None, (base, node.module)))
            yield from (f"{whole}.{name.name}" for name in node.names)


def rooms_imported(path: Path, tree: ast.AST | None = None) -> set[str]:
    ours = (name.split(".") for name in imports(path, tree))
    return {parts[1] for parts in ours if parts[0] == "gateway_tokens" and len(parts) > 1}


def for_types_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def at_import(path: Path) -> ast.Module:
    """What runs when the file is imported: its statements but for types, functions and classes."""
    kept = [
        node
        for node in TREES[path].body
        if not for_types_only(node)
        and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    ]
    return ast.Module(kept, [])


@modules
def test_every_module_has_its_place_in_the_house(path: Path) -> None:
    assert room_of(path) in ROOMS


@modules
def test_imports_point_one_way(path: Path) -> None:
    mine = ROOMS[room_of(path)]
    assert {room for room in rooms_imported(path) if ROOMS[room] > mine} == set()


@modules
def test_only_wiring_is_known_to_the_front_door(path: Path) -> None:
    known = rooms_imported(path)
    assert ("wiring" in known) <= (path == FRONT_DOOR)
    assert path != FRONT_DOOR or known == {"wiring"}


def test_no_room_needs_itself_to_be_imported() -> None:
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        graph.setdefault(room_of(path), set()).update(rooms_imported(path, at_import(path)) - {room_of(path)})
    assert list(TopologicalSorter(graph).static_order())


@modules
def test_judgement_knows_neither_azure_nor_http_nor_the_system(path: Path) -> None:
    if ROOMS[room_of(path)] < SHELL:
        assert {name for name in imports(path) if name.split(".")[0] in OUTSIDE} == set()


@modules
def test_nothing_that_is_deployed_knows_what_is_not(path: Path) -> None:
    assert {name.split(".")[0] for name in imports(path)}.isdisjoint({"emulator", "tests", "tools", "pytest"})


@modules
def test_only_wiring_reads_the_environment(path: Path) -> None:
    read = {
        node.attr
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}
    } | {name for name in imports(path) if name in {"os.environ", "os.environb", "os.getenv"}}
    assert not read or room_of(path) == "wiring"


def test_wiring_does_read_the_environment_so_that_the_search_finds_something() -> None:
    wiring = TREES[PACKAGE / "wiring.py"]
    assert any(isinstance(node, ast.Attribute) and node.attr == "environ" for node in ast.walk(wiring))


@modules
def test_judgement_is_given_the_time(path: Path) -> None:
    if ROOMS[room_of(path)] < SHELL:
        clocks = {"now", "utcnow", "today", "time", "monotonic", "sleep"}
        called = (node.func for node in ast.walk(TREES[path]) if isinstance(node, ast.Call))
        assert {found.attr for found in called if isinstance(found, ast.Attribute)}.isdisjoint(clocks)


def loaded_by(module: str) -> list[str]:
    check = f"import sys, {module}; print(*sorted(sys.modules), sep='\\n')"
    loaded = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return loaded.stdout.split()


def test_importing_the_front_door_loads_no_sdk() -> None:
    names = loaded_by("function_app")
    assert "gateway_tokens.wiring" in names
    assert [name for name in names if name.startswith(HEAVY)] == []


def test_what_explains_that_compiled_modules_cannot_be_loaded_loads_none() -> None:
    names = loaded_by("gateway_tokens.wrong_python")
    assert "gateway_tokens.http_answers" in names
    assert [name for name in names if name.startswith(HEAVY)] == []


def test_a_first_token_does_not_pay_for_bearer_tokens() -> None:
    names = loaded_by("gateway_tokens.http_api")
    assert {"gateway_tokens.issuing", "gateway_tokens.callers"} <= set(names)
    assert {"jwt", "cryptography"}.isdisjoint(names)


@modules
def test_a_module_is_short_enough_to_read_at_once(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES or room_of(path) in LONG_BY_NATURE


@modules
def test_a_function_fits_on_a_screen(path: Path) -> None:
    functions = (
        node for node in ast.walk(TREES[path]) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    too_long = {
        function.name
        for function in functions
        if (function.end_lineno or function.lineno) - function.lineno + 1 > MOST_FUNCTION_LINES
    }
    assert too_long == set()
