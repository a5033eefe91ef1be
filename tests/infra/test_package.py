"""What is published: the app, and nothing that a developer keeps beside it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from tests.infra.bicep_tree import ROOT
from tools.package import build, package_files

if TYPE_CHECKING:
    from pathlib import Path

# Packed, the code is under 100 kB; a package beyond this holds something that does not belong.
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
    "infra/main.bicep",
    "local.settings.json",
    "local.settings.sample.json",
    "pyproject.toml",
    "requirements-dev.txt",
    "requirements-runtime.txt",
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


def test_a_line_missing_from_funcignore_would_be_noticed(project: Path) -> None:
    ignored = (project / ".funcignore").read_text()
    (project / ".funcignore").write_text(ignored.replace("local.settings.json\n", ""))

    assert set(package_files(project)) - set(PUBLISHED) == {"local.settings.json"}


def test_this_project_publishes_its_package_and_its_front_door_only() -> None:
    top_level = {name.split("/")[0] for name in package_files(ROOT)}

    assert top_level == {"function_app.py", "gateway_tokens", "host.json", "requirements.txt"}


def test_every_module_of_the_core_package_is_published() -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gateway_tokens").rglob("*.py")}

    assert modules
    assert modules <= set(package_files(ROOT))


def test_the_package_is_small(tmp_path: Path) -> None:
    build(ROOT, tmp_path / "app.zip")

    assert 10_000 < (tmp_path / "app.zip").stat().st_size < MOST_BYTES


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
