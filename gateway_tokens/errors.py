"""Everything that can go wrong, as one tree. Facts are attributes; codes are stable: docs/errors.md says what each means.

No message, attribute or cause holds a token or a response body: exception text reaches telemetry.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a document or a request: where (`services.contoso.resourceId`) and what."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class GatewayTokensError(Exception):
    """The root. `str(error)` says what happened and what to do next: usually `text` with the facts filled in."""

    code: ClassVar[str]
    text: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """The code is the class's name in small letters: `NotFound` has `not_found`."""
        cls.code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    def __post_init__(self) -> None:
        """Set the text that is printed, once the facts are set."""
        super().__init__(self.text.format(**vars(self)))


class _FaultsError(GatewayTokensError):
    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(f"{self.text}: " + "; ".join(str(fault) for fault in self.faults))


class SettingsInvalid(_FaultsError):
    """The app settings or the GATEWAY_TOKENS document have `faults`, all of them listed."""

    text = "The settings are invalid"


class RequestInvalid(_FaultsError):
    """The request has `faults`, all of them listed."""

    text = "The request is invalid"


class MessageInvalid(_FaultsError):
    """A queue message does not ask for a run; it has `faults`."""

    text = "The queue message does not ask for a run"


@dataclass(eq=False, repr=False)
class EventInvalid(GatewayTokensError):
    """A queue message is not an API Management event; `reason` says in which way."""

    reason: str
    text = "The queue message is not an API Management event: {reason}."


@dataclass(eq=False, repr=False)
class WrongPython(GatewayTokensError):
    """The packages were built for the Python `built_for`; the Python `running` cannot load what is compiled in them."""

    built_for: str
    running: str
    text = (
        "The app's packages were built for Python {built_for}, but Python {running} runs them. Publish the app "
        "again for Python {running}, or set the function app's Python version to {built_for}."
    )


class SignInRequired(GatewayTokensError):
    """The request has no bearer token where it needs one, or one that is not good."""


class AccessDenied(GatewayTokensError):
    """The caller lacks `permission` on `resource` (`service/gateway`)."""

    def __init__(self, permission: str, resource: str, detail: str = "") -> None:
        self.permission, self.resource = permission, resource
        super().__init__(
            detail
            or f"This needs the permission '{permission}' on '{resource}'. "
            "Ask the operator of this app for an access rule that allows it.",
        )


@dataclass(eq=False, repr=False)
class NotFound(GatewayTokensError):
    """`resource` does not exist. Raised only for callers whose access rules cover its name."""

    resource: str
    text = "'{resource}' does not exist. Check the name against GET services/{{service}}/gateways."


@dataclass(eq=False, repr=False)
class NotManaged(GatewayTokensError):
    """The settings name no destination for `resource`, so there is nothing to renew."""

    resource: str
    text = "'{resource}' has no destination in the settings, or is paused there. Add a destination, or get a token from generateToken."


@dataclass(eq=False, repr=False)
class KeyNotActive(GatewayTokensError):
    """The keys of `resource` are rotated, and a token of another key than the `active` one was asked for."""

    resource: str
    active: str
    text = "The keys of '{resource}' are rotated, and its {active} key is in use. Ask for `keyType` {active}, or leave it out."


@dataclass(eq=False, repr=False)
class TooManyRequests(GatewayTokensError):
    """Callers ask for more than their share of Azure's budget; `retry_after` is in seconds."""

    retry_after: int
    text = "Too many requests for gateways of this subscription are waiting. Try again after {retry_after} seconds."


@dataclass(eq=False, repr=False)
class RenewalFailed(GatewayTokensError):
    """A gateway's token was to be renewed, and `failed` of its `total` rows failed."""

    failed: int
    total: int
    text = (
        "{failed} of {total} rows failed; the others are done. Each failed row has a log line 'run.row' with its "
        "error; the next run tries them again."
    )


class RevokeStopped(GatewayTokensError):
    """A key was to be revoked, and `locations` do not hold a token of the other key yet: nothing was regenerated."""

    def __init__(self, key_type: str, locations: Sequence[str]) -> None:
        self.key_type, self.locations = key_type, tuple(locations)
        super().__init__(
            f"The {key_type} key was not regenerated: {len(locations)} locations do not hold a token of the other key yet. "
            "The rows say why. Repair them and send the same call again: it goes on from there."
        )


@dataclass(eq=False, repr=False)
class TokenUnusable(GatewayTokensError):
    """Azure's answer is not the token asked for; `reason` says in which way."""

    reason: str
    text = "Azure's answer is not a usable gateway token: {reason}. Nothing was delivered."


# The roles that the app needs in Azure, each with the actions that the code calls. `infra/` defines and assigns them.
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


@dataclass(frozen=True, slots=True)
class AzureFacts:
    """What Azure said when it refused: HTTP status (0 if none), its own code and message, ids for support."""

    status: int = 0
    code: str = ""
    message: str = ""
    details: tuple[Fault, ...] = ()
    request_id: str = ""
    retry_after: float | None = None  # seconds
    timed_out: bool = False  # no answer within the time that one operation may take


class AzureError(GatewayTokensError):
    """Azure refused or failed `operation`; `facts` are its own words."""

    advice: ClassVar[str] = "Look up Azure's code, or give the request id to Azure's support."

    def __init__(self, operation: str, facts: AzureFacts, advice: str = "") -> None:
        self.operation, self.facts = operation, facts
        answer = " ".join(str(part) for part in (facts.status or "no answer", facts.code) if part)
        tail = f" (request id {facts.request_id})" if facts.request_id else ""
        super().__init__(f"{operation} failed: {answer}. {advice or self.advice}{tail}")


class AzureForbidden(AzureError):
    """The app's identity lacks `action` at `scope`; `role` grants it, empty inside a cluster."""

    def __init__(self, operation: str, facts: AzureFacts, action: str, scope: str) -> None:
        self.action, self.scope = action, scope
        self.role = next((role for role, actions in ROLES.items() if action in actions), "")
        such = f", such as '{self.role}'" if self.role else ""
        super().__init__(
            operation,
            facts,
            f"The app's identity needs a role with the action '{action}' at '{scope}'{such}. "
            "Assign it (infra/ does) and allow some minutes for it to take effect.",
        )


class AzureRejected(AzureError):
    """Azure found the request invalid; `facts.details` lists the fields."""

    advice = (
        "Azure found a name or value in the request invalid. Correct it in the request or in the settings."
    )


class AzureBlocked(AzureError):
    """A lock, a policy, a tier, another tenant or a disabled subscription prevents it; the text says which."""


class AzureNotFound(AzureError):
    """Azure does not know the resource."""

    advice = "Check that the resource exists and that the settings name it correctly."


class AzureThrottled(AzureError):
    """Azure throttles for longer than one operation may take; `facts.retry_after` says for how long."""

    advice = "Azure is throttling requests. Try again later; the next run does so by itself."


class AzureUnavailable(AzureError):
    """No answer in time, a dropped connection, or a failing service."""

    advice = "Azure cannot be reached or is failing. Try again later; the next run does so by itself."


class IdentityUnavailable(AzureError):
    """The app's identity yields no token, so nothing in Azure can be reached."""

    advice = "AZURE_CLIENT_ID must be the client id (not the object id) of an identity that the app has."


class SigningKeysUnavailable(AzureError):
    """Microsoft Entra's signing keys cannot be fetched, so no bearer token can be verified."""

    advice = "The bearer token could not be verified. Try again later; the app must reach SIGN_IN_ENDPOINT."


class DestinationError(GatewayTokensError):
    """`location` does not hold what it should."""

    def __init__(self, location: str, detail: str) -> None:
        self.location = location
        super().__init__(f"{location}: {detail}")


class NotOwned(DestinationError):
    """What is at the location was not put there by this app for this gateway."""


class DestinationBlocked(DestinationError):
    """The location exists but cannot be used: soft-deleted, disabled, of another kind, badly named."""


class SignInRefused(DestinationBlocked):
    """The cluster does not accept the app's sign-in."""


class WriteConflict(DestinationError):
    """Another writer changed the value between this app's read and write; nothing was overwritten."""


class NotVerified(DestinationError):
    """The value read back differs from the value written."""


class NotRestarted(DestinationError):
    """The token was delivered and verified, but the gateway's workload did not restart."""


class NotPickedUp(DestinationError):
    """The token was delivered, but an instance of the gateway still runs an older one."""
