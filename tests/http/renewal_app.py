"""An emulated estate for the routes on renewal and keys: what is configured, what it holds, what was written."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import KeyType, Secret
from tests.callers import rule
from tests.renewal_estate import CONTOSO, FABRIKAM
from tests.served_estate import app_settings, populate, set_environment

DAY = timedelta(days=1)
WRITE = frozenset({"PUT", "POST", "PATCH", "DELETE"})
ALL = rule("*/*", allow=("issue", "read", "renew", "revoke"))


class RenewalApp:
    """Two services: contoso with edge-01, edge-02 and lab-01 (left alone), fabrikam with plant-a."""

    def __init__(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        self.emulator, self._monkeypatch = emulator, monkeypatch
        self.gateways = populate(emulator)
        self.rules: dict[str, Any] = {"*": self.delivered(), "lab-*": {"renew": False}}  # contoso's
        self.elsewhere: dict[str, Any] = {"plant-*": self.delivered("fabrikam")}
        self.estate: dict[str, Any] = {}  # of the settings document, beside services and access

    def delivered(self, vault: str = "contoso") -> dict[str, Any]:
        """A rule that delivers to a vault."""
        return {"destinations": [{"kind": "keyVault", "vault": self.emulator.vault_url(vault)}]}

    def configure(self, *access: dict[str, Any], **more: str) -> None:
        """Set every setting of the app, from the next app on; without rules of access, a function key opens all."""
        services = {
            "contoso": {"resourceId": str(CONTOSO), "gateways": self.rules},
            "fabrikam": {"resourceId": str(FABRIKAM), "gateways": self.elsewhere},
        }
        document = {"services": services, "access": access or [ALL], **self.estate}
        set_environment(self._monkeypatch, app_settings(self.emulator, document, **more))

    def hold(
        self,
        gateway: str,
        expires_in: timedelta = 24 * DAY,
        service: str = "contoso",
        key: KeyType = KeyType.PRIMARY,
    ) -> str:
        """Put this app's own token, which lives for 29 days, into the gateway's secret."""
        expiry = (datetime.now(UTC) + expires_in).replace(second=0, microsecond=0)
        issued_at = expiry - 29 * DAY
        value = f"GatewayKey {self.gateways[gateway].token(key, expiry)}"
        owned = Ownership(f"{service}-apim/{gateway}", key, issued_at, expiry, key_since=issued_at)
        tags = owned.of(Secret(value)).tags()
        self.emulator.azure.vault(service).set(f"{gateway}-token", value, datetime.now(UTC), tags=tags)
        return value

    def stored(self, gateway: str = "edge-01", service: str = "contoso") -> str:
        """What the gateway's secret holds; empty while there is none."""
        secret = self.emulator.azure.vault(service).secret(f"{gateway}-token")
        return secret.latest.value if secret else ""

    def writes(self) -> list[str]:
        """Every call that changed anything in Azure or asked for a token."""
        calls = self.emulator.azure.calls
        return [f"{c.method} {c.path}" for c in calls if c.host != "identity" and c.method in WRITE]


@asynccontextmanager
async def renewal_app(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RenewalApp]:
    """The app over its estate, configured; closed afterwards."""
    app = RenewalApp(emulator, monkeypatch)
    app.configure()
    await gateway_app.forget()
    yield app
    await gateway_app.forget()
