"""The digest of an evaluated deployment: what a reviewer wants to know of it, in 20 to 40 lines of text."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

from tools.bicep import Evaluated

Resource = dict[str, Any]

# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
BUILT_IN_ROLES = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a": "Storage Queue Data Message Sender",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
}
# What is told of a resource beside its name, by paths into it or into its properties. A digest lists every resource, of
# other types by name alone.
_TOLD = {
    "Microsoft.Storage/storageAccounts": "sku.name allowSharedKeyAccess allowBlobPublicAccess allowCrossTenantReplication "
    "defaultToOAuthAuthentication minimumTlsVersion supportsHttpsTrafficOnly publicNetworkAccess networkAcls",
    "Microsoft.Web/serverfarms": "sku.name reserved",
    "Microsoft.Web/sites": "identity.type httpsOnly publicNetworkAccess virtualNetworkSubnetId siteConfig "
    "functionAppConfig.runtime functionAppConfig.scaleAndConcurrency "
    "functionAppConfig.deployment.storage.authentication.type",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": "allow",
    "Microsoft.Insights/components": "DisableLocalAuth",
    "Microsoft.OperationalInsights/workspaces": "features.disableLocalAuth retentionInDays",
    "Microsoft.KeyVault/vaults": "enableRbacAuthorization enablePurgeProtection publicNetworkAccess",
    "Microsoft.Network/privateEndpoints": "privateLinkServiceConnections.0.properties.groupIds subnet.id",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": "privateDnsZoneConfigs.0.properties.privateDnsZoneId",
    "Microsoft.EventGrid/systemTopics": "location identity.type source",
    "Microsoft.EventGrid/systemTopics/eventSubscriptions": "filter deliveryWithResourceIdentity.identity.type "
    "deliveryWithResourceIdentity.destination.endpointType "
    "deliveryWithResourceIdentity.destination.properties.queueName",
    "Microsoft.Insights/workbooks": "displayName sourceId",
    "Microsoft.Insights/actionGroups": "emailReceivers.0.emailAddress",
    "Microsoft.Insights/scheduledQueryRules": "severity windowSize evaluationFrequency actions.actionGroups",
    "Microsoft.Insights/metricAlerts": "severity criteria.allOf.0.metricName criteria.allOf.0.threshold",
}
_ALERTS = ("Microsoft.Insights/scheduledQueryRules", "Microsoft.Insights/metricAlerts")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_REFERENCE = re.compile(r"reference\('(?:[^']*/)?([^'/]+)', '[^']*'(?:, 'full')?\)")
_IDENTITY = re.compile(r"\[\{id-[\w-]+\}\.principalId\]|parameters\('principalId'\)")
_DOCUMENT = re.compile(r"\[replace\('(.*)', '([^']*)', environment\(\)\.suffixes\.keyvaultDns\)\]", re.DOTALL)


def digest(title: str, evaluated: Evaluated) -> str:
    """The text of a digest: its title, then the refusal, or sections of indented lines."""
    if evaluated.refusal:
        return "\n".join([f"# {title}", "refused", *_indented(evaluated.refusal.splitlines()), ""])
    lines = [f"# {title}"]
    for name, section in _SECTIONS.items():
        if section_lines := list(section(evaluated.resources)):
            lines += [name, *_indented(section_lines)]
    return "\n".join([*lines, ""])


def sections(text: str) -> dict[str, list[str]]:
    """The lines of a digest by section, without their indent."""
    sections: dict[str, list[str]] = {}
    for line in text.splitlines()[1:]:
        if line.startswith("  "):
            sections[next(reversed(sections))].append(line[2:])
        else:
            sections[line] = []
    return sections


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _roles(resources: list[Resource]) -> Iterator[str]:
    """Each custom role once, with what it allows and where it is defined."""
    where: dict[str, list[str]] = {}
    for role in _of_type(resources, "Microsoft.Authorization/roleDefinitions"):
        allowed = role["properties"]["permissions"][0]
        actions = " ".join(
            [*allowed["actions"], *(f"data:{data_action}" for data_action in allowed["dataActions"])]
        )
        where.setdefault(f"{_title(role)}: {actions}", []).append(_short(_scope_of(role["id"])))
    yield from (f"{role} in {' '.join(scopes)}" for role, scopes in where.items())


def _grants(resources: list[Resource]) -> Iterator[str]:
    """Role -> scope and the beginning of the assignment's name; to whom, unless to the app's own identity."""
    custom = {
        _last(role["id"]): _title(role)
        for role in _of_type(resources, "Microsoft.Authorization/roleDefinitions")
    }
    for grant in _of_type(resources, "Microsoft.Authorization/roleAssignments"):
        role = _last(grant["properties"]["roleDefinitionId"])
        name = f"[{grant['name'][:8]}]" if _GUID.fullmatch(grant["name"]) else "NAME NOT KNOWN BEFOREHAND"
        scope = _short(_scope_of(grant["id"]))
        whom = plain(grant["properties"]["principalId"])
        to = "" if _IDENTITY.fullmatch(whom) else f" to {whom}"
        yield f"{(BUILT_IN_ROLES | custom).get(role, role)} -> {scope} {name}{to}"


def _settings(resources: list[Resource]) -> Iterator[str]:
    """The app settings, those with the same first word in one line."""
    settings = _config(resources, "appsettings")
    for _, names in groupby(settings, key=lambda name: name.partition("_")[0]):
        texts = [f"{name}={plain(settings[name])}" for name in names if name != "GATEWAY_TOKENS"]
        yield from [" | ".join(texts)] if texts else _document(settings["GATEWAY_TOKENS"])


def _document(value: str) -> Iterator[str]:
    """The settings document, a line for each service, rule, named cluster and access rule; one for what rules inherit and for freezes."""
    match = _DOCUMENT.fullmatch(value)
    text = match[1].replace("''", "'").replace(match[2], ".vault.azure.net") if match else value
    document = json.loads(text)
    for name in sorted(document.keys() & {"defaults", "freeze"}):
        yield f"GATEWAY_TOKENS {name} {json.dumps(document[name])}"
    for name, cluster in document.get("clusters", {}).items():
        yield f"GATEWAY_TOKENS clusters.{name} {json.dumps(cluster)}"
    for service, settings in document["services"].items():
        yield f"GATEWAY_TOKENS services.{service} {json.dumps(settings['resourceId'])}"
        if "defaults" in settings:
            yield f"GATEWAY_TOKENS services.{service}.defaults {json.dumps(settings['defaults'])}"
        for pattern, rule in settings["gateways"].items():
            yield f"GATEWAY_TOKENS services.{service}.gateways.{pattern} {json.dumps(rule)}"
    for rule in document["access"]:
        yield f"GATEWAY_TOKENS access {json.dumps(rule)}"


def _sign_in(resources: list[Resource]) -> Iterator[str]:
    settings = _config(resources, "authsettingsV2")
    for names in (("globalValidation",), ("identityProviders",), ("platform", "httpSettings", "login")):
        leaves = [leaf for name in names if name in settings for leaf in _leaves(name, settings[name])]
        if leaves:
            yield " | ".join(f"{path}={_shown(value)}" for path, value in leaves)


def _others(resources: list[Resource]) -> Iterator[str]:
    """Every other resource: with what is told of its type, or in one line with the rest."""
    rest = []
    alerts = (
        []
        if _is_of_alerts_alone(resources)
        else [resource for resource in resources if resource["type"] in _ALERTS]
    )
    for resource in resources:
        if resource in alerts or resource["type"].startswith(
            ("Microsoft.Authorization/", "Microsoft.Web/sites/config")
        ):
            continue
        name = f"{_last(resource['type'])} {plain(resource['name'])}"
        texts = [
            f"{path.rpartition('.')[2]}={_shown(value)}"
            for path in _TOLD.get(resource["type"], "").split()
            if (value := _at(resource.get("properties", {}) | resource, path)) is not None
        ]
        if texts:
            yield " | ".join([name, *texts])
        else:
            rest.append(name)
    if alerts:
        yield " | ".join(
            [
                "alertRules",
                *(f"{resource['name']}={resource['properties']['severity']}" for resource in alerts),
            ]
        )
    if rest:
        yield " | ".join(rest)


def _queries(resources: list[Resource]) -> Iterator[str]:
    """What an alert or a workbook asks, whole: only a deployment of these alone has room for it."""
    if not _is_of_alerts_alone(resources):
        return
    for book in _of_type(resources, "Microsoft.Insights/workbooks"):
        for item in json.loads(book["properties"]["serializedData"])["items"]:
            yield from _query(item["name"], item["content"])
    for rule in _of_type(resources, "Microsoft.Insights/scheduledQueryRules"):
        yield from _query(rule["name"], rule["properties"]["criteria"]["allOf"][0])


def _query(name: str, queried: dict[str, Any]) -> Iterator[str]:
    yield f"{name}: {json.dumps({key: value for key, value in queried.items() if key != 'query'})}"
    yield from (f"  {line}" for line in queried.get("query", "").splitlines())


_SECTIONS: dict[str, Callable[[list[Resource]], Iterator[str]]] = {
    "roles": _roles,
    "grants": _grants,
    "settings": _settings,
    "sign-in": _sign_in,
    "resources": _others,
    "queries": _queries,
}


def plain(text: str) -> str:
    """An expression that is known only in Azure, with `{name}` for what it reads from a resource."""
    return _REFERENCE.sub(r"{\1}", text)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return _short(plain(value))
    return re.sub(
        r'"([^"]*)"', lambda match: _short(plain(match[1])), json.dumps(value, separators=(",", ":"))
    )


def _short(resource_id: str) -> str:
    """A resource id as subscription, group, type and name: enough to tell two apart."""
    match = re.fullmatch(
        r"/subscriptions/([^/]{8})[^/]*(?:/resourceGroups/([^/]+))?(?:/providers/[^/]+/(.+))?",
        resource_id,
        re.IGNORECASE,
    )
    return "/".join(part for part in match.groups() if part) if match else resource_id


def _scope_of(extension_id: str) -> str:
    return re.split(r"/providers/Microsoft\.Authorization/", extension_id)[0]


def _title(role: Resource) -> str:
    return re.sub(r" \(\w+\)$", "", role["properties"]["roleName"])


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _is_of_alerts_alone(resources: list[Resource]) -> bool:
    return all(resource["type"].startswith("Microsoft.Insights/") for resource in resources)


def _of_type(resources: list[Resource], kind: str) -> Iterator[Resource]:
    return (resource for resource in resources if resource["type"] == kind)


def _config(resources: list[Resource], name: str) -> dict[str, Any]:
    configs = (
        resource
        for resource in _of_type(resources, "Microsoft.Web/sites/config")
        if _last(resource["name"]) == name
    )
    properties: dict[str, Any] = next((resource["properties"] for resource in configs), {})
    return properties


def _at(value: Any, path: str) -> Any:  # noqa: ANN401 - JSON
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)] if int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from _leaves(f"{path}.{name}", part)
    else:
        yield path, value
