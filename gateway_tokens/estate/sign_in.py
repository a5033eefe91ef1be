"""How callers and the app itself sign in. Standard library only: every cold start imports this module."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway_tokens.errors import Fault

# Set together: without one of them no bearer token can be verified.
NEEDED = ("SIGN_IN_TENANT", "SIGN_IN_AUDIENCES", "SIGN_IN_APPLICATIONS")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INSTEAD_OF_SIGN_IN = (
    "is not a setting any more. For 'entra' remove it; for 'functionKey' or 'entraAndFunctionKey' write "
    "ALLOW_FUNCTION_KEYS=true in its place"
)


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


def read_sign_in(values: Mapping[str, str]) -> tuple[SignIn | None, list[Fault]]:
    """Who may sign in, None where function keys alone are in use, and the faults of these settings.

    `values` are the app settings, with their defaults where they are not set.
    """
    faults = list(_faults(values))
    if faults or not values["SIGN_IN_TENANT"]:
        return None, faults
    sign_in = SignIn(
        endpoint=values["SIGN_IN_ENDPOINT"].rstrip("/"),
        tenant=values["SIGN_IN_TENANT"].lower(),
        audiences=tuple(_listed(values["SIGN_IN_AUDIENCES"])),
        applications=frozenset(_listed(values["SIGN_IN_APPLICATIONS"].lower())),
    )
    return sign_in, []


def _faults(values: Mapping[str, str]) -> Iterator[Fault]:
    if values["SIGN_IN"]:
        yield Fault("SIGN_IN", _INSTEAD_OF_SIGN_IN)
    if values["ALLOW_FUNCTION_KEYS"].casefold() not in {"true", "false"}:
        yield Fault("ALLOW_FUNCTION_KEYS", "must be true or false")
    listed = {name: list(_listed(values[name])) for name in NEEDED}
    if any(listed.values()) or not function_keys_allowed(values):
        yield from (
            Fault(name, "must be set: it is needed to verify bearer tokens")
            for name in NEEDED
            if not listed[name]
        )
    if values["SIGN_IN_TENANT"] and not _GUID.fullmatch(values["SIGN_IN_TENANT"].lower()):
        yield Fault("SIGN_IN_TENANT", "must be the tenant's id, a GUID")
    if not all(_GUID.fullmatch(client_id.lower()) for client_id in listed["SIGN_IN_APPLICATIONS"]):
        yield Fault("SIGN_IN_APPLICATIONS", "must be client ids (GUIDs), separated by commas")


def _listed(value: str) -> Iterator[str]:
    return filter(None, (part.strip() for part in value.split(",")))
