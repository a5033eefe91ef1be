"""How callers and the app itself sign in, as it is set. Every cold start imports this module: standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class CredentialKind(StrEnum):
    """Where the app's own tokens come from. Azure: the managed identity. The others suit a developer's machine."""

    MANAGED_IDENTITY = "managedIdentity"
    DEFAULT = "default"
    AZURE_CLI = "azureCli"


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureSettings:
    """How the app signs in to Azure and reaches it."""

    credential: CredentialKind
    client_id: str
    arm_endpoint: str
    arm_scope: str
    ca_file: str


@dataclass(frozen=True, slots=True)
class SignIn:
    """Whose bearer tokens are accepted: of which tenant, for which audiences, through which applications."""

    endpoint: str
    tenant: str
    audiences: tuple[str, ...]
    applications: frozenset[str]

    @property
    def keys_address(self) -> str:
        """Where Entra publishes the keys by which it signs the tenant's tokens of both versions."""
        return f"{self.endpoint}/{self.tenant}/discovery/v2.0/keys"

    @property
    def issuers(self) -> tuple[str, str]:
        """The issuers of the tenant's v1 and v2 tokens.

        A v1 token does not name the sign-in endpoint, and in China, which has two endpoints, a v2 token names one.
        https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud
        """
        v1, v2 = "https://sts.windows.net", self.endpoint
        if self.endpoint.endswith(".cn"):
            v1, v2 = "https://sts.chinacloudapi.cn", "https://login.partner.microsoftonline.cn"
        return f"{v1}/{self.tenant}/", f"{v2}/{self.tenant}/v2.0"


def function_keys_allowed(environ: Mapping[str, str]) -> bool:
    """Whether the host asks every caller for a function key; cannot fail."""
    return environ.get("ALLOW_FUNCTION_KEYS", "").strip().casefold() == "true"
