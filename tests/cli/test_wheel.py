"""The wheel holds `gateway_tokens` alone, and its command runs outside the repository.

`test_package` says that its extra names all that the command line imports.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.infra.digests import ROOT
from tests.samples import VAULT, document

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a folder of its own, built without a network from a copy, since the build leaves files beside its sources."""
    folder, target = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    for name in ("pyproject.toml", "requirements.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "gateway_tokens", folder / "gateway_tokens")
    (folder / "tests").mkdir()
    (folder / "tests" / "__init__.py").touch()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(target)]
    subprocess.run([*pip, *options, str(folder)], check=True)
    return target


def called(
    installed: Path, *command: str | Path, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """What a command does in a folder where nothing but the wheel is on Python's path."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed)} | environment
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_holds_the_package_and_nothing_else_and_its_extra_the_command_lines_packages(
    installed: Path,
) -> None:
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gateway_tokens").rglob("*.py")}
    files = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    kept = {name for name in files if ".dist-info/" not in name and "__pycache__/" not in name}
    assert kept == {*sources, "bin/gateway-tokens"}
    [described] = installed.glob("*.dist-info")
    required = [Requirement(text) for text in PathDistribution(described).requires or []]
    assert {r.name for r in required if r.marker and "extra" in str(r.marker)} == {"typer", "rich"}


def test_the_command_runs_outside_the_repository_and_completes_in_a_shell(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "estate.json").write_text('{"services": {},\n "acess": []}')
    program = installed / "bin" / "gateway-tokens"
    for command in ([program], [sys.executable, "-m", "gateway_tokens"]):
        done = called(installed, *command, "validate", "estate.json", folder=tmp_path)
        assert (done.returncode, done.stderr) == (1, "")
        assert done.stdout == "estate.json:2: acess: unknown field. Did you mean 'access'?\n"
        assert "doctor" in called(installed, *command, "--help", folder=tmp_path).stdout
    asking = {"COMP_WORDS": "gateway-tokens va", "COMP_CWORD": "1"}
    asking |= {"_GATEWAY_TOKENS_COMPLETE": "complete_bash"}
    assert called(installed, program, folder=tmp_path, **asking).stdout.split() == ["validate"]


def test_without_the_extra_the_command_says_how_to_install_it(installed: Path, tmp_path: Path) -> None:
    missing = "raise ModuleNotFoundError(name='typer')"
    (tmp_path / "typer.py").write_text(missing)
    done = called(installed, sys.executable, "-m", "gateway_tokens", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith(
        "needs the package 'typer'. Install it with its extra: pipx install '.[cli]'\n"
    )


def test_a_thousand_gateways_are_checked_in_a_second_start_included(installed: Path, tmp_path: Path) -> None:
    rule = {"destinations": [{"kind": "keyVault", "vault": VAULT}]}
    estate = document(**{f"edge-{number:04}": rule for number in range(1000)})
    (tmp_path / "estate.json").write_text(json.dumps(estate, indent=2))
    program = installed / "bin" / "gateway-tokens"

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert called(installed, program, "validate", "estate.json", folder=tmp_path).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Nothing is waited for, so the processor's time is the time on a machine that has nothing else to do: the best of three comes near that.
    assert min(seconds() for _ in range(3)) < 1.0
