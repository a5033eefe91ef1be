"""What every deployment holds to, whatever its parameters: read in the digest of each case."""

import re

import pytest

from tests.infra.digests import INFRA, accepted, read, resources

APPS = [case for case in accepted() if resources(case, "sites")]
WITH_KEYS = {"any-kubernetes", "function-keys", "keys-and-sign-in"}
# Type of resource, then what each of its kind must say.
HARDENED = {
    "storageAccounts": "allowSharedKeyAccess=false allowBlobPublicAccess=false allowCrossTenantReplication=false "
    "defaultToOAuthAuthentication=true minimumTlsVersion=TLS1_2 supportsHttpsTrafficOnly=true",
    "sites": "httpsOnly=true",
    "basicPublishingCredentialsPolicies": "allow=false",
    "components": "DisableLocalAuth=true",
    "workspaces": "disableLocalAuth=true",
    "vaults": "enableRbacAuthorization=true enablePurgeProtection=true",
    "systemTopics": "type=SystemAssigned",
    "eventSubscriptions": "type=SystemAssigned endpointType=StorageQueue",
}
# Flex Consumption answers 400 (51021) to them on some of its stamps.
# https://learn.microsoft.com/azure/azure-functions/functions-app-settings#flex-consumption-plan-deprecations
REFUSED_BY_THE_PLAN = """
alwaysOn ftpsState functionAppScaleLimit functionsRuntimeScaleMonitoringEnabled javaContainer javaContainerVersion
javaVersion linuxFxVersion netFrameworkVersion nodeVersion phpVersion powerShellVersion preWarmedInstanceCount
pythonVersion use32BitWorkerProcess windowsFxVersion
"""
SOURCES = {path.relative_to(INFRA).as_posix(): path.read_text() for path in INFRA.rglob("*.bicep")}


def site_of(case: str) -> dict[str, str]:
    (site,) = resources(case, "sites").values()
    return site


@pytest.mark.parametrize("kind", HARDENED)
def test_no_deployment_is_softer_than_promised(kind: str) -> None:
    promised = dict(word.split("=") for word in HARDENED[kind].split())
    resources_of = {
        f"{case}: {name}": properties
        for case in accepted()
        for name, properties in resources(case, kind).items()
    }
    assert resources_of
    assert {
        resource: properties
        for resource, properties in resources_of.items()
        if not promised.items() <= properties.items()
    } == {}


def closed(case: str, group: str) -> bool:
    return f"[{group}]" in {endpoint["groupIds"] for endpoint in resources(case, "privateEndpoints").values()}


@pytest.mark.parametrize("case", APPS)
def test_the_app_runs_on_flex_consumption_as_it_is_meant_to_with_nothing_that_the_plan_refuses(
    case: str,
) -> None:
    site, (plan,) = site_of(case), resources(case, "serverfarms").values()
    assert (plan["name"], plan["reserved"]) == ("FC1", "true")
    assert site["runtime"] == "{name:python,version:3.13}"
    assert site["type"] == "UserAssignedIdentity"
    scale, ready = site["scaleAndConcurrency"], "{name:http,instanceCount:2}"
    assert "perInstanceConcurrency:16" in scale
    assert f"alwaysReady:[{ready if case == 'network' else ''}]" in scale
    assert {*re.findall(r"(\w+):", site["siteConfig"])} & {*REFUSED_BY_THE_PLAN.split()} == set()


@pytest.mark.parametrize("case", APPS)
def test_only_health_is_open_unless_function_keys_are_allowed(case: str) -> None:
    sign_in = " | ".join(read(case)["sign-in"])
    assert "globalValidation.excludedPaths=[/api/health] |" in f"{sign_in} |"
    keys = case in WITH_KEYS
    assert f"globalValidation.requireAuthentication={str(not keys).lower()}" in sign_in
    assert f"unauthenticatedClientAction={'AllowAnonymous' if keys else 'Return401'}" in sign_in


@pytest.mark.parametrize("case", [case for case in APPS if resources(case, "storageAccounts")])
def test_storage_is_closed_to_everybody_outside_a_network_that_is_named(case: str) -> None:
    (account,) = resources(case, "storageAccounts").values()
    assert f"defaultAction:{'Deny' if closed(case, 'blob') else 'Allow'}" in account["networkAcls"]


def test_reports_that_are_no_longer_written_are_deleted_after_30_days_and_nothing_else_is() -> None:
    policy = SOURCES["modules/storage.bicep"].partition("managementPolicies@")[2].partition("\nresource ")[0]
    assert re.findall(r"prefixMatch: (.+) }", policy) == ["['${stateContainer}/reports/']"]
    deleted = ("delete", "daysAfterModificationGreaterThan", "30")
    assert re.findall(r"(\w+): \{ (\w+): ([0-9]+) }", policy) == [deleted]


def test_the_apps_own_address_is_closed_by_a_private_endpoint_and_else_open_to_the_ranges_that_are_named() -> (
    None
):
    assert closed("network", "sites")
    assert site_of("network")["publicNetworkAccess"] == "Disabled"
    site = site_of("allowed-addresses")
    assert site["publicNetworkAccess"] == "Enabled"
    assert "ipSecurityRestrictionsDefaultAction:Deny" in site["siteConfig"]
    assert "scmIpSecurityRestrictionsUseMain:true" in site["siteConfig"], "publishing included"
    assert re.findall(r"ipAddress:([^,}]+)", site["siteConfig"]) == ["203.0.113.0/24", "2001:db8::/32"]


def test_rights_are_granted_before_the_app_reads_of_what_they_open() -> None:
    (line,) = (line for line in read("interface")["main.bicep order"] if line.startswith("functionApp "))
    assert "access" in line.partition(" after ")[2].split(", ")


def test_no_file_reads_a_key_or_puts_out_a_secret() -> None:
    text = "\n".join(SOURCES.values())
    assert re.findall(r"\blist[A-Z]\w*\(", text) == []
    outputs = r"(?i)^output \w*(?:key|secret|password|token|connectionstring)\b"
    assert re.findall(outputs, text, re.MULTILINE) == ["output connectionString"]
    assert "connectionString" not in SOURCES["main.bicep"].partition("output functionAppName")[2]


@pytest.mark.parametrize("path", SOURCES)
def test_every_parameter_is_described_and_says_truly_whether_it_is_required(path: str) -> None:
    described = (
        r"^@description\('(Required|Optional|Conditional)\. [^\n]*\n(?:@[^\n]*\n)*param (\w+) ([^\n]*)"
    )
    matches = re.findall(described, SOURCES[path], re.MULTILINE)
    assert len(matches) == len(re.findall(r"^param ", SOURCES[path], re.MULTILINE))
    for need, name, rest in matches:
        optional = rest.endswith("?") or " = " in rest
        assert optional == (need != "Required"), name
