"""The sample estate of `make run`: two services in two subscriptions, a few gateways, who may do what."""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emulator.server import Emulator

VAULTS = ("contoso", "fabrikam")
FUNCTION_KEY = "local-function-key"
_SERVICES = {
    "contoso": (
        "11111111-1111-1111-1111-111111111111",
        "rg-apis",
        "contoso-apim",
        ("edge-01", "edge-02", "lab-01"),
    ),
    "fabrikam": ("22222222-2222-2222-2222-222222222222", "rg-apis", "fabrikam-apim", ("plant-a", "plant-b")),
}


def populate(emulator: "Emulator") -> None:
    """Put the sample services and gateways into the emulator."""
    for subscription, group, name, gateways in _SERVICES.values():
        service = emulator.azure.add_service(subscription, group, name)
        for gateway in gateways:
            service.add_gateway(gateway)


def app_settings(emulator: "Emulator") -> dict[str, str]:
    """Every app setting for the sample estate, pointing at the emulator."""
    return {
        **emulator.settings(),
        "GATEWAY_TOKENS": json.dumps(_document(emulator)),
        "RENEWAL_SCHEDULE": "0 0 * * * *",
        "SIGN_IN": "functionKey",
    }


def _document(emulator: "Emulator") -> dict[str, Any]:
    return {
        "services": {
            "contoso": {
                "resourceId": _resource_id("contoso"),
                "gateways": {"*": _kept_in(emulator.vault_url("contoso")), "lab-*": {"renew": False}},
            },
            "fabrikam": {
                "resourceId": _resource_id("fabrikam"),
                "gateways": {"plant-*": _kept_in(emulator.vault_url("fabrikam"))},
            },
        },
        "access": [
            {"caller": {"functionKey": True}, "gateways": ["contoso/*"], "allow": ["issue", "read", "renew"]},
            {
                "caller": {"functionKey": True},
                "gateways": ["fabrikam/*"],
                "allow": ["issue", "read", "renew"],
                "maxLifetime": "P1D",
            },
        ],
    }


def _resource_id(service: str) -> str:
    subscription, group, name, _ = _SERVICES[service]
    return (
        f"/subscriptions/{subscription}/resourceGroups/{group}"
        f"/providers/Microsoft.ApiManagement/service/{name}"
    )


def _kept_in(vault: str) -> dict[str, Any]:
    return {"lifetime": "P30D", "destinations": [{"kind": "keyVault", "vault": vault}]}
