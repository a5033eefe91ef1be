"""What is set, as frozen types: the GATEWAY_TOKENS document with its services, gateways and access rules, and the app settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field, JsonValue, PlainValidator, WithJsonSchema

from gateway_tokens.access import AccessRule, matches, specificity
from gateway_tokens.errors import NotFound
from gateway_tokens.parsing import Duration, Form, StrictModel, within
from gateway_tokens.sign_in import AzureSettings, SignIn
from gateway_tokens.tokens import MAX_LIFETIME, SERVICE_NAME, KeyType, ServiceId

from .destination import Cluster, DestinationSettings, resource_id
from .schedule import Freeze, Pause, Window

# The schema has a pattern for names; without this it would let names outside the pattern pass.
_NO_OTHER_NAMES: dict[str, JsonValue] = {"additionalProperties": False}
_IN_AZURE = r"[^/{}\s]+", "[a-zA-Z]([a-zA-Z0-9-]{0,48}[a-zA-Z0-9])?"
_SERVICE_ID = f"^{resource_id('Microsoft.ApiManagement/service', *_IN_AZURE)}$"
# What names must be like, with an example.
_SERVICE = "a name of letters, digits and inner hyphens that begins with a letter, such as contoso, 50 characters at most"
_GATEWAY = "a gateway's name, or a pattern with *, such as edge-01 or edge-*, 80 characters at most"
_CLUSTER = "a name of small letters, digits, hyphens, dots, underscores and tildes, such as edge, 80 characters at most"
ServiceName = Annotated[str, Form(_SERVICE, SERVICE_NAME, 50)]
GatewayPattern = Annotated[str, Form(_GATEWAY, r"^[a-zA-Z0-9._~*-]+$", 80)]
ClusterName = Annotated[str, Form(_CLUSTER, r"^[a-z0-9._~-]+$", 80)]
ManagedLifetime = Annotated[
    Duration, within(timedelta(days=1), MAX_LIFETIME, "must be between one day (P1D) and 30 days (P30D)")
]


class RotateKeys(StrictModel):
    """How often a gateway moves to its other key."""

    # A switch, and the 31 days after it in which every token of the key that is left ends.
    every: Annotated[
        Duration, within(timedelta(days=65), timedelta(days=3650), "must be at least 65 days (P65D)")
    ]


class GatewayRule(StrictModel):
    """How the gateways that a pattern names are kept."""

    renew: bool = Field(default=True, description="False leaves these gateways alone.")
    lifetime: ManagedLifetime = Field(default=MAX_LIFETIME, description="How long each token lives.")
    renew_before: Duration | None = Field(
        default=None,
        description="How long before its expiry a token is renewed. Left out: a third of its lifetime.",
    )
    risk_margin: Duration | None = Field(
        default=None,
        description="How long before its expiry a token counts as at risk. Left out: half of `renewBefore`.",
    )
    key_type: KeyType | None = Field(
        default=None,
        description="The key that signs these tokens. Left out: the key in use, primary at first.",
    )
    rotate_keys: RotateKeys | None = Field(
        default=None,
        description="Move to the other key and regenerate the one that is left, again and again.",
    )
    other_consumers: bool = Field(
        default=False, description="Others use the keys too: a person regenerates them, not this app."
    )
    destinations: tuple[DestinationSettings, ...] = Field(
        default=(), description="Where each token is delivered."
    )
    windows: tuple[Window, ...] = Field(
        default=(), description="When what can wait is renewed and restarted. Left out: at any time."
    )
    pause: Pause | None = Field(default=None, description="Leaves these gateways alone until then.")

    def paused(self, now: datetime) -> str:
        """Why its gateways are left alone now, or the empty string."""
        if not self.renew:
            return "`renew` is false for it in the settings"
        if self.pause and now < self.pause.until:
            return f"paused until {self.pause.until:%Y-%m-%d %H:%M} UTC: {self.pause.reason}"
        return ""

    @property
    def window(self) -> timedelta:
        """How long before its expiry a token is due."""
        return self.lifetime / 3 if self.renew_before is None else self.renew_before

    @property
    def margin(self) -> timedelta:
        """How long before its expiry a token that is still there counts as at risk."""
        return self.window / 2 if self.risk_margin is None else self.risk_margin

    def contradictions(self) -> Iterator[tuple[set[str], str]]:
        """What is wrong between fields, and which: of a rule with all that it inherits."""
        none, lengths = timedelta(), {"lifetime", "renew_before"}
        if not none < self.window < self.lifetime:
            yield lengths, "renewBefore must be longer than zero and shorter than lifetime"
        if (self.risk_margin or none < self.window) and not none < self.margin < self.window:
            yield (
                {*lengths, "risk_margin"},
                "riskMargin must be longer than zero and shorter than renewBefore",
            )
        if self.rotate_keys and self.key_type:
            message = "has `keyType` and `rotateKeys`: a gateway that keeps to one key rotates none"
            yield {"rotate_keys"}, message
        if self.rotate_keys and not (self.renew and self.destinations):
            yield {"rotate_keys"}, "has `rotateKeys`, and needs a destination and no `renew: false` for it"

    @property
    def jitter(self) -> timedelta:
        """The most by which a row is renewed before its window begins."""
        return min(self.window, self.lifetime - self.window) / 10


class Service(StrictModel):
    """One API Management service and its self-hosted gateways."""

    resource_id: Annotated[
        ServiceId,
        PlainValidator(lambda resource_id: ServiceId.parse(str(resource_id))),
        WithJsonSchema({"type": "string", "pattern": _SERVICE_ID}),
    ] = Field(description="The service's full resource id in Azure.")
    defaults: GatewayRule = Field(
        default_factory=GatewayRule, description="What this service's rules leave out."
    )
    gateways: dict[GatewayPattern, GatewayRule] = Field(
        default_factory=dict,
        description="Rules by gateway name or pattern; the most literal match wins.",
        json_schema_extra=_NO_OTHER_NAMES,
    )

    @property
    def delivers(self) -> bool:
        """Whether any of its rules delivers anything."""
        return any(rule.renew and rule.destinations for rule in self.gateways.values())

    def rule_for(self, gateway: str) -> GatewayRule | None:
        """The rule of the most literal pattern that matches the name."""
        fitting = [pattern for pattern in self.gateways if matches(pattern, gateway)]
        return self.gateways[max(fitting, key=specificity)] if fitting else None


class Estate(StrictModel):
    """The whole document."""

    schema_address: str | None = Field(default=None, alias="$schema", description="For editors; not used.")
    services: dict[ServiceName, Service] = Field(
        description="API Management services by the name callers use.", json_schema_extra=_NO_OTHER_NAMES
    )
    defaults: GatewayRule = Field(
        default_factory=GatewayRule, description="What rules leave out, and their services' `defaults` too."
    )
    clusters: dict[ClusterName, Cluster] = Field(
        default_factory=dict,
        description="Clusters by the name that destinations use.",
        json_schema_extra=_NO_OTHER_NAMES,
    )
    access: tuple[AccessRule, ...] = Field(default=(), description="Without a rule nobody may do anything.")
    freeze: tuple[Freeze, ...] = Field(
        default=(), description="When nothing that can wait is renewed or restarted."
    )
    check_alive: bool = Field(
        default=True, description="Ask Azure once a day whether each stored token is still good."
    )

    @property
    def manages_something(self) -> bool:
        """Whether any token is delivered anywhere, so that there is something to reconcile."""
        return any(service.delivers for service in self.services.values())

    def find(self, service: str, gateway: str = "") -> tuple[str, Service]:
        """The service of that name in any case, with its name as declared. Raises NotFound, which names the gateway too."""
        for name, declared in self.services.items():
            if name.casefold() == service.casefold():
                return name, declared
        raise NotFound(f"{service}/{gateway}" if gateway else service)


@dataclass(frozen=True, slots=True)
class AppSettings(AzureSettings):
    """All app settings, read and checked."""

    estate: Estate
    schedule: str
    state_container_url: str
    log_fresh_rows: bool
    function_keys: bool
    sign_in: SignIn | None
