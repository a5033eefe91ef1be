"""What a template refuses, before anything is made, and in whose words."""

import re

import pytest

from tests.infra.digests import cases, read, text_of

REFUSED = [case for case in cases() if "refused" in read(case)]
FAULTS = {case: [line.removeprefix("- ") for line in read(case)["refused"][1:]] for case in REFUSED}
PATHS = (
    r"(estate|signIn|network|name|resourceGroupName|newVaultName|workspaceId|existing\w+|actionGroupId|inbound"
    r"|alwaysReady|renewalSchedule|alertEmail|alerts|principalId)\b"
)


def test_a_case_is_refused_if_its_name_says_so() -> None:
    assert [case for case in cases() if case.startswith("refused-")] == REFUSED


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_says_that_nothing_is_made_and_then_every_fault_with_its_path_in_our_own_words(
    case: str,
) -> None:
    first, *rest = read(case)["refused"]
    assert first == "The deployment is refused, and nothing is made:"
    assert rest
    assert all(line.startswith("- ") for line in rest)
    assert not re.search(r"out of bounds|language expression|template function", text_of(case))
    for fault in FAULTS[case]:
        path, _, message = fault.partition(" ")
        assert re.match(PATHS, path), fault
        assert message.endswith("."), fault
        assert re.search(r"[a-z0-9)\"\]]\. [A-Z`]|: [a-z]", message), "does not say what to do"
