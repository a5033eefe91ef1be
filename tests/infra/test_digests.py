"""The digests: one for each case, short, and so made that a change of a right cannot hide."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.infra.digests import DIGESTS, OF_TEMPLATES, accepted, cases, read, text_of
from tools.bicep import Evaluated
from tools.digest import digest, sections

GROUP = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/contoso"
ROLE_ID = f"{GROUP}/providers/Microsoft.Authorization/roleDefinitions/0f0f0f0f-0000-4000-8000-000000000000"
ROLE = {
    "id": ROLE_ID,
    "type": "Microsoft.Authorization/roleDefinitions",
    "name": "0f0f0f0f-0000-4000-8000-000000000000",
    "properties": {
        "roleName": "Writer (abc)",
        "permissions": [{"actions": ["x/read"], "dataActions": ["x/write"]}],
    },
}
GRANT = {
    "id": f"{VAULT}/providers/Microsoft.Authorization/roleAssignments/ab12cd34-0000-5000-8000-000000000000",
    "type": "Microsoft.Authorization/roleAssignments",
    "name": "ab12cd34-0000-5000-8000-000000000000",
    "properties": {
        "roleDefinitionId": ROLE_ID,
        "principalId": f"[reference('{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-app', '2024-11-30').principalId]",
    },
}


def digested(*resources: dict[str, Any]) -> dict[str, list[str]]:
    return sections(digest("a case", Evaluated(list(resources), {}, "")))


def changed(resource: dict[str, Any], **properties: str) -> dict[str, Any]:
    other = copy.deepcopy(resource)
    other["properties"].update(properties)
    return other


def test_every_case_has_a_digest_and_every_digest_a_case() -> None:
    assert {file.stem for file in DIGESTS.glob("*.txt")} == set(cases()) | OF_TEMPLATES


@pytest.mark.parametrize("case", cases())
def test_a_digest_is_short_enough_to_be_read(case: str) -> None:
    queries = len(read(case).get("queries", []))

    assert len(text_of(case).splitlines()) - queries <= 55


@pytest.mark.parametrize("case", accepted())
def test_the_name_of_every_assignment_is_known_before_a_deployment(case: str) -> None:
    assert "NAME NOT KNOWN BEFOREHAND" not in text_of(case)


def test_a_name_that_only_azure_knows_is_told() -> None:
    unknown = GRANT | {"name": "[guid(reference('/x/y', '1').principalId)]"}

    assert digested(ROLE, unknown)["grants"] == [
        "Writer -> 11111111/rg/vaults/contoso NAME NOT KNOWN BEFOREHAND"
    ]


def test_a_custom_role_is_told_with_what_it_allows_and_where_it_is() -> None:
    assert digested(ROLE)["roles"] == ["Writer: x/read data:x/write in 11111111/rg"]


def test_a_grant_is_told_by_role_and_scope() -> None:
    assert digested(ROLE, GRANT)["grants"] == ["Writer -> 11111111/rg/vaults/contoso [ab12cd34]"]


def test_another_role_id_changes_the_digest() -> None:
    officer = "/providers/Microsoft.Authorization/roleDefinitions/b86a8fe4-44ce-4948-aee5-eccb2c155cd7"

    assert digested(ROLE, changed(GRANT, roleDefinitionId=officer))["grants"] == [
        "b86a8fe4-44ce-4948-aee5-eccb2c155cd7 -> 11111111/rg/vaults/contoso [ab12cd34]"
    ]


def test_a_grant_to_somebody_else_is_told() -> None:
    assert digested(ROLE, changed(GRANT, principalId="22222222"))["grants"][0].endswith(" to 22222222")


def test_a_resource_of_a_type_that_the_tool_does_not_know_is_listed_by_name() -> None:
    assert digested({"id": "/x", "type": "Microsoft.New/things", "name": "one"})["resources"] == [
        "things one"
    ]


def test_the_settings_document_is_told_in_the_public_cloud() -> None:
    text = '{"services":{"a":{"resourceId":"/x","gateways":{"*":{"renew":false,"note":"it\'\'s .v"}}}},"access":[]}'
    value = f"[replace('{text}', '.v', environment().suffixes.keyvaultDns)]"
    settings = {
        "id": "/x",
        "type": "Microsoft.Web/sites/config",
        "name": "app/appsettings",
        "properties": {"GATEWAY_TOKENS": value, "A_ONE": "1", "A_TWO": "2"},
    }

    assert digested(settings)["settings"] == [
        'GATEWAY_TOKENS services.a "/x"',
        'GATEWAY_TOKENS services.a.gateways.* {"renew": false, "note": "it\'s .vault.azure.net"}',
        "A_ONE=1 | A_TWO=2",
    ]


def test_a_refusal_is_told_in_its_own_words() -> None:
    text = digest("a case", Evaluated([], {}, "The estate is refused:\none\ntwo"))

    assert sections(text) == {"refused": ["The estate is refused:", "one", "two"]}
    assert text.startswith("# a case\n")


def test_the_sections_of_a_digest_are_read_as_they_were_written() -> None:
    assert read("every-destination").keys() == {"roles", "grants", "settings", "sign-in", "resources"}
