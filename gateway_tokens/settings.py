"""The GATEWAY_TOKENS document: services, gateways, destinations and access rules, as frozen types."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, JsonValue, StringConstraints, ValidationInfo, model_validator

from .access import Permission
from .destination_settings import Destination
from .documents import Duration, Part
from .model import SERVICE_NAME, KeyType, ServiceId
from .patterns import matches, overlap, specificity
from .policy import MAX_LIFETIME, MIN_LIFETIME

if TYPE_CHECKING:
    from .model import GatewayRef

MIN_MANAGED_LIFETIME = timedelta(days=1)
# The schema has a pattern for names; without this it would let names outside the pattern pass.
_NO_OTHER_NAMES: dict[str, JsonValue] = {"additionalProperties": False}


def _an_apim_service(resource_id: str) -> str:
    ServiceId.parse(resource_id)
    return resource_id


def _within(least: timedelta, most: timedelta, said: str) -> AfterValidator:
    def check(value: timedelta) -> timedelta:
        if not least <= value <= most:
            raise ValueError(said)
        return value

    return AfterValidator(check)


def _of_a_declared_service(pattern: str, info: ValidationInfo) -> str:
    declared: list[str] | None = (info.context or {}).get("services")
    if declared is not None and not any(overlap(pattern, f"{service}/*") for service in declared):
        raise ValueError(f"'{pattern}' matches no declared service")
    return pattern


ServiceName = Annotated[str, StringConstraints(pattern=SERVICE_NAME, max_length=50)]
GatewayPattern = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._~*-]{1,80}$")]
AccessPattern = Annotated[
    str,
    StringConstraints(pattern=r"^[a-zA-Z0-9*-]{1,50}/[a-zA-Z0-9._~*-]{1,80}$"),
    AfterValidator(_of_a_declared_service),
]
ManagedLifetime = Annotated[
    Duration, _within(MIN_MANAGED_LIFETIME, MAX_LIFETIME, "must be between one day (P1D) and 30 days (P30D)")
]
GrantedLifetime = Annotated[
    Duration, _within(MIN_LIFETIME, MAX_LIFETIME, "must be between one minute (PT1M) and 30 days (P30D)")
]


class GatewayRule(Part):
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
    key_type: KeyType = Field(default=KeyType.PRIMARY, description="The key that signs these tokens.")
    destinations: tuple[Destination, ...] = Field(default=(), description="Where each token is delivered.")

    @property
    def window(self) -> timedelta:
        """How long before its expiry a token is due."""
        return self.lifetime / 3 if self.renew_before is None else self.renew_before

    @property
    def margin(self) -> timedelta:
        """How long before its expiry a token that is still there counts as at risk."""
        return self.window / 2 if self.risk_margin is None else self.risk_margin

    @model_validator(mode="after")
    def _ordered(self) -> GatewayRule:
        if not timedelta(0) < self.window < self.lifetime:
            raise ValueError("renewBefore must be longer than zero and shorter than lifetime")
        if not timedelta(0) < self.margin < self.window:
            raise ValueError("riskMargin must be longer than zero and shorter than renewBefore")
        return self


class Service(Part):
    """One API Management service and its self-hosted gateways."""

    resource_id: Annotated[str, AfterValidator(_an_apim_service)] = Field(
        description="The service's full resource id in Azure."
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

    @property
    def id(self) -> ServiceId:
        """The resource id, taken apart."""
        return ServiceId.parse(self.resource_id)

    def rule_for(self, gateway: str) -> GatewayRule | None:
        """The rule of the most literal pattern that matches the name."""
        fitting = [pattern for pattern in self.gateways if matches(pattern, gateway)]
        return self.gateways[max(fitting, key=specificity)] if fitting else None


class CallerMatch(Part):
    """Who a rule is about: every trait named must hold."""

    app_role: str | None = Field(default=None, min_length=1, description="An app role in the caller's token.")
    object_id: str | None = Field(default=None, min_length=1, description="The caller's object id in Entra.")
    client_id: str | None = Field(
        default=None, min_length=1, description="The calling application's client id."
    )
    function_key: bool = Field(default=False, description="Whoever holds a key of the function app; alone.")

    @model_validator(mode="after")
    def _somebody(self) -> CallerMatch:
        if not (self.app_role or self.object_id or self.client_id or self.function_key):
            raise ValueError("must name an appRole, objectId, clientId or functionKey: true")
        if self.function_key and (self.app_role or self.object_id or self.client_id):
            raise ValueError(
                "functionKey must be alone: a caller who sends a bearer token is known by the token only"
            )
        return self


class AccessRule(Part):
    """What some caller may do with some gateways."""

    caller: CallerMatch
    gateways: tuple[AccessPattern, ...] = Field(min_length=1, description="Patterns of `service/gateway`.")
    allow: frozenset[Permission] = Field(min_length=1, description="The permissions granted.")
    max_lifetime: GrantedLifetime | None = Field(
        default=None, description="The longest token this caller may have."
    )


class Estate(Part):
    """The whole document."""

    schema_address: str | None = Field(default=None, alias="$schema", description="For editors; not used.")
    services: dict[ServiceName, Service] = Field(
        description="API Management services by the name callers use.", json_schema_extra=_NO_OTHER_NAMES
    )
    access: tuple[AccessRule, ...] = Field(default=(), description="Closed unless a rule opens.")

    @property
    def manages_something(self) -> bool:
        """Whether any token is delivered anywhere, so that there is something to sweep."""
        return any(service.delivers for service in self.services.values())

    def service(self, name: str) -> tuple[str, Service] | None:
        """The service of that name, ignoring case, with its name as declared."""
        return next(((n, s) for n, s in self.services.items() if n.casefold() == name.casefold()), None)

    def rule_for(self, ref: GatewayRef) -> GatewayRule | None:
        """How a gateway is kept, or None when no pattern names it."""
        found = self.service(ref.service)
        return found[1].rule_for(ref.gateway) if found else None


def declared_names(document: object) -> list[str]:
    """The services' names in a document that may be faulty elsewhere."""
    services = document.get("services") if isinstance(document, dict) else None
    return [str(name) for name in services] if isinstance(services, dict) else []
