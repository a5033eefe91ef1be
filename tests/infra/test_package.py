"""What is published: the app, and nothing that a developer keeps beside it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from tests.infra.digests import ROOT
from tools.package import build, package_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Packed, the code is about 100 kB; a package beyond this holds something that does not belong. The pins' hashes, which
# cannot be compressed, are not counted.
MOST_BYTES = 150_000
PUBLISHED = ["function_app.py", "gateway_tokens/arm.py", "gateway_tokens/destinations/key_vault.py"]
PUBLISHED += ["host.json", "requirements.txt"]
LEFT_OUT = (
    ".env",
    ".funcignore",
    ".git/config",
    ".github/workflows/ci.yml",
    ".local/token.txt",
    ".venv/bin/python",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "azure.yaml",
    "docs/deploying.md",
    "emulator/server.py",
    "gateway_tokens/__pycache__/arm.cpython-313.pyc",
    "gateway_tokens/destinations/__pycache__/aks.cpython-313.pyc",
    "infra/main.bicep",
    "local.settings.json",
    "local.settings.sample.json",
    "pyproject.toml",
    "requirements-dev.txt",
    "requirements-runtime.txt",
    "requirements.in",
    "tests/infra/test_package.py",
    "tools/package.py",
    "venv/bin/python",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with this project's .funcignore and one file of every sort."""
    for name in (*PUBLISHED, *LEFT_OUT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".funcignore").write_text((ROOT / ".funcignore").read_text())
    return tmp_path


def test_the_app_is_published_and_what_is_kept_beside_it_is_not(project: Path) -> None:
    assert package_files(project) == PUBLISHED


def core_tools_would_send(ignored: str, names: Iterable[str]) -> list[str]:
    """What `func azure functionapp publish` makes of the same file, which it does not read as git does.

    Its patterns are matched from the start of a path and need not reach its end:
    https://github.com/Azure/azure-functions-core-tools/blob/main/src/Azure.Functions.Cli/Common/GitIgnoreParser.cs
    """
    escaped = [re.sub(r"[-\[\]/{}()+?.\\^$|]", r"\\\g<0>", line) for line in ignored.split()]
    patterns = [line.replace("**", "(.+)").replace("*", r"([^\/]+)") for line in escaped]
    return [name for name in names if not re.match("|".join(patterns), name)]


def test_the_core_tools_read_the_same_from_it() -> None:
    ignored = (ROOT / ".funcignore").read_text()

    assert core_tools_would_send(ignored, (*PUBLISHED, *LEFT_OUT)) == PUBLISHED
    assert core_tools_would_send(ignored, package_files(ROOT)) == package_files(ROOT)


def test_a_folder_ignored_at_the_top_only_would_be_noticed() -> None:
    ignored = (ROOT / ".funcignore").read_text().replace("**/__pycache__\n", "")

    assert set(core_tools_would_send(ignored, (*PUBLISHED, *LEFT_OUT))) - set(PUBLISHED) == {
        "gateway_tokens/__pycache__/arm.cpython-313.pyc",
        "gateway_tokens/destinations/__pycache__/aks.cpython-313.pyc",
    }


def test_a_line_missing_from_funcignore_would_be_noticed(project: Path) -> None:
    ignored = (project / ".funcignore").read_text()
    (project / ".funcignore").write_text(ignored.replace("local.settings.json\n", ""))

    assert set(package_files(project)) - set(PUBLISHED) == {"local.settings.json"}


def test_the_package_holds_the_triggers_the_modules_the_pins_and_the_hosts_settings_and_nothing_else() -> (
    None
):
    modules = [path.relative_to(ROOT).as_posix() for path in (ROOT / "gateway_tokens").rglob("*.py")]

    assert package_files(ROOT) == sorted(["function_app.py", *modules, "host.json", "requirements.txt"])


def test_the_package_is_small(tmp_path: Path) -> None:
    build(ROOT, tmp_path / "app.zip")

    with ZipFile(tmp_path / "app.zip") as archive:
        pins = archive.getinfo("requirements.txt").compress_size
    assert 10_000 < (tmp_path / "app.zip").stat().st_size - pins < MOST_BYTES


def test_the_archive_holds_the_files_at_its_top_level(project: Path) -> None:
    build(project, project / ".build" / "app.zip")

    with ZipFile(project / ".build" / "app.zip") as archive:
        assert archive.namelist() == PUBLISHED
        assert archive.read("host.json") == b"host.json"


def test_the_same_files_give_the_same_bytes(project: Path, tmp_path: Path) -> None:
    build(project, tmp_path / ".build" / "one.zip")
    build(project, tmp_path / ".build" / "two.zip")

    one, two = ((tmp_path / ".build" / f"{name}.zip").read_bytes() for name in ("one", "two"))
    assert one == two


def test_the_command_prints_every_file_and_the_size() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.package"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "  host.json\n" in done.stdout
    assert f"bytes in {len(package_files(ROOT))} files\n" in done.stdout
    assert done.stdout.endswith("bytes in .build/app.zip\n")


def imported(source: str) -> set[str]:
    """The modules outside the standard library and the app that a file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module and not n.level}
    return {n for n in names if n.split(".")[0] not in sys.stdlib_module_names | {"gateway_tokens"}}


def required(requirements: str) -> set[str]:
    """The modules that the requirements bring: `azure-core` brings `azure.core`, PyYAML `yaml`, PyJWT `jwt`."""
    names = re.findall(r"^([\w-]+)(?:\[\w+\])?>=[\d.]+,<\d+(?: ;.*)?$", requirements, re.MULTILINE)
    return {{"PyYAML": "yaml", "PyJWT": "jwt"}.get(name, name.replace("-", ".")) for name in names}


def unmatched(modules: set[str], brought: set[str]) -> set[str]:
    missing = {m for m in modules if not any(f"{m}.".startswith(f"{b}.") for b in brought)}
    return missing | {b for b in brought if not any(f"{m}.".startswith(f"{b}.") for m in modules)}


def test_the_requirements_are_what_the_app_imports_each_within_bounds() -> None:
    app = [ROOT / "function_app.py", *(ROOT / "gateway_tokens").rglob("*.py")]
    modules = set().union(*(imported(file.read_text()) for file in app))
    lines = (ROOT / "requirements.in").read_text()

    assert unmatched(modules, required(lines)) == set()
    assert len(re.findall(r"^[^#\n]", lines, re.MULTILINE)) == len(
        re.findall(r"^\S+>=.+,<", lines, re.MULTILINE)
    )


@pytest.mark.parametrize(
    ("source", "requirements", "reported"),
    [
        ("import azure.core.rest", "azure-core>=1.38,<2", set()),
        ("def f():\n    import yaml", "azure-core>=1.38,<2", {"yaml", "azure.core"}),
        ("import aiohttp", "aiohttp", {"aiohttp"}),
        ("import aiohttp", "aiohttp>=3.14", {"aiohttp"}),
    ],
)
def test_an_import_without_a_bounded_requirement_is_reported_and_the_other_way_round(
    source: str, requirements: str, reported: set[str]
) -> None:
    assert unmatched(imported(source), required(requirements)) == reported
