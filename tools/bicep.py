"""The Bicep compiler as this project uses it: evaluated parameter files, compiled templates, lint and format."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

# The deployment that every parameter file is evaluated for. Its ids enter names, so they never change.
_DEPLOYMENT = {
    "--tenant-id": "99999999-9999-9999-9999-999999999999",
    "--deployment-name": "gateway-tokens",
}
_OF_A_SCOPE = {
    "subscription": {
        "--subscription-id": "11111111-1111-1111-1111-111111111111",
        "--location": "westeurope",
    },
    "resourceGroup": {
        "--subscription-id": "11111111-1111-1111-1111-111111111111",
        "--resource-group": "rg-team",
    },
    "managementGroup": {"--management-group-id": "contoso", "--location": "westeurope"},
}
_REFUSAL = re.compile(r"is not valid: (.*?)\.? Please see https://aka\.ms/\S+ for usage details", re.DOTALL)


class Evaluated(NamedTuple):
    """What a parameter file would deploy, or the text with which its template refuses it."""

    resources: list[dict[str, Any]]
    outputs: dict[str, Any]
    refusal: str


class CompilerFailed(Exception):  # noqa: N818 - named after a state
    """The compiler failed for another reason than a refusal by the template."""


class Bicep:
    """The compiler at a path."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def evaluate(self, parameters: Path) -> Evaluated:
        """What a `.bicepparam` file would deploy. Leaves a snapshot beside it. Raises CompilerFailed."""
        options = [part for pair in (_DEPLOYMENT | _OF_A_SCOPE[_scope(parameters)]).items() for part in pair]
        done = self._run("snapshot", str(parameters), "--mode", "overwrite", *options)
        if done.returncode:
            refusal = _REFUSAL.search(done.stderr)
            if not refusal:
                raise CompilerFailed(f"{parameters.name}: {done.stderr.strip()}")
            return Evaluated([], {}, refusal[1])
        snapshot = json.loads(parameters.with_suffix(".snapshot.json").read_text(encoding="utf-8"))
        return Evaluated(snapshot["predictedResources"], snapshot["outputs"], "")

    def template(self, source: Path) -> dict[str, Any]:
        """The template that a `.bicep` file compiles to. Raises CompilerFailed."""
        done = self._run("build", str(source), "--stdout")
        if done.returncode:
            raise CompilerFailed(f"{source.name}: {done.stderr.strip()}")
        template: dict[str, Any] = json.loads(done.stdout)
        return template

    def lint(self, folder: Path) -> list[str]:
        """Every warning and error about the files below a folder."""
        done = self._run("lint", "--pattern", f"{folder}/**/*.bicep*")
        # A fault of an imported file is told once for each file that imports it.
        lines = dict.fromkeys(done.stderr.replace(f"{folder}/", "").splitlines())
        return [line for line in lines if line.strip()]

    def format(self, folder: Path) -> None:
        """Put the files below a folder into the compiler's own layout."""
        self._run("format", "--pattern", f"{folder}/**/*.bicep*")

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # Without ICU the compiler runs as well as with it.
        environment = {**os.environ, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"}
        return subprocess.run(  # noqa: S603 - the compiler that the caller names
            [str(self._program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )


def _scope(parameters: Path) -> str:
    using = re.search(r"^using '([^']+)'", parameters.read_text(encoding="utf-8"), re.MULTILINE)
    if not using:
        raise CompilerFailed(f"{parameters.name} has no `using`")
    template = (parameters.parent / using[1]).read_text(encoding="utf-8")
    target = re.search(r"^targetScope = '(\w+)'", template, re.MULTILINE)
    return target[1] if target else "resourceGroup"
