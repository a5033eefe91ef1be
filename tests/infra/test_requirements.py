"""What is installed is what was tested: exact pins with hashes, made from the ranges in requirements.in."""

import re
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.infra.digests import ROOT

PINS = (ROOT / "requirements.txt").read_text()
RANGES = (ROOT / "requirements.in").read_text()
PIN = re.compile(r"[a-z0-9-]+==[^\s;=]+(?: ; [^\\]+)?(?: --hash=sha256:[0-9a-f]{64})+")


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
