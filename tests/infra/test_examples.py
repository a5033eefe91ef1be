"""The examples: one reader each, short, accepted as they are, and the first of them is the file to fill in."""

import pytest

from tests.infra.digests import INFRA, document, grants, read, resources

EXAMPLES = INFRA / "examples"
NAMES = ("key-vault", "aks", "any-kubernetes", "several-teams")


def test_there_is_one_example_for_each_reader() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.bicepparam")} == set(NAMES)


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
    vault = "kv-contoso-gateways"
    (destination,) = document("key-vault")["services"]["contoso"]["gateways"]["*"]["destinations"]
    assert destination == {"kind": "keyVault", "vault": f"https://{vault}.vault.azure.net"}
    assert list(resources("key-vault", "vaults")) == [vault]
    scope = f"11111111/rg-gateway-tokens/vaults/{vault}"
    assert ("Gateway token secret writer", scope) in grants("key-vault")


def test_the_platform_grants_nothing_on_what_its_teams_grant_themselves() -> None:
    assert {scope.split("/")[1] for _, scope in grants("several-teams")} == {"rg-gateway-tokens"}
    assert document("several-teams")["services"].keys() == {"shop", "plant"}


@pytest.mark.parametrize("team", ["shop", "plant"])
def test_a_team_grants_what_its_part_needs_and_nothing_beside_it(team: str) -> None:
    assert {scope.split("/", 1)[1] for _, scope in grants(f"{team}-grants")} == {
        f"rg-{team}/service/{team}-apim",
        f"rg-{team}/vaults/{team}-gateways",
    }


def test_a_teams_assignments_have_the_names_that_the_platforms_own_would_have() -> None:
    ours, teams = (
        {line.partition(" -> ")[2].partition(" to ")[0] for line in read(case)["grants"]}
        for case in ("defaults", "grants-of-a-team")
    )
    assert teams
    assert teams <= ours


def test_another_generation_gives_every_assignment_another_name() -> None:
    first, second = (
        {line.partition("[")[2][:8] for line in read(case)["grants"]} for case in ("defaults", "generation")
    )
    assert len(first) == len(second)
    assert not first & second
