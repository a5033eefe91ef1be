"""API Management as the emulator remembers it: services, their self-hosted gateways and the gateways' keys."""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime

KEY_TYPES = ("primary", "secondary")


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()


@dataclass
class Gateway:
    """A self-hosted gateway with its two signing keys."""

    name: str
    location: str = "On premises"
    description: str = ""
    keys: dict[str, str] = field(default_factory=lambda: {kind: _new_key() for kind in KEY_TYPES}, repr=False)

    def token(self, key_type: str, expiry: datetime) -> str:
        """Return the token that ARM issues: `{gatewayId}&{yyyyMMddHHmm}&{signature}`, exact to the minute.

        The same gateway, key and minute always give the same token.
        """
        head = f"{self.name}&{expiry.astimezone(UTC):%Y%m%d%H%M}"
        signature = hmac.new(self.keys[key_type].encode(), head.encode(), hashlib.sha512).digest()
        return f"{head}&{base64.b64encode(signature).decode()}"

    def accepts(self, token: str, now: datetime) -> bool:
        """Tell whether a gateway that signs in with `token` at `now` gets its configuration."""
        try:
            expiry = datetime.strptime(token.split("&")[1], "%Y%m%d%H%M").replace(tzinfo=UTC)
        except (IndexError, ValueError):
            return False
        return now < expiry and token in {self.token(kind, expiry) for kind in KEY_TYPES}

    def regenerate(self, key_type: str) -> None:
        """Replace one key: every token that it signed is dead."""
        self.keys[key_type] = _new_key()


@dataclass
class Service:
    """An API Management service. Names keep their case and are found in any case."""

    subscription: str
    group: str
    name: str
    gateways: dict[str, Gateway] = field(default_factory=dict)

    @property
    def resource_id(self) -> str:
        """The service's ARM resource id."""
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
            f"/providers/Microsoft.ApiManagement/service/{self.name}"
        )

    def add_gateway(self, name: str, location: str = "On premises", description: str = "") -> Gateway:
        """Create or replace a gateway, with new keys."""
        gateway = Gateway(name, location, description)
        self.gateways[name.lower()] = gateway
        return gateway

    def remove_gateway(self, name: str) -> None:
        """Delete a gateway; `KeyError` if there is none of that name."""
        del self.gateways[name.lower()]

    def gateway(self, name: str) -> Gateway | None:
        """Return the gateway of that name in any case, if there is one."""
        return self.gateways.get(name.lower())
