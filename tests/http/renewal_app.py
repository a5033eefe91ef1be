"""An emulated estate for the renewal routes: what is configured, what it holds, what was written."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import KeyType, Secret
from tests.renewal_estate import CONTOSO, FABRIKAM
from tests.served_estate import app_settings, set_environment

WRITE = frozenset({"PUT", "POST", "PATCH", "DELETE"})
ALL = ({"caller": {"functionKey": True}, "gateways": ["*/*"], "allow": ["issue", "read", "renew"]},)


class RenewalApp:
    """Two services: contoso with edge-01, edge-02 and lab-01 (left alone), fabrikam with plant-a."""

    def __init__(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        self.emulator, self._monkeypatch = emulator, monkeypatch
        self.services = {}
        self.estate: dict[str, Any] = {}  # of the settings document, beside services and access
        for name, service, gateways in (
            ("contoso", CONTOSO, ("edge-01", "edge-02", "lab-01")),
            ("fabrikam", FABRIKAM, ("plant-a",)),
        ):
            made = emulator.azure.add_service(service.subscription_id, service.resource_group, service.name)
            self.services[name] = made
            for gateway in gateways:
                made.add_gateway(gateway)

    def configure(self, access: Sequence[Mapping[str, Any]] = ALL, **more: str) -> None:
        """Set every setting of the app, from the next app on."""
        document = {
            "services": {
                "contoso": {
                    "resourceId": str(CONTOSO),
                    "gateways": {"*": self._vault("contoso"), "lab-*": {"renew": False}},
                },
                "fabrikam": {"resourceId": str(FABRIKAM), "gateways": {"plant-*": self._vault("fabrikam")}},
            },
            "access": list(access),
            **self.estate,
        }
        set_environment(self._monkeypatch, app_settings(self.emulator, document, **more))

    def hold(self, gateway: str, expires_in: timedelta, service: str = "contoso") -> str:
        """Put this app's own token into the gateway's secret."""
        expiry = (datetime.now(UTC) + expires_in).replace(second=0, microsecond=0)
        kept = self.services[service].gateway(gateway)
        assert kept is not None
        value = "GatewayKey " + kept.token("primary", expiry)
        issued_at = datetime(2026, 1, 1, tzinfo=UTC)
        owned = Ownership(f"{service}-apim/{gateway}", KeyType.PRIMARY, issued_at, expiry).of(Secret(value))
        self.emulator.azure.vault(service).set(
            f"{gateway}-token", value, datetime.now(UTC), tags=owned.tags()
        )
        return value

    def stored(self, gateway: str, service: str = "contoso") -> str:
        """What the gateway's secret holds; empty while there is none."""
        secret = self.emulator.azure.vault(service).secret(f"{gateway}-token")
        return secret.latest.value if secret else ""

    def put(
        self, name: str, metadata: Mapping[str, str] | None = None, *, created: datetime | None = None
    ) -> None:
        """Leave a blob as a run would have, begun at that time."""
        now = datetime.now(UTC)
        self.emulator.azure.blobs.put("gateway-tokens", name, b"{}", now, metadata=dict(metadata or {}))
        self.emulator.azure.blobs.containers["gateway-tokens"][name].created = created or now

    def report(self, service: str = "contoso") -> dict[str, Any]:
        """A service's report; empty while there is none."""
        blob = self.emulator.azure.blobs.containers["gateway-tokens"].get(f"reports/{service}.json")
        return dict(json.loads(blob.content)) if blob else {}

    def writes(self) -> list[str]:
        """Every call that changed anything in Azure or asked for a token."""
        return [
            f"{call.method} {call.path}"
            for call in self.emulator.azure.calls
            if call.host != "identity" and call.method in WRITE
        ]

    def _vault(self, name: str) -> dict[str, Any]:
        return {"destinations": [{"kind": "keyVault", "vault": self.emulator.vault_url(name)}]}


@asynccontextmanager
async def renewal_app(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RenewalApp]:
    """The app over its estate, configured; closed afterwards."""
    made = RenewalApp(emulator, monkeypatch)
    made.configure()
    await gateway_app.forget()
    yield made
    await gateway_app.forget()
