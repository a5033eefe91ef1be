"""The deployment chapter: the names it uses are those of the files."""

import re

import pytest

from tests.infra.digests import INFRA, ROOT, text_of

CHAPTER = (ROOT / "docs" / "deploying.md").read_text()
RIGHTS = (INFRA / "README.md").read_text()
SOURCES = "\n".join(path.read_text() for path in INFRA.rglob("*.bicep"))
# Names that are Azure's or the HTTP API's, a destination's kind, and what the upgrade note says of the first version.
ELSEWHERE = """
getSecret setSecret requestedAccessTokenVersion accessTokenAcceptedVersion basicPublishingCredentialsPolicies
principalName lastSweep completedAt
keyVault
containerApp functionKeyToo containerAppWriter mayRegenerateKeys keyRegenerator sweepSilence
"""


def test_the_smallest_example_is_one_that_the_compiler_has_evaluated() -> None:
    (example,) = re.findall(r"```bicep\n(.*?)```", CHAPTER, re.DOTALL)[:1]
    case = (ROOT / "tests" / "infra" / "cases" / "smallest.bicepparam").read_text()
    text = example.replace("<id>", "11111111-1111-1111-1111-111111111111")
    assert text == re.sub(r"^// .*\n", "", case).replace("../../../infra/", "./")


@pytest.mark.parametrize("text", [CHAPTER, RIGHTS], ids=["docs/deploying.md", "infra/README.md"])
def test_every_parameter_and_output_that_a_chapter_names_exists(text: str) -> None:
    known = set(re.findall(r"^(?:param|output|module|  )\s*(\w+)", SOURCES, re.MULTILINE)) | {
        *ELSEWHERE.split()
    }
    known |= set(re.findall(r"\.(\w+)\??[:.]", text_of("estate-type")))
    named = set(re.findall(r"`([a-z]+[A-Z]\w*)`", text))
    assert named
    assert named - known == set()
