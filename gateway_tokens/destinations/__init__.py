"""Where gateways read their tokens: one file per kind, and the one table of kinds.

A new kind is its settings class, a file here, a line in the table, and an entry in the contract suite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from gateway_tokens.destination_settings import KeyVaultSecret, KubernetesSecret

if TYPE_CHECKING:
    from gateway_tokens import destination_settings as settings
    from gateway_tokens.azure_access import AzureAccess
    from gateway_tokens.model import GatewayRef
    from gateway_tokens.ports import Destination


def open_destination(spec: settings.Destination, ref: GatewayRef, azure: AzureAccess) -> Destination:
    """The place that a gateway's row of settings names. Touches nothing yet.

    Imports what the kind needs, and no more: a cold start should not pay for the others.
    """
    match spec:
        case KeyVaultSecret():
            from .key_vault import KeyVaultDestination

            return KeyVaultDestination(spec, ref, azure)
        case KubernetesSecret():
            from .kubernetes import KubernetesDestination

            return KubernetesDestination(spec, ref, azure)
        case _ as unknown:
            assert_never(unknown)
