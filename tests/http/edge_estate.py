"""An estate for the tests of keys: both kinds of destination, keys that are rotated, a gateway that is pulled."""

from base64 import b64decode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from emulator.gateways import Gateway
from emulator.kubernetes import Cluster
from emulator.server import Emulator
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import KeyType, Secret
from tests.renewal_estate import CONTOSO
from tests.served_estate import app_settings, set_environment

ALL = [{"caller": {"functionKey": True}, "gateways": ["*/*"], "allow": ["issue", "read", "renew", "revoke"]}]
DAY = timedelta(days=1)


class Edge:
    """Contoso with `edge-01` in a vault and a cluster, `turn-01` whose keys are rotated, and `docker-01`, which is pulled."""

    def __init__(self, emulator: Emulator, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self.emulator, self.cluster, self._monkeypatch = emulator, cluster, monkeypatch
        self._service = emulator.azure.add_service(
            CONTOSO.subscription_id, CONTOSO.resource_group, CONTOSO.name
        )
        self.gateways: dict[str, Gateway] = {"docker-01": self._service.add_gateway("docker-01")}
        self.add("edge-01", "turn-01")
        account = cluster.service_account_token(emulator.azure)
        emulator.azure.vault("contoso").set("service-account", account, datetime.now(UTC))
        cluster.objects.add_workload("Deployment", "default", "edge-01").age(datetime.now(UTC) - 20 * DAY)

    def add(self, *names: str) -> None:
        """More gateways, each with its token in the vault; those called many-* have a rule."""
        for name in names:
            self.gateways[name] = self._service.add_gateway(name)
            self.hold(name)

    def configure(self, access: list[dict[str, Any]] | None = None, **edge: object) -> None:
        """Every setting of the app; `edge` are fields of the rule of edge-01."""
        vault = {"kind": "keyVault", "vault": self.emulator.vault_url("contoso")}
        cluster = {
            "kind": "kubernetes",
            "server": self.cluster.url,
            "certificateAuthority": Path(self.emulator.ca_file).read_text(),
            "signIn": {"vault": vault["vault"], "secret": "service-account"},
            "restart": {"name": "{gateway}"},
        }
        rules = {
            "edge-01": {"destinations": [vault, cluster], **edge},
            "turn-01": {"destinations": [vault], "rotateKeys": {"every": "P90D"}},
            "docker-01": {},
            "many-*": {"destinations": [vault]},
        }
        contoso = {"resourceId": str(CONTOSO), "gateways": rules}
        document = {"services": {"contoso": contoso}, "access": access or ALL}
        set_environment(self._monkeypatch, app_settings(self.emulator, document))

    def set(self, **more: str) -> None:
        """More app settings."""
        set_environment(self._monkeypatch, more)

    def hold(self, gateway: str, key_type: str = "primary", age: timedelta = 5 * DAY) -> None:
        """Put this app's own token into the gateway's secret in the vault, as a renewal under rotation does."""
        issued_at = datetime.now(UTC).replace(second=0, microsecond=0) - age
        expiry = issued_at + 29 * DAY
        value = Secret("GatewayKey " + self.gateways[gateway].token(key_type, expiry))
        owner, key = f"contoso-apim/{gateway}", KeyType(key_type)
        tags = Ownership(owner, key, issued_at, expiry, key_since=issued_at).of(value).tags()
        self.emulator.azure.vault("contoso").set(
            f"{gateway}-token", value.reveal(), datetime.now(UTC), tags=tags
        )

    def stored(self, gateway: str = "edge-01") -> list[str]:
        """The tokens of a gateway: in the vault and, if there is one, in the cluster."""
        secret = self.emulator.azure.vault("contoso").secret(f"{gateway}-token")
        manifest = self.cluster.objects.look("secrets", "default", f"{gateway}-token")
        values = [secret.latest.value] if secret else []
        values += [b64decode(manifest["data"]["gateway-key"]).decode()] if manifest else []
        return [value.removeprefix("GatewayKey ") for value in values]

    def accepted(self, gateway: str = "edge-01") -> list[bool]:
        """Whether the gateway can sign in with each of them."""
        now = self.emulator.azure.clock()
        return [self.gateways[gateway].accepts(token, now) for token in self.stored(gateway)]

    def regenerated(self) -> list[str]:
        """The gateways of which a key was regenerated, in order."""
        called = self.emulator.azure.called("arm", "POST")
        return [call.path.split("/")[-2] for call in called if call.path.endswith("/regenerateKey")]
