"""A package that was built for another Python than runs it says so, in the real worker."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHER = "3.13" if RUNNING != "3.13" else "3.11"
MESSAGE = (
    f"The app's packages were built for Python {OTHER}, but Python {RUNNING} runs them. "
    f"Publish the app again for Python {RUNNING}, or set the function app's Python version to {OTHER}."
)
BACKGROUND = {"renew_on_schedule", "reconcile_subscription", "take_event"}


class Outcome:
    """What became of a call of every function, and the log lines."""

    def __init__(self, packages: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tests.end_to_end.every_function"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(packages), str(ROOT)))},
            capture_output=True,
            text=True,
            check=True,
        )
        self.calls: dict[str, dict[str, Any]] = json.loads(done.stdout)
        self.lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]


def packages_for(tag: str, folder: Path) -> Path:
    """A folder with this environment's pydantic_core, its compiled module named as if built for another Python."""
    spec = find_spec("pydantic_core")
    assert spec
    assert spec.submodule_search_locations
    [installed] = spec.submodule_search_locations
    shutil.copytree(installed, folder / "pydantic_core", ignore=shutil.ignore_patterns("__pycache__"))
    [compiled] = (folder / "pydantic_core").glob("_pydantic_core.*.so")
    compiled.rename(compiled.with_name(f"_pydantic_core.{tag}.so"))
    return folder


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    tag = f"cpython-{OTHER.replace('.', '')}-x86_64-linux-gnu"
    return Outcome(packages_for(tag, tmp_path_factory.mktemp("site-packages")))


def test_health_answers_in_its_usual_form(outcome: Outcome, tmp_path: Path) -> None:
    health = outcome.calls["health"]
    usual = Outcome(tmp_path).calls["health"]["body"]  # red as well, since nothing is set
    assert usual["problems"] == [{"code": "settings_invalid"}]
    assert (health["status"], health["headers"]["cache-control"]) == (503, "no-store")
    assert health["body"] == {**usual, "problems": [{"code": "wrong_python"}]}


def test_every_other_function_says_so_and_a_log_line_tells_of_each_answer(outcome: Outcome) -> None:
    routes = {name: call for name, call in outcome.calls.items() if name not in {"health", *BACKGROUND}}
    assert {"generate_token", "list_gateways", "plan_renewals", "run_renewals"} <= set(routes)
    for call in routes.values():
        assert (call["status"], call["body"]["code"], call["body"]["detail"]) == (
            503,
            "wrong_python",
            MESSAGE,
        )
        assert call["headers"]["content-type"].startswith("application/problem+json")
    for name in BACKGROUND:
        assert outcome.calls[name]["failed"].partition(": ")[2] == MESSAGE
    logged = [(line["event"], line["code"], line["error"]) for line in outcome.lines]
    assert logged == [("request.failed", "wrong_python", MESSAGE)] * (1 + len(routes))


@pytest.mark.parametrize("tag", ["abi3", f"cpython-{RUNNING.replace('.', '')}-another-machine"])
def test_a_compiled_module_that_fails_for_another_reason_is_not_explained_by_the_python(
    tag: str, tmp_path: Path
) -> None:
    packages = packages_for(tag, tmp_path)
    (packages / "pydantic_core" / f"_pydantic_core.{tag}.so").write_text("no library")
    failed = Outcome(packages).calls["health"]["failed"]
    assert "_pydantic_core" in failed
    assert "built for Python" not in failed
