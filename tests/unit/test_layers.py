"""What a cold start pays for, and what must not be imported where. `lint-imports` holds the layers."""

import ast
import gc
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_tokens import app
from gateway_tokens.errors import SettingsInvalid

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "gateway_tokens"
HEAVY = ("azure.identity", "azure.mgmt", "azure.core", "azure.keyvault", "azure.storage")
AND_HEAVY = ("aiohttp", "pydantic", "jwt", "cryptography", "zoneinfo")
MOST_LINES, MOST_FUNCTION_LINES = 320, 40
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}


def imported(tree: ast.Module) -> set[str]:
    """The first words of what a file imports, wherever in it."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def test_what_is_deployed_imports_nothing_that_is_not() -> None:
    assert set().union(*map(imported, TREES.values())).isdisjoint({"emulator", "tests", "tools", "pytest"})


def loaded_by(module: str) -> list[str]:
    check = f"import sys, {module}; print(*sorted(sys.modules), sep='\\n')"
    command = [sys.executable, "-c", check]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


# The entry point, and what explains that compiled modules cannot be loaded.
@pytest.mark.parametrize("module", ["function_app", "gateway_tokens.http.answers"])
def test_importing_it_loads_no_sdk(module: str) -> None:
    names = loaded_by(module)
    assert "gateway_tokens" in names
    assert [name for name in names if name.startswith(HEAVY + AND_HEAVY)] == []


def test_a_first_token_does_not_pay_for_bearer_tokens() -> None:
    names = loaded_by("gateway_tokens.http.tokens")
    assert "gateway_tokens.access" in names
    assert {"jwt", "cryptography"}.isdisjoint(names)


def test_a_module_is_short_enough_to_read_at_once() -> None:
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in TREES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_a_function_fits_on_a_screen() -> None:
    too_long = {
        node.name
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or node.lineno) - node.lineno + 1 > MOST_FUNCTION_LINES
    }
    assert too_long == set()


def test_garbage_is_collected_again_after_the_app_could_not_be_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GATEWAY_TOKENS", raising=False)
    with pytest.raises(SettingsInvalid):
        app.current()
    assert gc.isenabled()


def test_what_is_loaded_for_a_first_token_is_never_looked_at_for_garbage() -> None:
    program = "import gc, function_app; from gateway_tokens import app; app.tokens(); print(gc.isenabled(), gc.get_freeze_count() > 50_000)"
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == ["True", "True"]
