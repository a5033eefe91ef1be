"""What a template refuses, before anything is made, and in whose words."""

from __future__ import annotations

import re

import pytest

from tests.infra.digests import cases, read, text_of

REFUSED = [case for case in cases() if "refused" in read(case)]
FAULTS = {case: [line.removeprefix("- ") for line in read(case)["refused"][1:]] for case in REFUSED}


def test_a_case_is_refused_if_its_name_says_so() -> None:
    assert [case for case in cases() if case.startswith("refused-")] == REFUSED


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_says_that_nothing_is_made_and_then_every_fault(case: str) -> None:
    assert read(case)["refused"][0] == "The deployment is refused, and nothing is made:"
    assert all(line.startswith("- ") for line in read(case)["refused"][1:])
    assert FAULTS[case]


@pytest.mark.parametrize("case", REFUSED)
def test_no_refusal_is_in_the_words_of_the_compiler(case: str) -> None:
    assert not re.search(r"out of bounds|language expression|template function", text_of(case))


@pytest.mark.parametrize("fault", [f"{case}: {fault}" for case, faults in FAULTS.items() for fault in faults])
def test_a_fault_begins_with_its_path_and_says_what_to_do(fault: str) -> None:
    path, _, said = fault.partition(": ")[2].partition(" ")

    assert re.match(
        r"(estate|signIn|network|name|resourceGroupName|newVaultName|workspaceId|existing\w+|actionGroupId|inbound|alwaysReady|renewalSchedule|alertEmail|alerts|principalId)\b",
        path,
    )
    assert said.endswith(".")
    assert len(re.findall(r"[a-z0-9)\"\]]\. [A-Z`]|: [a-z]", said)) >= 1


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        (
            "refused-ids",
            'bareName.resourceId is "contoso-apim". It must be the resource id of an API Management service',
        ),
        (
            "refused-ids",
            '.vault is "https://contoso.vault.azure.net". It must be the resource id of a Key Vault',
        ),
        ("refused-ids", "vaultAsService.resourceId is"),
        ("refused-ids", "trailingSlash.resourceId is"),
        ("refused-ids", "integrationSubnetId is"),
        ("refused-names", 'name is "---"'),
        ("refused-pairs", "neither server nor cluster"),
        ("refused-pairs", "both cluster and signIn"),
        ("refused-pairs", "signIn is missing"),
        ("refused-empty-lists", "signIn.allowedApplications is empty"),
        ("refused-bytes", "An app setting holds 100000"),
        ("refused-groups", "201 resource groups. A deployment covers 200"),
        ("refused-one-group", "251 resources in"),
        ("refused-grants", "vault is missing"),
    ],
)
def test_what_the_first_version_accepted_is_refused(case: str, fault: str) -> None:
    assert [line for line in FAULTS[case] if fault in line]
