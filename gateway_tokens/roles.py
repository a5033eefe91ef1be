"""The roles that the app needs in Azure, each with the actions that the code calls. `infra/` defines and assigns them."""

from __future__ import annotations

# Those of this project are custom roles, named in Azure with a suffix.
ROLES: dict[str, tuple[str, ...]] = {
    "Gateway token issuer": (
        "Microsoft.ApiManagement/service/gateways/read",
        "Microsoft.ApiManagement/service/gateways/generateToken/action",
    ),
    "Gateway key regenerator": ("Microsoft.ApiManagement/service/gateways/regenerateKey/action",),
    "Gateway token secret writer": (
        "Microsoft.KeyVault/vaults/secrets/setSecret/action",
        "Microsoft.KeyVault/vaults/secrets/getSecret/action",
        "Microsoft.KeyVault/vaults/secrets/update/action",
    ),
    "Gateway token cluster reader": (
        "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action",
    ),
    "Key Vault Secrets User": ("Microsoft.KeyVault/vaults/secrets/getSecret/action",),
    "Storage Blob Data Owner": (
        "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
        "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
    ),
}


def role_for(action: str) -> str:
    """The role that grants the action; empty for one inside a cluster."""
    return next((role for role, actions in ROLES.items() if action in actions), "")
