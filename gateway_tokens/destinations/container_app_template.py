"""What a Container App's manifest says and how it is to change: values in, values out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from gateway_tokens.ledger import MANAGED_BY, Label

if TYPE_CHECKING:
    from gateway_tokens.model import GatewayToken, Secret

_NOT_YET = {"Processing", "Activating", "Degraded", "Unknown"}


def label_in(app: dict[str, Any], secret: str) -> Label | None:
    """The label that this app keeps beside a secret: a resource tag of its own."""
    text = (app.get("tags") or {}).get(_tag_name(secret))
    if text is None:
        return None
    pairs = (part.partition("=") for part in text.split(";"))
    return Label.from_tags({"managed-by": MANAGED_BY} | {name: value for name, _, value in pairs})


def version_of(app: dict[str, Any], secret: str, value: str) -> str:
    """What changes whenever the secret's value or its label does."""
    tag = (app.get("tags") or {}).get(_tag_name(secret), "")
    return hashlib.sha256(f"{tag}\n{value}".encode()).hexdigest()


def secrets_with(secrets: list[dict[str, Any]], secret: str, value: Secret) -> list[dict[str, Any]]:
    """All secrets as they are to be sent, this one with its new value; a reference to Key Vault stays one."""
    kept = [_as_sent(other) for other in secrets if other["name"] != secret]
    return [*kept, {"name": secret, "value": value.reveal()}]


def unreadable(secrets: list[dict[str, Any]]) -> list[str]:
    """The secrets that cannot be sent back, because their value was not told."""
    return [secret["name"] for secret in secrets if not secret.get("keyVaultUrl") and "value" not in secret]


def change_of(
    app: dict[str, Any], secrets: list[dict[str, Any]], secret: str, label: Label, token: GatewayToken
) -> dict[str, Any]:
    """The merge patch that replaces all secrets, labels this one, and begins a revision of its own name."""
    # With an app name of 32 characters this reaches the 54 that a revision's name may have.
    suffix = f"gt-{label.issued_at:%y%m%d%H%M%S}-{token.fingerprint[:4]}"
    return {
        "tags": {**(app.get("tags") or {}), _tag_name(secret): _tag_text(label, token)},
        "properties": {"configuration": {"secrets": secrets}, "template": {"revisionSuffix": suffix}},
    }


def revision_ready(revision: dict[str, Any]) -> tuple[bool | None, str]:
    """Whether a revision runs (None: it never will), and its states for people."""
    properties = revision.get("properties", {})
    provisioning = properties.get("provisioningState", "Unknown")
    running = properties.get("runningState", "Unknown")
    said = f"provisioning: {provisioning}, running: {running}, replicas: {properties.get('replicas', 0)}"
    if "Failed" in {provisioning, running}:
        return None, said
    return provisioning == "Provisioned" and running not in _NOT_YET, said


def _as_sent(secret: dict[str, Any]) -> dict[str, Any]:
    names = ("name", "keyVaultUrl", "identity") if secret.get("keyVaultUrl") else ("name", "value")
    return {name: secret[name] for name in names if name in secret}


def _tag_name(secret: str) -> str:
    return f"{MANAGED_BY}.{secret}"


def _tag_text(label: Label, token: GatewayToken) -> str:
    """At most 242 of the 256 characters that a tag's value may have, for the longest names that there are."""
    tags = label.tags(token)
    return ";".join(f"{name}={value}" for name, value in tags.items() if name != "managed-by")
