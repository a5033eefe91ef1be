"""`make infra`: how the compiler is asked, and what is said where there is none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.digests import ROOT
from tools.bicep import Bicep, CompilerFailed

# A compiler that writes its arguments beside the snapshot, or fails as the real one does.
COMPILER = """#!{python}
import json, sys
from pathlib import Path
if {failure!r}:
    sys.exit({failure!r})
target = Path(sys.argv[2]).with_suffix(".snapshot.json")
target.write_text(json.dumps({{"predictedResources": [], "outputs": {{"arguments": sys.argv[3:]}}}}))
"""
REFUSAL = (
    "Template snapshotting could not be completed for the following reason: 'The template variable 'sound' is not "
    'valid: name is "x".\nIt must be longer. Please see https://aka.ms/arm-functions for usage details.\'.'
)


@pytest.fixture
def parameters(tmp_path: Path) -> Path:
    (tmp_path / "main.bicep").write_text("targetScope = 'subscription'\n")
    file = tmp_path / "case.bicepparam"
    file.write_text("// what it is\nusing 'main.bicep'\n")
    return file


def compiler(folder: Path, failure: str = "") -> Bicep:
    program = folder / "bicep"
    program.write_text(COMPILER.format(python=sys.executable, failure=failure))
    program.chmod(0o755)
    return Bicep(program)


@pytest.mark.parametrize(
    ("template", "scope"),
    [("targetScope = 'subscription'\n", "--subscription-id"), ("param x string\n", "--resource-group")],
)
def test_a_parameter_file_is_evaluated_at_the_scope_of_its_template(
    parameters: Path, template: str, scope: str
) -> None:
    (parameters.parent / "main.bicep").write_text(template)
    arguments = compiler(parameters.parent).evaluate(parameters).outputs["arguments"]
    assert scope in arguments
    assert ("--resource-group" in arguments) is (scope == "--resource-group")


def test_a_refusal_is_told_without_the_compilers_own_words(parameters: Path) -> None:
    evaluated = compiler(parameters.parent, REFUSAL).evaluate(parameters)
    assert evaluated.refusal == 'name is "x".\nIt must be longer'


def test_any_other_failure_of_the_compiler_is_an_error_with_its_text(parameters: Path) -> None:
    with pytest.raises(CompilerFailed, match=r"case\.bicepparam: Error BCP036"):
        compiler(parameters.parent, "Error BCP036: of type 30").evaluate(parameters)


def test_without_a_compiler_it_says_how_to_name_one() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "BICEP"}
    command = [sys.executable, "-m", "tools.infra"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Set BICEP to the path of the Bicep compiler")


def test_the_linter_treats_what_hides_rights_as_an_error() -> None:
    rules = json.loads((ROOT / "infra" / "bicepconfig.json").read_text())["analyzers"]["core"]["rules"]
    assert rules["what-if-short-circuiting"] == {"level": "error"}
