"""What Azure publishes and what this project promises, as the checks compare it."""

from __future__ import annotations

# The newest stable versions known when this was written. A newer date passes, an older one or a preview does not.
OLDEST_API_VERSIONS = {
    "Microsoft.ApiManagement/service": "2024-05-01",
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
# What `environment()` answers.
PUBLIC_CLOUD = {
    "name": "AzureCloud",
    "resourceManager": "https://management.azure.com/",
    "authentication": {
        "loginEndpoint": "https://login.microsoftonline.com/",
        "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
    },
    "suffixes": {"keyvaultDns": ".vault.azure.net"},
}
US_GOVERNMENT = {
    "name": "AzureUSGovernment",
    "resourceManager": "https://management.usgovcloudapi.net/",
    "authentication": {
        "loginEndpoint": "https://login.microsoftonline.us/",
        "audiences": ["https://management.core.usgovcloudapi.net", "https://management.usgovcloudapi.net"],
    },
    "suffixes": {"keyvaultDns": ".vault.usgovcloudapi.net"},
}
