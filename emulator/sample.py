"""The sample estate of `make run`: services, gateways, what their destinations hold already, who may do what."""

import json
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.directory import CALLER_ID, CALLER_OBJECT_ID, Application
from emulator.faults import Fault
from emulator.kubernetes import Cluster

if TYPE_CHECKING:
    from emulator.gateways import Gateway
    from emulator.server import Emulator

VAULTS = ("contoso", "fabrikam", "forbidden")
FUNCTION_KEY = "local-function-key"
# An application that signs in, and its app role.
CALLER = Application(CALLER_ID, CALLER_OBJECT_ID, ("GatewayToken.Issue",))
_SERVICES = {
    "contoso": ("11111111-1111-1111-1111-111111111111", "rg-apis", "contoso-apim"),
    "fabrikam": ("22222222-2222-2222-2222-222222222222", "rg-apis", "fabrikam-apim"),
}
_GATEWAYS = {
    "contoso": ("edge-01", "edge-02", "edge-03", "lab-01"),
    "fabrikam": ("plant-a", "plant-b", "plant-c"),
}
# A cluster that does not know Entra: the app signs in with a service account's token, kept in a vault.
CLUSTER = Cluster("plant", knows_entra=False)
_SERVICE_ACCOUNT = ("fabrikam", "plant-service-account")
_SIGNED_IN = {"caller": {"appRole": CALLER.roles[0]}, "gateways": ["contoso/*"], "allow": ["issue", "read"]}
_KEY_HOLDER = {"functionKey": True}
_KEY_HOLDERS = [
    {"caller": _KEY_HOLDER, "gateways": ["*/*"], "allow": ["read", "renew", "revoke"]},
    {"caller": _KEY_HOLDER, "gateways": ["contoso/*"], "allow": ["issue"]},
    {"caller": _KEY_HOLDER, "gateways": ["fabrikam/*"], "allow": ["issue"], "maxLifetime": "P1D"},
]
# How the demonstration's run ends for each gateway.
EXPECTED = {
    "edge-01": "fresh",
    "edge-02": "renewed",
    "edge-03": "renewed",
    "plant-a": "renewed",
    "plant-b": "failed",
    "plant-c": "restarting",
}


def populate(emulator: "Emulator", more: int = 0) -> None:
    """Put the sample into the emulator, with so many more gateways; one vault refuses the app.

    The emulator must have been started with the vaults and the cluster of this module.
    """
    gateways = {**_GATEWAYS, "contoso": (*_GATEWAYS["contoso"], *(f"many-{n:04}" for n in range(more)))}
    emulator.azure.directory.applications = {CALLER_ID: CALLER}
    added: dict[str, Gateway] = {}
    for name, where in _SERVICES.items():
        service = emulator.azure.add_service(*where)
        added |= {gateway: service.add_gateway(gateway) for gateway in gateways[name]}
    store(emulator, "contoso", "contoso-apim", added["edge-01"], timedelta(days=25))
    store(emulator, "contoso", "contoso-apim", added["edge-02"], timedelta(days=6))
    store(emulator, "fabrikam", "fabrikam-apim", added["plant-a"], -timedelta(days=1))
    vault, secret = _SERVICE_ACCOUNT
    emulator.azure.vault(vault).set(
        secret, CLUSTER.service_account_token(emulator.azure), emulator.azure.clock()
    )
    workload = CLUSTER.objects.add_workload("Deployment", "default", "plant-c")
    workload.age(emulator.azure.clock() - timedelta(days=20))
    refusal = {
        "error": {"code": "Forbidden", "message": "Refused.", "innererror": {"code": "ForbiddenByRbac"}}
    }
    emulator.azure.faults.add(
        Fault(host="vault", instance="forbidden", status=403, body=json.dumps(refusal), times=None)
    )


def app_settings(emulator: "Emulator", *, function_keys: bool) -> dict[str, str]:
    """Every app setting for the sample estate, pointing at the emulator."""
    access = [_SIGNED_IN, *_KEY_HOLDERS] if function_keys else [_SIGNED_IN]
    return {
        **emulator.settings(),
        "GATEWAY_TOKENS": json.dumps({**_document(emulator), "access": access}),
        "RENEWAL_SCHEDULE": "0 0 * * * *",
        "LOG_FRESH_ROWS": "true",
        "ALLOW_FUNCTION_KEYS": str(function_keys).lower(),
    }


def store(emulator: "Emulator", vault: str, service: str, gateway: "Gateway", left: timedelta) -> None:
    """Store a token with so much of its life left, as an earlier run would have."""
    now = emulator.azure.clock()
    value = "GatewayKey " + gateway.token("primary", now + left)
    tags = {
        "managed-by": "gateway-tokens",
        "gateway": f"{service}/{gateway.name}",
        "key-type": "primary",
        "issued-at": f"{now - timedelta(days=30) + left:%Y-%m-%dT%H:%M:%SZ}",
        "expiry": f"{now + left:%Y-%m-%dT%H:%M:00Z}",
        "fingerprint": sha256(value.encode()).hexdigest()[:12],
    }
    emulator.azure.vault(vault).set(f"{gateway.name}-token", value, now, tags=tags)


def _document(emulator: "Emulator") -> dict[str, Any]:
    return {
        "services": {
            "contoso": {
                "resourceId": resource_id("contoso"),
                "gateways": {"*": _in_vault(emulator, "contoso"), "lab-*": {"renew": False}},
            },
            "fabrikam": {
                "resourceId": resource_id("fabrikam"),
                "gateways": {
                    "plant-*": _in_vault(emulator, "fabrikam"),
                    "plant-b": _in_vault(emulator, "forbidden"),
                    "plant-c": _in_cluster(emulator),
                },
            },
        },
    }


def resource_id(service: str) -> str:
    """Return the resource id of a service of the sample."""
    subscription, group, name = _SERVICES[service]
    return (
        f"/subscriptions/{subscription}/resourceGroups/{group}"
        f"/providers/Microsoft.ApiManagement/service/{name}"
    )


def _in_vault(emulator: "Emulator", vault: str) -> dict[str, Any]:
    return _kept({"kind": "keyVault", "vault": emulator.vault_url(vault)})


def _in_cluster(emulator: "Emulator") -> dict[str, Any]:
    vault, secret = _SERVICE_ACCOUNT
    return _kept(
        {
            "kind": "kubernetes",
            "server": CLUSTER.url,
            "certificateAuthority": Path(emulator.ca_file).read_text(),
            "signIn": {"vault": emulator.vault_url(vault), "secret": secret},
            "restart": {"name": "{gateway}"},
        }
    )


def _kept(*destinations: dict[str, Any]) -> dict[str, Any]:
    return {"lifetime": "P30D", "destinations": list(destinations)}
