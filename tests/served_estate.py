"""The estate that the tests serve: its document, its settings, and its services and gateways in the emulator."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

import gateway_tokens.destinations  # noqa: F401 - defines the kinds
from emulator.server import Emulator
from gateway_tokens.tokens import ServiceId

# Configures the app: with these rules, with these settings.
Opens = Callable[..., None]

CONTOSO = ServiceId("11111111-1111-1111-1111-111111111111", "rg-apis", "contoso-apim")
FABRIKAM = ServiceId("22222222-2222-2222-2222-222222222222", "rg-apis", "fabrikam-apim")
GATEWAYS = {CONTOSO: ("edge-01", "edge-02", "short-01", "lab-01"), FABRIKAM: ("plant-a",)}
# What the holder of a function key may do: issue at the edge, issue short-lived at short-*, only read the lab.
KEY_HOLDER: tuple[Mapping[str, Any], ...] = (
    {"caller": {"functionKey": True}, "gateways": ["contoso/edge-*"], "allow": ["issue", "read"]},
    {
        "caller": {"functionKey": True},
        "gateways": ["contoso/short-*"],
        "allow": ["issue"],
        "maxLifetime": "P1D",
    },
    {"caller": {"functionKey": True}, "gateways": ["contoso/lab-*"], "allow": ["read"]},
)


def populate(emulator: Emulator) -> None:
    """Put the estate's services and gateways into the emulator."""
    for service, gateways in GATEWAYS.items():
        made = emulator.azure.add_service(service.subscription_id, service.resource_group, service.name)
        for gateway in gateways:
            made.add_gateway(gateway)


def document(access: Sequence[Mapping[str, Any]] = KEY_HOLDER) -> dict[str, Any]:
    """The GATEWAY_TOKENS document; nothing in it is delivered anywhere."""
    return {
        "services": {
            "contoso": {
                "resourceId": str(CONTOSO),
                "gateways": {"*": {}, "edge-02": {"lifetime": "P7D", "keyType": "secondary"}},
            },
            "fabrikam": {"resourceId": str(FABRIKAM)},
        },
        "access": list(access),
    }


def environment(
    emulator: Emulator, access: Sequence[Mapping[str, Any]] = KEY_HOLDER, **more: str
) -> dict[str, str]:
    """Every app setting, pointing at the emulator."""
    return app_settings(emulator, document(access), **more)


def app_settings(emulator: Emulator, estate: Mapping[str, Any], **more: str) -> dict[str, str]:
    """Every app setting of an app with this document, pointing at the emulator."""
    return {
        **emulator.settings(),
        "GATEWAY_TOKENS": json.dumps(estate),
        "RENEWAL_SCHEDULE": "0 0 * * * *",
        "ALLOW_FUNCTION_KEYS": "true",
        **more,
    }


def set_environment(monkeypatch: pytest.MonkeyPatch, settings: Mapping[str, str]) -> None:
    """Make these the app's settings; those that a developer may have set for Azure are removed."""
    for name in ("SIGN_IN", "AZURE_CREDENTIAL", "AZURE_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
