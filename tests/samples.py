"""Values that many unit tests share: one moment, one service, documents built from a sound one."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import gateway_tokens.destinations  # noqa: F401 - defines the kinds
from gateway_tokens.errors import SettingsInvalid
from gateway_tokens.estate.destination import DestinationSettings
from gateway_tokens.estate.faults import read_estate
from gateway_tokens.estate.schedule import within
from gateway_tokens.estate.schema import Estate
from gateway_tokens.tokens import GatewayToken

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SUBSCRIPTION = "5f1f0c5e-3b0c-4c9e-9d4c-0c0a5d3e7a11"
SERVICE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/apim-rg"
    "/providers/Microsoft.ApiManagement/service/contoso-apim"
)
CLUSTER = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/r/providers/Microsoft.ContainerService/managedClusters/c"
)
SIGNATURE = base64.b64encode(bytes(range(64))).decode()
VAULT = "https://contoso.vault.azure.net"
KINDS = ", ".join(f"'{kind}'" for kind in sorted(DestinationSettings.kinds))
NO_DURATION = "must be an ISO 8601 duration of weeks, days, hours, minutes and seconds, such as P30D"

# The example of the design, written out as strict JSON.
DESIGN_EXAMPLE: dict[str, Any] = {
    "services": {
        "contoso": {
            "resourceId": SERVICE,
            "gateways": {
                "*": {
                    "lifetime": "P30D",
                    "renewBefore": "P10D",
                    "keyType": "primary",
                    "destinations": [{"kind": "keyVault", "vault": VAULT, "secret": "{gateway}-token"}],
                },
                "edge-01": {
                    "lifetime": "P7D",
                    "destinations": [{"kind": "keyVault", "vault": "https://edge.vault.azure.net"}],
                },
                "lab-*": {"renew": False},
            },
        }
    },
    "access": [
        {
            "caller": {"appRole": "GatewayToken.Issue"},
            "gateways": ["contoso/edge-*"],
            "allow": ["issue"],
            "maxLifetime": "P1D",
        },
        {
            "caller": {"objectId": "0d9c5a4e-8f53-4f0e-b5a5-7d1f3a0c9b11"},
            "gateways": ["*/*"],
            "allow": ["issue", "renew", "read"],
        },
        {"caller": {"functionKey": True}, "gateways": ["contoso/*"], "allow": ["read"]},
    ],
}


def token(gateway: str = "edge-01", stamp: str = "202603311155") -> GatewayToken:
    """A well-formed token."""
    return GatewayToken.parse(f"{gateway}&{stamp}&{SIGNATURE}")


def document(**rules: dict[str, Any]) -> dict[str, Any]:
    """A document of one service, `contoso`, with these gateway rules (`any_gateway` stands for `*`)."""
    gateways = {"*" if name == "any_gateway" else name: rule for name, rule in rules.items()}
    return {"services": {"contoso": {"resourceId": SERVICE, "gateways": gateways}}}


def estate(value: object) -> Estate:
    """The document read as the app reads it."""
    return read_estate(json.dumps(value))


def faults_of(value: object) -> list[tuple[str, str]]:
    """Every fault of the document as path and message; none when it is sound."""
    try:
        read_estate(value if isinstance(value, str) else json.dumps(value))
    except SettingsInvalid as error:
        return [(fault.path, fault.message) for fault in error.faults]
    return []


def occurrences(schedule: str, after: datetime) -> Iterator[datetime]:
    """The moments later than this one at which the schedule runs, one after the other."""
    span = timedelta(days=1)
    while True:
        if run := within(schedule, after + timedelta(microseconds=1), after + span):
            yield run.first
            after, span = run.first, timedelta(days=1)
        else:
            span *= 2
