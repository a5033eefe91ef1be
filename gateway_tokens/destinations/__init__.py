"""Where gateways read their tokens: one file or folder per kind, and the one table of kinds."""

from __future__ import annotations

from typing import Any

from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.errors import DestinationBlocked
from gateway_tokens.estate.destination import DestinationSettings
from gateway_tokens.stored import Destination
from gateway_tokens.tokens import GatewayRef

from .key_vault import KeyVaultDestination, KeyVaultSecret
from .kubernetes import KubernetesSecret


def _kubernetes(settings: KubernetesSecret, ref: GatewayRef, azure: AzureAccess) -> Destination:
    from .kubernetes.secret import KubernetesDestination  # a first token over HTTP does not wait for it

    return KubernetesDestination(settings, ref, azure)


DESTINATIONS: dict[type[DestinationSettings], Any] = {
    KeyVaultSecret: KeyVaultDestination,
    KubernetesSecret: _kubernetes,
}


def open_destination(settings: DestinationSettings, ref: GatewayRef, azure: AzureAccess) -> Destination:
    """The destination of a gateway's row. Touches nothing yet. Raises DestinationBlocked for a name that its kind refuses."""
    filled, faults = settings.at(ref)
    if filled is None:
        raise DestinationBlocked(
            settings.location(ref), f"{'; '.join(map(str, faults))}. Correct the settings."
        )
    destination: Destination = DESTINATIONS[type(settings)](filled, ref, azure)
    return destination
