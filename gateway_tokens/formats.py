"""The formats of a token for people: what to paste, pipe or apply for each way of running the gateway."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from .stored import MANAGED_BY, Ownership
from .tokens import GatewayToken, Secret

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
