"""The deployment chapter: the names it uses are those of the files."""

from __future__ import annotations

import re

import pytest

from tests.infra.digests import INFRA, ROOT, text_of

CHAPTER = (ROOT / "docs" / "deploying.md").read_text()
RIGHTS = (INFRA / "README.md").read_text()
SOURCES = "\n".join(path.read_text() for path in INFRA.rglob("*.bicep"))
# Names that are Azure's or the HTTP API's, not those of parameters.
ELSEWHERE = {
    "getSecret",
    "setSecret",
    "requestedAccessTokenVersion",
    "accessTokenAcceptedVersion",
    "basicPublishingCredentialsPolicies",
    "principalName",
    "lastSweep",
    "completedAt",
}
KINDS = {"keyVault"}
# What the upgrade note says of the first version.
GONE = {
    "containerApp",
    "functionKeyToo",
    "containerAppWriter",
    "mayRegenerateKeys",
    "keyRegenerator",
    "sweepSilence",
}


def smallest_example() -> str:
    found = re.search(r"```bicep\n(.*?)```", CHAPTER, re.DOTALL)
    assert found
    return found[1]


def test_the_smallest_example_is_one_that_the_compiler_has_evaluated() -> None:
    text = smallest_example().replace("<id>", "11111111-1111-1111-1111-111111111111")
    case = (ROOT / "tests" / "infra" / "cases" / "smallest.bicepparam").read_text()

    assert text == re.sub(r"^// .*\n", "", case).replace("../../../infra/", "./")


@pytest.mark.parametrize("text", [CHAPTER, RIGHTS], ids=["docs/deploying.md", "infra/README.md"])
def test_every_parameter_and_output_named_exists(text: str) -> None:
    known = (
        set(re.findall(r"^(?:param|output|module|  )\s*(\w+)", SOURCES, re.MULTILINE))
        | ELSEWHERE
        | KINDS
        | GONE
    )
    known |= set(re.findall(r"\.(\w+)\??[:.]", text_of("estate-type")))

    named = set(re.findall(r"`([a-z]+[A-Z]\w*)`", text))

    assert named
    assert named - known == set()


@pytest.mark.parametrize("name", ["deploying.md", "README.md"])
def test_every_file_linked_to_exists(name: str) -> None:
    folder, text = (ROOT / "docs", CHAPTER) if name == "deploying.md" else (INFRA, RIGHTS)

    linked = [target.split("#")[0] for target in re.findall(r"\]\(([^):]+)\)", text)]

    assert linked
    assert [target for target in linked if not (folder / target).exists()] == []
