"""The estate that tests serve from the emulator: its services and gateways there, and the app's settings."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

import gateway_tokens.destinations  # noqa: F401 - defines the kinds
from emulator.gateways import Gateway
from emulator.server import Emulator
from tests.renewal_estate import CONTOSO, FABRIKAM

GATEWAYS = {CONTOSO: ("edge-01", "edge-02", "lab-01"), FABRIKAM: ("plant-a",)}


def populate(emulator: Emulator) -> dict[str, Gateway]:
    """Put the estate's services into the emulator; their gateways by name."""
    gateways: dict[str, Gateway] = {}
    for id_, names in GATEWAYS.items():
        service = emulator.azure.add_service(id_.subscription_id, id_.resource_group, id_.name)
        gateways |= {name: service.add_gateway(name) for name in names}
    return gateways


def environment(emulator: Emulator, **more: str) -> dict[str, str]:
    """Every app setting of an app that delivers nothing, pointing at the emulator."""
    services = {"contoso": {"resourceId": str(CONTOSO)}, "fabrikam": {"resourceId": str(FABRIKAM)}}
    return app_settings(emulator, {"services": services}, **more)


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
