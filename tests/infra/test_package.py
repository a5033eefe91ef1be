"""What is published: the app, nothing that a developer keeps beside it, and pins with hashes of what it imports."""

import ast
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.infra.digests import ROOT
from tools.package import build, package_files

PINS = (ROOT / "requirements.txt").read_text()
RANGES = (ROOT / "requirements.in").read_text()
PIN = re.compile(r"[a-z0-9-]+==[^\s;=]+(?: ; [^\\]+)?(?: --hash=sha256:[0-9a-f]{64})+")

IGNORED = (ROOT / ".funcignore").read_text()
PUBLISHED = ["function_app.py", "gateway_tokens/arm.py", "gateway_tokens/destinations/key_vault.py"]
PUBLISHED += ["host.json", "requirements.txt"]
LEFT_OUT = """
build/lib/gateway_tokens/app.py gateway_tokens/__main__.py gateway_tokens/cli/commands.py gateway_tokens.egg-info/PKG-INFO
.env .funcignore .git/config .github/workflows/ci.yml .local/token.txt .venv/bin/python CHANGELOG.md LICENSE Makefile
README.md azure.yaml docs/deploying.md edge/gateway-token emulator/server.py gateway_tokens/__pycache__/arm.cpython-313.pyc
gateway_tokens/destinations/__pycache__/aks.cpython-313.pyc infra/main.bicep local.settings.json
local.settings.sample.json pyproject.toml requirements-dev.txt requirements-runtime.txt requirements.in
tests/infra/test_package.py tools/package.py venv/bin/python
"""
EVERY_SORT = [*PUBLISHED, *LEFT_OUT.split()]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with this project's .funcignore and one file of every sort."""
    for name in EVERY_SORT:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".funcignore").write_text(IGNORED)
    return tmp_path


def core_tools_would_send(names: list[str]) -> list[str]:
    """What `func azure functionapp publish` makes of the same file, which it does not read as git does.

    Its patterns are matched from the start of a path and need not reach its end:
    https://github.com/Azure/azure-functions-core-tools/blob/main/src/Azure.Functions.Cli/Common/GitIgnoreParser.cs
    """
    escaped = [re.sub(r"[-\[\]/{}()+?.\\^$|]", r"\\\g<0>", line) for line in IGNORED.split()]
    patterns = [line.replace("**", "(.+)").replace("*", r"([^\/]+)") for line in escaped]
    return [name for name in names if not re.match("|".join(patterns), name)]


def test_make_package_and_the_core_tools_publish_the_app_and_nothing_that_is_kept_beside_it(
    project: Path,
) -> None:
    assert package_files(project) == core_tools_would_send(EVERY_SORT) == PUBLISHED


def test_the_package_holds_the_triggers_the_modules_the_pins_and_the_hosts_settings_and_nothing_else() -> (
    None
):
    modules = [path.relative_to(ROOT).as_posix() for path in sources() if path not in COMMAND_LINE]
    files = sorted(["function_app.py", *modules, "host.json", "requirements.txt"])
    assert package_files(ROOT) == core_tools_would_send(files) == files


def test_the_archive_holds_the_files_at_its_top_level_and_has_the_same_bytes_each_time(
    project: Path,
) -> None:
    first, two = project / ".build" / "one.zip", project / ".build" / "two.zip"
    build(project, first)
    build(project, two)
    with ZipFile(first) as archive:
        assert archive.namelist() == PUBLISHED
        assert archive.read("host.json") == b"host.json"
    assert first.read_bytes() == two.read_bytes()


def test_the_command_prints_every_file_and_the_size() -> None:
    command = [sys.executable, "-m", "tools.package"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "  host.json\n" in done.stdout
    assert f"bytes in {len(package_files(ROOT))} files\n" in done.stdout
    assert done.stdout.endswith("bytes in .build/app.zip\n")


def sources() -> list[Path]:
    return list((ROOT / "gateway_tokens").rglob("*.py"))


COMMAND_LINE = [ROOT / "gateway_tokens" / "__main__.py", *(ROOT / "gateway_tokens" / "cli").rglob("*.py")]


def imported(source: str) -> set[str]:
    """The modules outside the standard library and the app that a file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module and not n.level}
    return {n for n in names if n.split(".")[0] not in sys.stdlib_module_names | {"gateway_tokens"}}


def entries(requirements: str) -> list[str]:
    """Each requirement on one line, without comments."""
    joined = requirements.replace("\\\n", " ")
    lines = (re.sub(r"\s+", " ", re.sub(r"(^|\s)#.*", "", line)).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def pinned() -> list[Requirement]:
    return [Requirement(entry.partition(" --hash")[0]) for entry in entries(PINS)]


def test_every_line_is_one_package_at_one_version_with_the_hashes_of_its_files() -> None:
    assert len(entries(PINS)) > len(entries(RANGES))
    assert [entry for entry in entries(PINS) if not PIN.fullmatch(entry)] == []


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_every_range_has_a_pin_within_it(python: str) -> None:
    at = {"python_version": python, "python_full_version": f"{python}.0"}
    have = {r.name: r.specifier for r in pinned() if not r.marker or r.marker.evaluate(at)}
    for wanted in (Requirement(entry) for entry in entries(RANGES)):
        if not wanted.marker or wanted.marker.evaluate(at):
            exact = str(have[canonicalize_name(wanted.name)]).removeprefix("==")
            assert exact in wanted.specifier, wanted


def test_the_tests_run_with_what_is_pinned() -> None:
    here = [r for r in pinned() if not r.marker or r.marker.evaluate()]
    assert {r.name: f"=={version(r.name)}" for r in here} == {r.name: str(r.specifier) for r in here}


def test_the_requirements_are_what_the_app_imports_each_within_bounds() -> None:
    bounded = [re.match(r"([\w-]+)(?:\[\w+\])?>=[\d.]+,<\d+(?: ;.*)?$", entry) for entry in entries(RANGES)]
    assert all(bounded)
    # `azure-core` brings `azure.core`, PyYAML `yaml`, PyJWT `jwt`.
    names = {"PyYAML": "yaml", "PyJWT": "jwt"}
    brought = {names.get(match[1], match[1].replace("-", ".")) for match in bounded if match}
    deployed = [ROOT / "function_app.py", *(path for path in sources() if path not in COMMAND_LINE)]
    for files, more in ((deployed, set[str]()), (COMMAND_LINE, {"typer", "rich"})):
        modules = set().union(*(imported(file.read_text()) for file in files))
        assert {m for m in modules if not any(f"{m}.".startswith(f"{b}.") for b in brought | more)} == set()
        if not more:  # `zoneinfo` reads tzdata, without an import
            assert {b for b in brought if not any(f"{m}.".startswith(f"{b}.") for m in modules)} == {"tzdata"}
