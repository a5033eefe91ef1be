"""Where gateways read their tokens: one file or folder per kind, and the one table of kinds."""

from __future__ import annotations

from typing import Any

from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.errors import DestinationBlocked
from gateway_tokens.estate.schema import DestinationSettings
from gateway_tokens.tokens import GatewayRef

from .base import Destination
from .key_vault import KeyVaultDestination, KeyVaultSecret
from .kubernetes import KubernetesDestination
from .kubernetes.settings import KubernetesSecret

DESTINATIONS: dict[type[DestinationSettings], Any] = {
    KeyVaultSecret: KeyVaultDestination,
    KubernetesSecret: KubernetesDestination,
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
