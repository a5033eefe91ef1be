"""The deployment chapter and the examples: names that exist, and files that are accepted as they are."""

import re

import pytest

from tests.infra.digests import CASES, INFRA, ROOT, document, grants, read, resources, text_of

CHAPTER = (ROOT / "docs" / "deploying.md").read_text()
RIGHTS = (INFRA / "README.md").read_text()
SOURCES = "\n".join(path.read_text() for path in INFRA.rglob("*.bicep"))
EXAMPLES = INFRA / "examples"
NAMES = sorted(file.stem for file in EXAMPLES.glob("*.bicepparam"))
# Names that are Azure's or the HTTP API's, a destination's kind, and what the upgrade note says of the first version.
ELSEWHERE = """
getSecret setSecret requestedAccessTokenVersion accessTokenAcceptedVersion basicPublishingCredentialsPolicies
principalName lastSweep completedAt
keyVault
containerApp functionKeyToo containerAppWriter mayRegenerateKeys keyRegenerator sweepSilence
"""


def test_the_smallest_example_is_one_that_the_compiler_has_evaluated() -> None:
    (example,) = re.findall(r"```bicep\n(.*?)```", CHAPTER, re.DOTALL)[:1]
    case = (CASES / "smallest.bicepparam").read_text()
    text = example.replace("<id>", "11111111-1111-1111-1111-111111111111")
    assert text == re.sub(r"^// .*\n", "", case).replace("../../../infra/", "./")


@pytest.mark.parametrize("text", [CHAPTER, RIGHTS], ids=["docs/deploying.md", "infra/README.md"])
def test_every_parameter_and_output_that_a_chapter_names_exists(text: str) -> None:
    known = {*ELSEWHERE.split(), *re.findall(r"\.(\w+)\??[:.]", text_of("estate-type"))}
    known |= set(re.findall(r"^(?:param|output|module|  )\s*(\w+)", SOURCES, re.MULTILINE))
    named = set(re.findall(r"`([a-z]+[A-Z]\w*)`", text))
    assert named
    assert named - known == set()


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short_says_what_it_is_for_is_accepted_and_tells_somebody(name: str) -> None:
    lines = (EXAMPLES / f"{name}.bicepparam").read_text().splitlines()
    assert lines[0].startswith("// ")
    assert len(lines) <= 36
    assert "refused" not in read(name)
    assert resources(name, "actionGroups")


def test_the_file_to_fill_in_is_the_first_example() -> None:
    example = (EXAMPLES / "key-vault.bicepparam").read_text()
    shared = example.partition("// Globally unique.")[2]
    assert shared
    assert (INFRA / "main.bicepparam").read_text().endswith(shared)


def test_the_first_example_makes_the_vault_that_its_destinations_mean() -> None:
    (vault,) = resources("key-vault", "vaults")
    (destination,) = document("key-vault")["services"]["contoso"]["gateways"]["*"]["destinations"]
    assert destination == {"kind": "keyVault", "vault": f"https://{vault}.vault.azure.net"}


def test_the_platform_and_each_of_its_teams_grant_what_their_own_part_needs_and_nothing_beside_it() -> None:
    assert {scope.split("/")[1] for _, scope in grants("several-teams")} == {"rg-gateway-tokens"}
    assert document("several-teams")["services"].keys() == {"shop", "plant"}
    for team in ("shop", "plant"):
        granted = {scope.split("/", 1)[1] for _, scope in grants(f"{team}-grants")}
        assert granted == {f"rg-{team}/service/{team}-apim", f"rg-{team}/vaults/{team}-gateways"}


def assigned(case: str) -> set[str]:
    """The scope of each assignment, and the beginning of its name in brackets."""
    return {line.partition(" -> ")[2].partition(" to ")[0] for line in read(case)["grants"]}


def test_a_teams_assignments_have_the_names_that_the_platforms_own_would_have() -> None:
    assert assigned("defaults") >= assigned("grants-of-a-team") > set()


def test_another_generation_gives_every_assignment_another_name() -> None:
    first, second = (
        {name.partition("[")[2] for name in assigned(case)} for case in ("defaults", "generation")
    )
    assert len(first) == len(second)
    assert not first & second
