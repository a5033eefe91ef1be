"""Where an AKS cluster's API is and whose certificate to expect, asked of Azure."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway_tokens.errors import AzureError, AzureFacts

if TYPE_CHECKING:
    from gateway_tokens.azure_access import AzureAccess

# The Entra application of every AKS cluster's API server, the same in all tenants:
# https://learn.microsoft.com/azure/aks/kubelogin-authentication
SERVER_APPLICATION_SCOPE = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
_API_VERSION = "2024-09-01"
_ACTION = "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action"


class Address(NamedTuple):
    """An API server: its https address, and its certificate authority in PEM (None: a public one)."""

    server: str
    certificate_authority: str | None


async def address_of(azure: AzureAccess, cluster: str) -> Address:
    """The API server of the cluster with this resource id. Raises AzureError."""
    path = f"{cluster}/listClusterUserCredential"
    answer = await azure.arm_request("POST", path, api_version=_API_VERSION, action=_ACTION, scope=cluster)
    try:
        return _read_kubeconfig((answer or {})["kubeconfigs"][0]["value"])
    except (KeyError, IndexError, TypeError, ValueError):
        facts = AzureFacts(code="KubeconfigUnreadable")
        raise AzureError(f"POST {path}", facts, "Azure's answer holds no usable kubeconfig.") from None


def _read_kubeconfig(encoded: str) -> Address:
    """Only the cluster part is looked at: a kubeconfig may also hold a user's credentials."""
    import yaml

    try:
        config: Any = yaml.safe_load(base64.b64decode(encoded, validate=True))
    except (yaml.YAMLError, binascii.Error):
        raise ValueError("not YAML in base64") from None
    cluster = config["clusters"][0]["cluster"]
    authority = cluster.get("certificate-authority-data")
    if not str(cluster["server"]).startswith("https://"):
        raise ValueError("not an https address")
    return Address(cluster["server"], base64.b64decode(authority).decode() if authority else None)
