"""What every Bicep file of this project must satisfy. Each check takes sources and returns its findings."""

from __future__ import annotations

import re

from tests.infra.bicep_tree import (
    Declaration,
    Sources,
    actions_of_shipped_roles,
    at,
    declarations,
    described,
    parse,
    parse_errors,
    properties,
    strings_below,
    text,
    walk,
    written,
)

# The newest stable versions known when this was written. A newer date passes, an older one or a preview does not.
OLDEST_API_VERSIONS = {
    "Microsoft.ApiManagement/service": "2024-05-01",
    "Microsoft.App/containerApps": "2025-01-01",
    "Microsoft.Authorization/roleAssignments": "2022-04-01",
    "Microsoft.Authorization/roleDefinitions": "2022-04-01",
    "Microsoft.ContainerService/managedClusters": "2025-05-01",
    "Microsoft.EventGrid/systemTopics": "2025-02-15",
    "Microsoft.EventGrid/systemTopics/eventSubscriptions": "2025-02-15",
    "Microsoft.Insights/components": "2020-02-02",
    "Microsoft.Insights/scheduledQueryRules": "2023-12-01",
    "Microsoft.KeyVault/vaults": "2024-11-01",
    "Microsoft.KeyVault/vaults/secrets": "2024-11-01",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "2024-11-30",
    "Microsoft.Network/privateEndpoints": "2024-05-01",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": "2024-05-01",
    "Microsoft.OperationalInsights/workspaces": "2025-07-01",
    "Microsoft.Resources/resourceGroups": "2025-04-01",
    "Microsoft.Storage/storageAccounts": "2025-06-01",
    "Microsoft.Storage/storageAccounts/blobServices": "2025-06-01",
    "Microsoft.Storage/storageAccounts/blobServices/containers": "2025-06-01",
    "Microsoft.Storage/storageAccounts/queueServices": "2025-06-01",
    "Microsoft.Storage/storageAccounts/queueServices/queues": "2025-06-01",
    "Microsoft.Web/serverfarms": "2025-03-01",
    "Microsoft.Web/sites": "2025-03-01",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": "2025-03-01",
    "Microsoft.Web/sites/config": "2025-03-01",
}
# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
PUBLISHED_ROLES = {
    "storageBlobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "storageQueueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "storageQueueDataMessageSender": "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a",
    "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "keyVaultSecretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
    "clusterUser": "4abbcc35-e782-43d8-92c5-2d3f1bd2253f",
}
# Exactly what each custom role grants: one more is too much, one less stops the app.
SHIPPED_ROLES = {
    "gateway-token-issuer": {
        "Microsoft.ApiManagement/service/gateways/read",
        "Microsoft.ApiManagement/service/gateways/generateToken/action",
    },
    "gateway-key-regenerator": {"Microsoft.ApiManagement/service/gateways/regenerateKey/action"},
    "gateway-token-secret-writer": {
        "Microsoft.KeyVault/vaults/secrets/setSecret/action",
        "Microsoft.KeyVault/vaults/secrets/getSecret/action",
        "Microsoft.KeyVault/vaults/secrets/readMetadata/action",
    },
    "gateway-token-container-app-writer": {
        "Microsoft.App/containerApps/read",
        "Microsoft.App/containerApps/write",
        "Microsoft.App/containerApps/listSecrets/action",
        "Microsoft.App/containerApps/revisions/read",
    },
}
# Type of resource, path of a property, what it must say.
HARDENING = (
    ("Microsoft.Storage/storageAccounts", "properties.allowSharedKeyAccess", "false"),
    ("Microsoft.Storage/storageAccounts", "properties.allowBlobPublicAccess", "false"),
    ("Microsoft.Storage/storageAccounts", "properties.allowCrossTenantReplication", "false"),
    ("Microsoft.Storage/storageAccounts", "properties.defaultToOAuthAuthentication", "true"),
    ("Microsoft.Storage/storageAccounts", "properties.minimumTlsVersion", "TLS1_2"),
    ("Microsoft.Storage/storageAccounts", "properties.supportsHttpsTrafficOnly", "true"),
    (
        "Microsoft.Storage/storageAccounts",
        "properties.networkAcls.defaultAction",
        "network == null ? 'Allow' : 'Deny'",
    ),
    ("Microsoft.Web/serverfarms", "sku.name", "FC1"),
    ("Microsoft.Web/serverfarms", "properties.reserved", "true"),
    ("Microsoft.Web/sites", "identity.type", "UserAssigned"),
    ("Microsoft.Web/sites", "properties.httpsOnly", "true"),
    ("Microsoft.Web/sites", "properties.siteConfig.minTlsVersion", "1.2"),
    ("Microsoft.Web/sites", "properties.siteConfig.scmMinTlsVersion", "1.2"),
    ("Microsoft.Web/sites", "properties.siteConfig.ftpsState", "Disabled"),
    ("Microsoft.Web/sites", "properties.functionAppConfig.runtime.name", "python"),
    ("Microsoft.Web/sites", "properties.functionAppConfig.runtime.version", "3.13"),
    (
        "Microsoft.Web/sites",
        "properties.functionAppConfig.deployment.storage.authentication.type",
        "UserAssignedIdentity",
    ),
    ("Microsoft.Web/sites/basicPublishingCredentialsPolicies", "properties.allow", "false"),
    ("Microsoft.Insights/components", "properties.DisableLocalAuth", "true"),
    ("Microsoft.OperationalInsights/workspaces", "properties.features.disableLocalAuth", "true"),
    ("Microsoft.KeyVault/vaults", "properties.enableRbacAuthorization", "true"),
    ("Microsoft.KeyVault/vaults", "properties.enablePurgeProtection", "true"),
    (
        "Microsoft.EventGrid/systemTopics/eventSubscriptions",
        "properties.deliveryWithResourceIdentity.identity.type",
        "SystemAssigned",
    ),
    (
        "Microsoft.EventGrid/systemTopics/eventSubscriptions",
        "properties.deliveryWithResourceIdentity.destination.endpointType",
        "StorageQueue",
    ),
)
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ENDPOINT = re.compile(
    r"(?i)\b(management\.azure|core\.windows\.net|vault\.azure|microsoftonline|windows\.net|azurewebsites"
    r"|chinacloudapi|usgovcloudapi|azure\.cn|azure\.us|applicationinsights)\b"
)
_SECRET_NAME = re.compile(r"(?i)(key|secret|password|token|connectionstring|sas|credential)s?$")
_ANYTHING_SECRET = re.compile(
    r"(?i)\blist[A-Za-z]*\(|\.(key1|keys|primaryKey|sharedKeys)\b|InstrumentationKey"
)


def that_every_file_parses(sources: Sources) -> list[str]:
    """No node of error."""
    return [
        f"{path}: line {line}" for path, source in sources.items() for line in parse_errors(parse(source))
    ]


def that_descriptions_open_with_the_need(sources: Sources) -> list[str]:
    """Params, and properties of types, say Required, Optional or Conditional first, and truly."""
    described_things = [
        (p.place, p.description, _may_be_left_out(text(p.node))) for p in declarations(sources, "param")
    ]
    for kind in declarations(sources, "type"):
        for node in (n for n in walk(kind.node) if n.type == "object"):
            described_things += [
                (f"{kind.place}.{p.name}", described(p.decorators), text(p.value).endswith("?"))
                for p in properties(node)
            ]
    return [place for place, said, optional in described_things if not _says(said, optional=optional)]


def _may_be_left_out(param: str) -> bool:
    return "=" in param or param.rstrip().endswith("?")


def _says(description: str, *, optional: bool) -> bool:
    opening = description.split(" ", 1)[0]
    return opening in ({"Optional.", "Conditional."} if optional else {"Required."})


def that_everything_is_described(sources: Sources) -> list[str]:
    """Outputs and exported things have a description, files their metadata."""
    missing = [
        d.place
        for d in declarations(sources, "output", "type", "func")
        if not d.description and (d.kind == "output" or "export" in d.decorators)
    ]
    return missing + [path for path, source in sources.items() if not source.startswith("metadata name = ")]


def that_api_versions_are_stable_and_recent(sources: Sources) -> list[str]:
    """Every resource names a stable version that is not older than the table's."""
    return [
        f"{resource.place} {resource.type_name}"
        for resource in declarations(sources, "resource")
        if not _recent(*resource.type_name.partition("@")[::2])
    ]


def _recent(kind: str, version: str) -> bool:
    oldest = OLDEST_API_VERSIONS.get(kind)
    return oldest is not None and re.fullmatch(r"\d{4}-\d\d-\d\d", version) is not None and version >= oldest


def that_role_ids_are_the_published_ones(sources: Sources) -> list[str]:
    """An id stands only in a variable that is named after its role."""
    findings = []
    for path, source in sources.items():
        named = {
            d.name: written(d.value) for d in declarations({path: source}, "var") if d.value.type == "string"
        }
        for literal in strings_below(parse(source)):
            names = [name for name, value in named.items() if value == literal]
            if _GUID.fullmatch(literal) and not any(PUBLISHED_ROLES.get(n) == literal for n in names):
                findings.append(f"{path}: {literal}")
    return findings


def that_custom_roles_grant_exactly_what_is_needed(sources: Sources) -> list[str]:
    """No role more, no action more, no action less."""
    granted = {
        label: set(role.actions | role.data_actions)
        for label, role in actions_of_shipped_roles(sources).items()
    }
    return [
        f"{label}: {sorted(granted.get(label, set()) ^ SHIPPED_ROLES.get(label, set()))}"
        for label in sorted(granted.keys() | SHIPPED_ROLES.keys())
        if granted.get(label) != SHIPPED_ROLES.get(label)
    ]


def that_assignments_are_deterministic(sources: Sources) -> list[str]:
    """Names follow from scope, principal and role; the type of the principal is stated; nothing is random."""
    findings = [
        f"{path}: {found}"
        for path, source in sources.items()
        for found in re.findall(r"\b(?:newGuid|utcNow|deployment)\(", source)
    ]
    for assignment in _of_type(sources, "Microsoft.Authorization/roleAssignments"):
        name, principal = (
            written(at(assignment.body, "name")),
            at(assignment.body, "properties.principalType"),
        )
        if not re.match(r"guid\(.+, principalId, .+\)$", name) or written(principal) != "ServicePrincipal":
            findings.append(assignment.place)
    return findings


def that_nothing_is_granted_beyond_one_resource(sources: Sources) -> list[str]:
    """Every assignment names its scope, but for Container Apps whose names nobody knows yet."""
    return [
        d.place
        for d in _of_type(sources, "Microsoft.Authorization/roleAssignments")
        if at(d.body, "scope") is None and d.name != "groupWriter"
    ]


def that_no_secret_is_read_or_put_out(sources: Sources) -> list[str]:
    """No list call, no key, no output that is or sounds like a secret."""
    findings = [
        f"{path}: {found.group()}"
        for path, source in sources.items()
        for found in _ANYTHING_SECRET.finditer(source)
    ]
    return findings + [
        d.place
        for d in declarations(sources, "output")
        if (_SECRET_NAME.search(d.name) and d.place != "modules/monitoring.bicep: connectionString")
        or "secure" in d.decorators
        or (d.path == "main.bicep" and "connectionString" in text(d.node))
    ]


def that_no_endpoint_is_hard_coded(sources: Sources) -> list[str]:
    """Addresses come from `environment()` and from the resources themselves."""
    return [
        f"{path}: {literal}"
        for path, source in sources.items()
        for literal in strings_below(parse(source))
        if _ENDPOINT.search(literal)
    ]


def that_resources_are_hardened(sources: Sources) -> list[str]:
    """The properties of the table say what they must, on every resource of the type that is made."""
    findings = []
    for kind, path, expected in HARDENING:
        made = [d for d in _of_type(sources, kind) if not d.existing]
        findings += [
            f"{d.place}: {path} is {written(at(d.body, path))}"
            for d in made
            if written(at(d.body, path)) != expected
        ]
        findings += [] if made else [f"no {kind}"]
    return findings


def that_nothing_existing_is_created(sources: Sources) -> list[str]:
    """API Management, clusters, Container Apps and networks are referenced, never made."""
    foreign = (
        "Microsoft.ApiManagement/",
        "Microsoft.App/",
        "Microsoft.ContainerService/",
        "Microsoft.Network/privateDnsZones",
        "Microsoft.Network/virtualNetworks",
    )
    return [
        d.place
        for d in declarations(sources, "resource")
        if d.type_name.startswith(foreign) and not d.existing
    ]


def that_only_health_is_open(sources: Sources) -> list[str]:
    """With sign-in on, nothing but the health route can be called without it."""
    app = [d for d in _of_type(sources, "Microsoft.Web/sites/config") if d.name == "authentication"]
    open_paths = [at(d.body, "properties.globalValidation.excludedPaths") for d in app]
    required = [at(d.body, "properties.globalValidation.requireAuthentication") for d in app]
    findings = [] if app else ["no authentication settings"]
    findings += [f"open: {written(n)}" for n in open_paths if written(n) != "['/api/health']"]
    return findings + [f"required: {written(n)}" for n in required if written(n) != "true"]


def _of_type(sources: Sources, kind: str) -> list[Declaration]:
    return [d for d in declarations(sources, "resource") if d.type_name.partition("@")[0] == kind]
