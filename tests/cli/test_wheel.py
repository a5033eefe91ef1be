"""The wheel holds `gateway_tokens` alone. With its extra it runs in an environment that has nothing else."""

import json
import os
import resource
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.infra.digests import ROOT
from tests.samples import VAULT, document

pytestmark = pytest.mark.slow
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def called(*command: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network from a copy, since the build leaves files beside its sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "requirements.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "gateway_tokens", folder / "gateway_tokens")
    (folder / "tests").mkdir()
    (folder / "tests" / "__init__.py").touch()
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder / "dist")]
    subprocess.run([*PIP, "wheel", *options, str(folder)], check=True)
    [built] = (folder / "dist").iterdir()
    return built


def requirements_of(wheel: Path) -> list[Requirement]:
    with ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    return [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]


def with_what_they_need(wanted: list[Requirement], extra: str, known: set[str]) -> Iterator[str]:
    """The names of distributions that the requirements, and theirs in turn, ask for."""
    for requirement in wanted:
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for each in ("", *requirement.extras):
            if (key := f"{canonicalize_name(requirement.name)}[{each}]") not in known:
                known.add(key)
                yield canonicalize_name(requirement.name)
                own = [Requirement(text) for text in distribution(requirement.name).requires or []]
                yield from with_what_they_need(own, each, known)


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, its extra and what those ask for, each linked from this one: no index is needed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    [packages] = folder.glob("lib/python*/site-packages")
    for name in set(with_what_they_need(requirements_of(wheel), "cli", set())):
        for file in distribution(name).files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                link = packages / file
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(Path(str(file.locate())))
    where = ["--python", str(folder / "bin" / "python"), "install", "--no-index"]
    subprocess.run([*PIP, *where, f"{wheel}[cli]"], check=True)
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    sources = [path.relative_to(ROOT).as_posix() for path in (ROOT / "gateway_tokens").rglob("*.py")]
    assert sorted(names) == sorted(sources)


def test_the_packages_of_the_command_line_are_in_its_extra(wheel: Path) -> None:
    optional = {r.name for r in requirements_of(wheel) if r.marker and "extra" in str(r.marker)}
    assert optional == {"typer", "rich"}


def test_the_command_runs_outside_the_repository_and_completes_in_a_shell(
    environment: Path, tmp_path: Path
) -> None:
    (tmp_path / "estate.json").write_text('{"services": {},\n "acess": []}')
    program = environment / "bin" / "gateway-tokens"
    for command in ([program], [environment / "bin" / "python", "-m", "gateway_tokens"]):
        done = called(*command, "validate", "estate.json", folder=tmp_path)
        assert (done.returncode, done.stderr) == (1, "")
        assert done.stdout == "estate.json:2: acess: unknown field. Did you mean 'access'?\n"
        assert "doctor" in called(*command, "--help", folder=tmp_path).stdout
    asking = {"COMP_WORDS": "gateway-tokens va", "COMP_CWORD": "1"}
    completed = called(program, folder=tmp_path, _GATEWAY_TOKENS_COMPLETE="complete_bash", **asking)
    assert completed.stdout.split() == ["validate"]


def test_without_the_extra_the_command_says_how_to_install_it(environment: Path, tmp_path: Path) -> None:
    [typer] = environment.glob("lib/python*/site-packages/typer")
    typer.rename(tmp_path / "typer")
    done = called(environment / "bin" / "gateway-tokens", folder=tmp_path)
    (tmp_path / "typer").rename(typer)
    assert done.returncode == 2
    assert done.stderr.endswith(
        "needs the package 'typer'. Install it with its extra: pipx install '.[cli]'\n"
    )


def test_a_thousand_gateways_are_checked_in_a_second_start_included(
    environment: Path, tmp_path: Path
) -> None:
    rule = {"destinations": [{"kind": "keyVault", "vault": VAULT}]}
    estate = document(**{f"edge-{number:04}": rule for number in range(1000)})
    (tmp_path / "estate.json").write_text(json.dumps(estate, indent=2))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = called(environment / "bin" / "gateway-tokens", "validate", "estate.json", folder=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    # Nothing is waited for, so the processor's time is the time on a machine that has nothing else to do.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
