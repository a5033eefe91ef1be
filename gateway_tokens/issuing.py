"""Issue one token for a caller: access first, then existence, then Azure, then the check.

A token is also written in the formats that people paste, pipe or apply for each way of running the gateway.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from .access import Permission, Scope
from .azure.api_management import ArmGateways
from .errors import AccessDenied, AzureNotFound, KeyNotActive, NotFound, TokenUnusable
from .estate.schema import Estate, GatewayRule, ManagedGateway
from .logs import log_line
from .parsing import duration_text
from .sign_in import Caller
from .stored import MANAGED_BY, Ownership
from .tokens import (
    MAX_LIFETIME,
    GatewayRef,
    GatewayToken,
    KeyType,
    Secret,
    ServiceId,
    expiry_after,
    owner_of,
    stable_expiry,
    to_the_minute,
)

# What Azure says when the settings name a subscription or group that does not exist, rather than the caller a gateway.
_SETTINGS_ARE_WRONG = frozenset({"SubscriptionNotFound", "ResourceGroupNotFound"})


# The setting that the gateway's container reads its token from.
# https://learn.microsoft.com/azure/api-management/self-hosted-gateway-settings-reference
AUTH_SETTING = "config.service.auth"
# The key that the official Helm chart reads from its Secret (secret.existingSecretName).
HELM_SECRET_KEY = "gateway-key"  # noqa: S105 - a key's name


class TokenFormat(StrEnum):
    """The forms of a token that are not JSON, as the path names them."""

    HEADER = "headerValue"
    ENV_FILE = "envFile"
    KUBERNETES = "kubernetesSecret"


@dataclass(frozen=True, slots=True)
class SecretName:
    """How a Kubernetes Secret is to be called; empty means the default for the gateway."""

    name: str = ""
    key: str = HELM_SECRET_KEY
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token asked for; None leaves the choice to the gateway's rule, and as `format` means JSON."""

    ref: GatewayRef
    key_type: KeyType | None
    expiry: datetime | None
    lifetime: timedelta | None
    format: TokenFormat | None = None
    secret: SecretName = field(default_factory=SecretName)
    stable: bool = False  # the same token at each call until it is due; never beside an expiry


@dataclass(frozen=True, slots=True)
class Issued:
    """A checked token and how it was made; `ref` has the service's name as declared."""

    ref: GatewayRef
    ownership: Ownership
    token: GatewayToken


def log_issued(issued: Issued, caller: object) -> None:
    """Write the audit line that every issued token has."""
    log_line(
        "token.issued",
        caller=caller,
        service=issued.ref.service,
        gateway=issued.ref.gateway,
        keyType=issued.ownership.key_type,
        expiry=issued.token.expiry,
        fingerprint=issued.token.fingerprint,
    )


async def issue_for(
    caller: Caller,
    request: TokenRequest,
    estate: Estate,
    gateways: ArmGateways,
    now: datetime,
    *,
    active_key: Callable[[ManagedGateway], Awaitable[KeyType]] | None = None,
) -> Issued:
    """A fresh token for the caller; `active_key` tells the key in use of a gateway whose keys are rotated.

    Raises AccessDenied before anything is looked up, so that what exists and what does not are alike to a caller
    without access; then NotFound, AzureError, TokenUnusable.
    """
    ceiling = Scope(estate.access, caller, Permission.ISSUE).require(request.ref)
    name, service = estate.find(request.ref.service, request.ref.gateway)
    rule = service.rule_for(request.ref.gateway)
    owner = owner_of(service.resource_id, request.ref.gateway)
    expiry = _expiry(request, rule, ceiling, owner, now)
    key_type = request.key_type or (rule and rule.key_type) or KeyType.PRIMARY
    if rule and rule.rotate_keys and active_key:
        gateway = ManagedGateway(GatewayRef(name, request.ref.gateway), service.resource_id, rule)
        key_type = await active_key(gateway)
        if request.key_type not in {None, key_type}:
            raise KeyNotActive(str(request.ref), key_type)
    try:
        token = await issue_checked(gateways, service.resource_id, request.ref.gateway, key_type, expiry)
    except AzureNotFound as error:
        raise gateway_missing(error, request.ref) from None
    ownership = Ownership(owner_of(service.resource_id, token.gateway_id), key_type, now, token.expiry)
    return Issued(GatewayRef(name, token.gateway_id), ownership, token)


async def issue_checked(
    gateways: ArmGateways, service: ServiceId, gateway: str, key_type: KeyType, expiry: datetime
) -> GatewayToken:
    """A token that is what was asked for: this gateway's, ending in that very minute. Raises TokenUnusable."""
    token = await gateways.generate_token(service, gateway, key_type, expiry)
    if not token.is_for(gateway):
        raise TokenUnusable("it is for another gateway")
    if token.expiry != expiry:
        raise TokenUnusable(
            f"it expires at {token.expiry:%Y-%m-%dT%H:%MZ}, and not at {expiry:%Y-%m-%dT%H:%MZ}"
        )
    return token


def gateway_missing(error: AzureNotFound, ref: GatewayRef) -> NotFound | AzureNotFound:
    """Azure's 404 as what it means: no such gateway, unless the settings name a subscription or group that does not exist."""
    return error if error.facts.code in _SETTINGS_ARE_WRONG else NotFound(str(ref))


def _expiry(
    request: TokenRequest, rule: GatewayRule | None, ceiling: timedelta, owner: str, now: datetime
) -> datetime:
    """When the token is to end. An end asked for is kept or refused, never shortened; the usual one is."""
    lifetime = request.lifetime or min(rule.lifetime if rule else MAX_LIFETIME, ceiling)
    if request.expiry:
        expiry = to_the_minute(request.expiry)
        lifetime = expiry - now
    elif request.stable:
        # The rule's window belongs to the rule's own lifetime.
        window = rule.window if rule and rule.lifetime == lifetime else lifetime / 3
        expiry = stable_expiry(lifetime, window, owner, now)
    else:
        expiry = expiry_after(lifetime, now)
    if lifetime > ceiling:
        detail = f"Your access to '{request.ref}' is limited to tokens of {duration_text(ceiling)}; ask for a shorter lifetime."
        raise AccessDenied(Permission.ISSUE, str(request.ref), detail)
    return expiry


def env_file(token: GatewayToken) -> Secret:
    """The line for `docker run --env-file`, with its line end. Docker takes everything after `=` as it is."""
    return Secret(f"{AUTH_SETTING}={token.header_value().reveal()}\n")


def kubernetes_secret(token: GatewayToken, ownership: Ownership, named: SecretName) -> Secret:
    """A Secret manifest in JSON, which `kubectl apply -f -` takes; by default it suits the official Helm chart.

    It carries the ownership that the `kubernetes` destination writes, so that a run takes it for its own.
    """
    value = token.header_value()
    metadata = {
        "name": named.name or default_secret_name(token.gateway_id),
        **({"namespace": named.namespace} if named.namespace else {}),
        "labels": {"app.kubernetes.io/managed-by": MANAGED_BY},
        "annotations": ownership.of(value).annotations(),
    }
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "stringData": {named.key: value.reveal()},
    }
    return Secret(json.dumps(manifest, indent=2) + "\n")


def default_secret_name(gateway: str) -> str:
    """`<gateway>-token`, as the portal names it, in the characters that Kubernetes allows."""
    plain = "".join(
        letter if letter.isascii() and letter.isalnum() else "-" for letter in gateway.lower()
    ).strip("-")
    return f"{plain or 'gateway'}-token"
