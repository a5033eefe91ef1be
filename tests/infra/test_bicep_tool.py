"""`make infra`: what is said where the compiler refuses, fails, or is not there. CI runs it with the real compiler."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.digests import ROOT
from tools.bicep import Bicep, CompilerFailed

REFUSAL = (
    "Template snapshotting could not be completed for the following reason: 'The template variable 'sound' is not "
    'valid: name is "x".\nIt must be longer. Please see https://aka.ms/arm-functions for usage details.\'.'
)


@pytest.fixture
def case(tmp_path: Path) -> Path:
    (tmp_path / "main.bicep").write_text("targetScope = 'subscription'\n")
    (tmp_path / "case.bicepparam").write_text("// what it is\nusing 'main.bicep'\n")
    return tmp_path / "case.bicepparam"


def failing(folder: Path, said: str) -> Bicep:
    """A compiler that ends with this."""
    program = folder / "bicep"
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.exit({said!r})\n")
    program.chmod(0o755)
    return Bicep(program)


def test_a_refusal_is_told_without_the_compilers_own_words(case: Path, tmp_path: Path) -> None:
    assert failing(tmp_path, REFUSAL).evaluate(case).refusal == 'name is "x".\nIt must be longer'


def test_any_other_failure_of_the_compiler_is_an_error_with_its_text(case: Path, tmp_path: Path) -> None:
    with pytest.raises(CompilerFailed, match=r"case\.bicepparam: Error BCP036"):
        failing(tmp_path, "Error BCP036: of type 30").evaluate(case)


def test_without_a_compiler_it_says_how_to_name_one() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "BICEP"}
    command = [sys.executable, "-m", "tools.infra"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Set BICEP to the path of the Bicep compiler")


def test_the_linter_treats_what_hides_rights_as_an_error() -> None:
    rules = json.loads((ROOT / "infra" / "bicepconfig.json").read_text())["analyzers"]["core"]["rules"]
    assert rules["what-if-short-circuiting"] == {"level": "error"}
