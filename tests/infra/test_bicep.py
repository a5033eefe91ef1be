"""The Bicep files, read as trees. Every check is shown to report a defect that it is there for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.infra import bicep_checks, bicep_references
from tests.infra.bicep_tree import INFRA, read_sources
from tests.infra.facts import HARDENING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.infra.bicep_tree import Sources

SOURCES = read_sources()
PARAMETER_FILE = (INFRA / "main.bicepparam").read_text()
CHECKS: dict[str, Callable[[Sources], list[str]]] = {
    name: check
    for module in (bicep_checks, bicep_references)
    for name, check in vars(module).items()
    if name.startswith("that_") and name != "that_the_parameter_file_fits"
}


class Defect(NamedTuple):
    """A change to one file that a check must report."""

    check: str
    path: str
    old: str
    new: str


DEFECTS = (
    Defect("that_every_file_parses", "main.bicep", "module identity '", "module identity "),
    Defect("that_every_file_parses", "modules/vault.bicep", "output address string =", "output address = ="),
    Defect(
        "that_descriptions_open_with_the_need",
        "main.bicep",
        "'Optional. Tags of every",
        "'Tags of every",
    ),
    Defect("that_descriptions_open_with_the_need", "main.bicep", "tags tagsType = {}", "tags tagsType"),
    Defect(
        "that_descriptions_open_with_the_need",
        "modules/vault.bicep",
        "param tags tagsType",
        "param tags tagsType = {}",
    ),
    Defect("that_descriptions_open_with_the_need", "estate.bicep", "renew: bool?", "renew: bool"),
    Defect(
        "that_descriptions_open_with_the_need",
        "types.bicep",
        "'Required. The resource id of a subnet for",
        "'A subnet for",
    ),
    Defect(
        "that_everything_is_described",
        "modules/identity.bicep",
        "@description('The resource id of the identity.')\n",
        "",
    ),
    Defect(
        "that_everything_is_described",
        "estate.bicep",
        "@description('The resource groups of resource ids.')\n",
        "",
    ),
    Defect("that_everything_is_described", "types.bicep", "metadata name", "metadata title"),
    Defect("that_parameters_take_no_unknown_property", "estate.bicep", "@sealed()\n", ""),
    Defect("that_parameters_take_no_unknown_property", "types.bicep", "@sealed()\n", ""),
    Defect(
        "that_api_versions_are_stable_and_recent",
        "modules/storage.bicep",
        "containers@2025-06-01",
        "containers@2025-05-31",
    ),
    Defect(
        "that_api_versions_are_stable_and_recent",
        "modules/alerts.bicep",
        "@2023-12-01",
        "@2025-01-01-preview",
    ),
    Defect(
        "that_api_versions_are_stable_and_recent",
        "modules/vault.bicep",
        "Microsoft.KeyVault/vaults@",
        "Microsoft.KeyVault/managedHSMs@",
    ),
    Defect("that_role_ids_are_the_published_ones", "modules/storage.bicep", "b7e6dc6d", "b7e6dc6e"),
    Defect(
        "that_role_ids_are_the_published_ones",
        "modules/storage.bicep",
        "var storageBlobDataOwner",
        "var storageBlobReader",
    ),
    Defect(
        "that_role_ids_are_the_published_ones",
        "modules/clusterAccess.bicep",
        "', clusterUser)",
        "', '8e3af657-a8ff-443c-a75c-2fe8c4bcb635')",
    ),
    Defect(
        "that_custom_roles_grant_exactly_what_is_needed",
        "modules/apiManagementAccess.bicep",
        "gateways/read'",
        "gateways/*'",
    ),
    Defect(
        "that_custom_roles_grant_exactly_what_is_needed",
        "modules/apiManagementAccess.bicep",
        "          'Microsoft.ApiManagement/service/gateways/generateToken/action'\n",
        "",
    ),
    Defect(
        "that_custom_roles_grant_exactly_what_is_needed",
        "modules/vaultAccess.bicep",
        "setSecret/action'",
        "setSecret/action'\n'Microsoft.KeyVault/vaults/secrets/delete'",
    ),
    Defect(
        "that_custom_roles_grant_exactly_what_is_needed",
        "modules/vaultAccess.bicep",
        "'gateway-token-secret-writer')\n  properties: {\n    roleName",
        "'another')\n  properties: {\n    roleName",
    ),
    Defect(
        "that_assignments_are_deterministic",
        "modules/vaultAccess.bicep",
        "name: guid(vaults[index].id, principalId, writerRoleId ?? 'gateway-token-secret-writer')",
        "name: newGuid()",
    ),
    Defect(
        "that_assignments_are_deterministic",
        "modules/vaultAccess.bicep",
        "principalId, writerRoleId ?? 'gateway-token",
        "principalId, 'gateway-token",
    ),
    Defect(
        "that_assignments_are_deterministic",
        "modules/monitoring.bicep",
        "guid(component.id, principalId, monitoringMetricsPublisher)",
        "guid(component.id, monitoringMetricsPublisher)",
    ),
    Defect(
        "that_assignments_are_deterministic",
        "modules/eventSender.bicep",
        "    principalType: 'ServicePrincipal'\n",
        "",
    ),
    Defect(
        "that_nothing_is_granted_beyond_one_resource",
        "modules/vaultAccess.bicep",
        "  scope: vaults[index]\n",
        "",
    ),
    Defect(
        "that_no_secret_is_read_or_put_out",
        "modules/storage.bicep",
        "output name string = account.name",
        "output name string = account.listKeys().keys[0].value",
    ),
    Defect(
        "that_no_secret_is_read_or_put_out",
        "modules/identity.bicep",
        "output clientId",
        "output clientSecret",
    ),
    Defect(
        "that_no_secret_is_read_or_put_out",
        "main.bicep",
        "output endpoint string = functionApp.outputs.endpoint",
        "output telemetry string = monitoring.outputs.connectionString",
    ),
    Defect(
        "that_no_secret_is_read_or_put_out",
        "modules/vault.bicep",
        "output address",
        "@secure()\noutput address",
    ),
    Defect(
        "that_no_endpoint_is_hard_coded",
        "estate.bicep",
        "${nameOf(id)}${vaultSuffix}",
        "${nameOf(id)}.vault.azure.net",
    ),
    Defect(
        "that_no_endpoint_is_hard_coded",
        "modules/functionApp.bicep",
        "'${environment().authentication.loginEndpoint}${tenantId}/v2.0'",
        "'https://login.microsoftonline.com/${tenantId}/v2.0'",
    ),
    Defect("that_nothing_existing_is_created", "modules/clusterAccess.bicep", "' existing = [", "' = ["),
    Defect(
        "that_only_health_is_open",
        "modules/functionApp.bicep",
        "['/api/health']",
        "['/api/health', '/api/renewals']",
    ),
    Defect(
        "that_only_health_is_open",
        "modules/functionApp.bicep",
        "requireAuthentication: !allowFunctionKeys",
        "requireAuthentication: false",
    ),
    Defect(
        "that_only_health_is_open",
        "modules/functionApp.bicep",
        "enabled: signIn != null",
        "enabled: false",
    ),
    Defect(
        "that_only_health_is_open",
        "modules/functionApp.bicep",
        "'Microsoft.Web/sites/config@2025-03-01' = {\n  parent: app\n  name: 'authsettingsV2'",
        "'Microsoft.Web/sites/config@2025-03-01' = if (signIn != null) {\n  parent: app\n  name: 'authsettingsV2'",
    ),
    Defect(
        "that_only_health_is_open",
        "modules/functionApp.bicep",
        "resource authentication ",
        "resource unauthenticated ",
    ),
    Defect(
        "that_every_name_is_declared",
        "main.bicep",
        "vaultNames: namesIn(place, vaults)",
        "vaultNames: namesIn(place, vault)",
    ),
    Defect(
        "that_every_name_is_declared",
        "estate.bicep",
        "join(take(split(id, '/'), 5), '/')",
        "join(first(split(id, '/'), 5), '/')",
    ),
    Defect(
        "that_every_name_is_declared", "estate.bicep", "access: accessRuleType[]?", "access: accessType[]?"
    ),
    Defect(
        "that_imports_are_exported",
        "estate.bicep",
        "@export()\n@description('The resource ids of the vaults",
        "@description('The resource ids of the vaults",
    ),
    Defect("that_imports_are_exported", "modules/storage.bicep", "'../types.bicep'", "'../type.bicep'"),
    Defect(
        "that_modules_get_their_parameters", "main.bicep", "    clusterNames: namesIn(place, clusters)\n", ""
    ),
    Defect(
        "that_modules_get_their_parameters",
        "main.bicep",
        "    refusedCalls: refusedCallsBurst",
        "    refused: refusedCallsBurst",
    ),
    Defect("that_modules_get_their_parameters", "main.bicep", "modules/vault.bicep", "modules/vaults.bicep"),
    Defect(
        "that_outputs_exist",
        "main.bicep",
        "identity.outputs.clientId\n    blob",
        "identity.outputs.appId\n    blob",
    ),
    Defect("that_outputs_exist", "modules/eventTopic.bicep", "output name string", "output topicName string"),
    Defect("that_nothing_is_unused", "main.bicep", "sweepSilence: sweepSilence", "sweepSilence: 'PT3H'"),
    Defect(
        "that_nothing_is_unused",
        "modules/functionApp.bicep",
        "${blobEndpoint}${stateContainer}",
        "${blobEndpoint}gateway-tokens",
    ),
    *(
        Defect("that_resources_are_hardened", path, old, new)
        for path, old, new in (
            ("modules/storage.bicep", "allowSharedKeyAccess: false", "allowSharedKeyAccess: true"),
            ("modules/storage.bicep", "allowBlobPublicAccess: false", "allowBlobPublicAccess: true"),
            ("modules/storage.bicep", "    allowCrossTenantReplication: false\n", ""),
            ("modules/storage.bicep", "OAuthAuthentication: true", "OAuthAuthentication: false"),
            ("modules/storage.bicep", "TLS1_2", "TLS1_0"),
            ("modules/storage.bicep", "HttpsTrafficOnly: true", "HttpsTrafficOnly: false"),
            ("modules/storage.bicep", "'Allow' : 'Deny'", "'Allow' : 'Allow'"),
            ("modules/functionApp.bicep", "'FC1'", "'Y1'"),
            ("modules/functionApp.bicep", "reserved: true", "reserved: false"),
            ("modules/functionApp.bicep", "type: 'UserAssigned'", "type: 'SystemAssigned'"),
            ("modules/functionApp.bicep", "httpsOnly: true", "httpsOnly: false"),
            ("modules/functionApp.bicep", "      minTlsVersion: '1.2'", "      minTlsVersion: '1.0'"),
            ("modules/functionApp.bicep", "scmMinTlsVersion: '1.2'", "scmMinTlsVersion: '1.0'"),
            ("modules/functionApp.bicep", "'Disabled'", "'AllAllowed'"),
            ("modules/functionApp.bicep", "name: 'python'", "name: 'node'"),
            ("modules/functionApp.bicep", "version: '3.13'", "version: '3.12'"),
            ("modules/functionApp.bicep", "'UserAssignedIdentity'", "'StorageAccountConnectionString'"),
            ("modules/functionApp.bicep", "allow: false", "allow: true"),
            ("modules/monitoring.bicep", "DisableLocalAuth: true", "DisableLocalAuth: false"),
            ("modules/monitoring.bicep", "disableLocalAuth: true", "disableLocalAuth: false"),
            ("modules/vault.bicep", "enableRbacAuthorization: true", "enableRbacAuthorization: false"),
            ("modules/vault.bicep", "enablePurgeProtection: true", "enablePurgeProtection: false"),
            ("modules/eventSubscription.bicep", "type: 'SystemAssigned'", "type: 'UserAssigned'"),
            ("modules/eventSubscription.bicep", "'StorageQueue'", "'WebHook'"),
        )
    ),
)


@pytest.mark.parametrize("check", CHECKS)
def test_the_files_hold_to(check: str) -> None:
    assert CHECKS[check](SOURCES) == []


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: f"{defect.check}: {defect.new.strip()[:60]}")
def test_a_seeded_defect_is_reported(defect: Defect) -> None:
    source = SOURCES[defect.path]
    assert defect.old in source, "the defect no longer applies: the file has changed"

    assert CHECKS[defect.check]({**SOURCES, defect.path: source.replace(defect.old, defect.new, 1)})


def test_every_check_has_a_seeded_defect() -> None:
    assert {defect.check for defect in DEFECTS} == CHECKS.keys()


def test_every_hardened_property_has_a_seeded_defect() -> None:
    seeded = [d for d in DEFECTS if d.check == "that_resources_are_hardened"]

    assert len(seeded) == len(HARDENING)


def test_the_parameter_file_names_parameters_that_exist_and_gives_those_required() -> None:
    assert bicep_references.that_the_parameter_file_fits(SOURCES, PARAMETER_FILE) == []


@pytest.mark.parametrize(
    ("old", "new", "reported"),
    [
        ("param signIn =", "param signin =", "signin"),
        ("param estate =", "var estate =", "estate"),
        ("'./main.bicep'", "'./other.bicep'", "using ['./other.bicep']"),
    ],
)
def test_a_defect_of_the_parameter_file_is_reported(old: str, new: str, reported: str) -> None:
    found = bicep_references.that_the_parameter_file_fits(SOURCES, PARAMETER_FILE.replace(old, new, 1))

    assert found == [reported]
