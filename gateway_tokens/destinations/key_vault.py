"""Key Vault secrets: the token with its real expiry, and the ownership as tags. Old versions stay reachable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from pydantic import Field

from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.azure.errors import operation
from gateway_tokens.errors import DestinationBlocked, WriteConflict
from gateway_tokens.estate.destination import DestinationSettings, VaultAddress, VaultSecretName, filled_in
from gateway_tokens.stored import OPTIONAL_TAGS, Ownership, StoredForm, StoredToken
from gateway_tokens.tokens import GatewayRef, GatewayToken

if TYPE_CHECKING:
    from azure.keyvault.secrets import KeyVaultSecret as Secret
    from azure.keyvault.secrets.aio import SecretClient


class KeyVaultSecret(DestinationSettings):
    """A Key Vault secret: the hub for CSI driver, External Secrets, Container Apps and App Service references."""

    role = "Gateway token secret writer"
    kind: Literal["keyVault"]
    vault: VaultAddress = Field(description="The vault's address, such as https://contoso.vault.azure.net.")
    secret: VaultSecretName = Field(
        default="{gateway}-token", description="The secret's name; may hold {service} and {gateway}."
    )
    form: StoredForm = StoredForm.HEADER

    def depends_on(self, ref: GatewayRef) -> str:
        """The vault."""
        return filled_in(self.vault, ref).rstrip("/").lower()

    def location(self, ref: GatewayRef) -> str:
        """The secret's address."""
        return f"{self.depends_on(ref)}/secrets/{filled_in(self.secret, ref).lower()}"


# Key Vault's own limit: https://learn.microsoft.com/azure/key-vault/secrets/about-secrets#secret-tags
_MOST_TAGS = 15
_PASSING = "the secret is being deleted or recovered. The next run tries again."
_FIREWALL = "the vault's firewall refuses this app. Allow the app's virtual network or outbound addresses."
_BLOCKED = {
    "SecretDisabled": "the secret's latest version is disabled. Enable it, or name another secret in the settings.",
    "ObjectIsDeletedButRecoverable": "the secret is deleted but recoverable, so its name is still in use. Recover or purge it; this app does neither.",
    "ObjectIsBeingDeleted": _PASSING,
    "ObjectIsBeingRecovered": _PASSING,
    "ForbiddenByFirewall": _FIREWALL,
    "ForbiddenByConnection": _FIREWALL,
}


class KeyVaultDestination:
    """One secret in one vault. Its readers fetch the new version when they next read: no restart."""

    def __init__(self, spec: KeyVaultSecret, ref: GatewayRef, azure: AzureAccess) -> None:
        self.location = spec.location(ref)
        self._spec, self._azure = spec, azure

    async def read(self) -> StoredToken | None:
        """The latest version."""
        latest = await self._latest()
        if latest is None:
            return None
        ownership = Ownership.from_tags(latest.properties.tags)
        return self._spec.form.read(latest.value, ownership, latest.properties.version or "")

    async def write(self, token: GatewayToken, ownership: Ownership, stored: StoredToken | None) -> None:
        """Add a version. Key Vault cannot guard a write, so the latest version is read just before."""
        value = self._spec.form.of(token)
        tags = await self._tags(ownership.of(value), stored)
        async with self._speaking("Writing", "setSecret") as vault:
            await vault.set_secret(
                self._spec.secret,
                value.reveal(),
                content_type="application/vnd.gateway-token",
                tags=tags,
                not_before=ownership.issued_at,
                expires_on=token.expiry,
            )

    async def write_ownership(self, ownership: Ownership, stored: StoredToken) -> None:
        """Change the tags of the version that was read, which stays the latest one."""
        tags = await self._tags(ownership.of(stored.value) if stored.value else ownership, stored)
        async with self._speaking("Tagging", "update") as vault:
            await vault.update_secret_properties(self._spec.secret, version=stored.version, tags=tags)

    async def restart(self, stored: StoredToken) -> None:
        """Nothing: the readers of a vault are not known."""

    async def _tags(self, ownership: Ownership, stored: StoredToken | None) -> dict[str, str]:
        """The ownership among the other tags of the latest version, which must be the one that was read."""
        latest = await self._latest()
        if ((latest and latest.properties.version) or "") != (stored.version if stored else ""):
            raise WriteConflict(
                self.location, "another writer added a version before this write. The next run reads it."
            )
        others = (latest and latest.properties.tags) or {}
        tags = {name: value for name, value in others.items() if name not in OPTIONAL_TAGS} | ownership.tags()
        if len(tags) > _MOST_TAGS:
            raise DestinationBlocked(
                self.location,
                f"the secret would have {len(tags)} tags, and Key Vault allows {_MOST_TAGS}. Remove some tags.",
            )
        return tags

    async def _latest(self) -> Secret | None:
        async with self._speaking("Reading", "getSecret") as vault:
            try:
                return await vault.get_secret(self._spec.secret)
            except ResourceNotFoundError:
                return None

    @asynccontextmanager
    async def _speaking(self, doing: str, action: str) -> AsyncIterator[SecretClient]:
        """The vault's client for one call, whose refusals become errors of this app."""
        right = f"Microsoft.KeyVault/vaults/secrets/{action}/action"
        async with operation(f"{doing} {self.location}", action=right, scope=self.location):
            try:
                yield self._azure.secret_client(self._spec.vault)
            except ValueError:
                # The SDK's challenge policy: the vault answers under another domain than it was asked under.
                raise DestinationBlocked(
                    self.location,
                    "the vault answered under another address than the settings name. Use the vault's own address, such as https://contoso.vault.azure.net.",
                ) from None
            except HttpResponseError as error:
                inner = (error.error and error.error.innererror) or {}
                detail = _BLOCKED.get(str(inner.get("code", "")))
                if detail is None:
                    raise
                raise DestinationBlocked(self.location, detail) from None
